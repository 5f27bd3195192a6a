"""The Kolmogorov term: how a network's parameters are predicted, and how a prediction is scored."""

import math
import struct
from dataclasses import dataclass

from draw_poly.kernels.spec.network import Network

LARGEST_END = 1e38  # of a clip range: its width is still a float32


@dataclass(frozen=True)
class KolmogorovLoss:
    """A way to score a prediction. `outputs` are those of the predictor a value; None where it has one for each bin."""

    name: str
    outputs: int | None

    @property
    def binned(self) -> bool:
        """Whether the predictor tells the bin that a value is in."""
        return self.outputs is None


KOLMOGOROV_LOSSES = {
    loss.name: loss
    for loss in (
        KolmogorovLoss("cross_entropy", None),
        KolmogorovLoss("mse", 1),
        KolmogorovLoss("gaussian_nll", 2),
        KolmogorovLoss("laplacian_nll", 2),
    )
}


@dataclass(frozen=True)
class KolmogorovTerm:
    """The Kolmogorov term: a predictor network from parameter positions to values, and how it is scored."""

    predictor: Network
    loss: str = "cross_entropy"
    weight: float = 0.0
    bins: int = 256
    low: float = -3.0
    high: float = 3.0

    @staticmethod
    def outputs(loss: str, bins: int) -> int:
        """How many outputs the predictor needs for a loss."""
        return KOLMOGOROV_LOSSES[loss].outputs or bins

    @property
    def binned(self) -> bool:
        """Whether the predictor tells the bin that a value is in."""
        return KOLMOGOROV_LOSSES[self.loss].binned

    @property
    def range_limit(self) -> str | None:
        """Why float32 cannot tell the bins of the clip range apart; None if it can, or if the loss has no bins."""
        low, high, bins = self.low, self.high, self.bins
        if not self.binned:
            return None
        if bins < 2:
            return f"a clip range has at least 2 bins, not {bins}"
        if not low < high:
            return f"the clip range's low end, {low}, is not below its high end, {high}"
        largest = max(abs(low), abs(high))
        if largest > LARGEST_END:
            return f"the clip range from {low} to {high} is not finite in float32"
        apart, rounded = (high - low) / (bins - 1), _most_rounded(largest)
        if apart < rounded:
            return f"the clip range's bins are {apart:.2g} apart, where float32 rounds numbers by up to {rounded:.2g}"
        if _single(low) == _single(high):
            return f"the clip range's both ends are {_single(low):.9g} in float32"
        return None


def _single(value: float) -> float:
    """A number rounded to float32."""
    rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    return rounded


def _most_rounded(value: float) -> float:
    """By how much float32 rounds numbers of this size at most; subnormals are zeros."""
    return math.ldexp(1.0, max(math.frexp(value)[1], -101) - 25)
