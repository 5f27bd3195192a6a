"""What a kernel must know of a run besides its tensors: layer widths, code length settings, optimiser.

Every backend reads these three records, so a fact such as the order of the parameters or the number of an optimiser's
moments stands here once.
"""

import math
import struct
from dataclasses import dataclass
from itertools import accumulate
from operator import index
from typing import Literal, get_args

CodeLoss = Literal["cross_entropy", "mse", "gaussian_nll", "laplacian_nll"]
OptimizerKind = Literal["adam", "sgd", "sgd_momentum", "rmsprop"]
CODE_LOSSES: tuple[str, ...] = get_args(CodeLoss)
OPTIMIZERS: tuple[str, ...] = get_args(OptimizerKind)

# Bits of a pixel's edges: its neighbour there has another signature.
RIGHT, BELOW = 1, 2

ADAM_BETAS = (0.9, 0.999)
RMSPROP_ALPHA = 0.99
LARGEST_END = 1e38  # of a clip range: its width is still a float32
EPSILON = 1e-8
LEAST_SLOPE = 2.0**-126  # float32's smallest normal number
MOMENTS = {"adam": 2, "sgd": 0, "sgd_momentum": 1, "rmsprop": 1}


@dataclass(frozen=True)
class Network:
    """A LeakyReLU network: `dims` are the widths from input to output, `(2, 10, …, 10, 1)`.

    Its parameters are one flat vector: per layer the weight matrix row by row, then the bias. Raises ValueError for
    widths that are not whole numbers of at least 1, and for a slope that is neither 0 nor from 2^-126 to 1: below 0
    an activation's sign would not tell its derivative, and a subnormal slope is no number on every device.
    """

    dims: tuple[int, ...]
    slope: float = 0.01

    def __post_init__(self) -> None:
        try:
            dims = tuple(map(index, self.dims))
        except TypeError:
            dims = ()
        try:
            slope = float(self.slope)
        except (TypeError, ValueError):
            slope = math.nan
        if len(dims) < 2 or min(dims) < 1:
            raise ValueError(f"a network's widths were {self.dims}: give whole numbers of at least 1, input to output")
        if slope != 0.0 and not LEAST_SLOPE <= slope <= 1.0:
            raise ValueError(f"a network's slope was {self.slope}: give 0, or a number from {LEAST_SLOPE:.3g} to 1")
        object.__setattr__(self, "dims", dims)
        object.__setattr__(self, "slope", slope)

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(out, in) of each layer, input to output."""
        return [(after, before) for before, after in zip(self.dims, self.dims[1:], strict=False)]

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where each layer's parameters begin in the flat vector."""
        sizes = (out * (into + 1) for out, into in self.shapes[:-1])
        return tuple(accumulate(sizes, initial=0))

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(out * (into + 1) for out, into in self.shapes)

    @property
    def neurons(self) -> int:
        """Number of hidden neurons: the length of an activation pattern."""
        return sum(self.dims[1:-1])


@dataclass(frozen=True)
class CodeLength:
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
        return {"cross_entropy": bins, "mse": 1}.get(loss, 2)

    @property
    def range_limit(self) -> str | None:
        """Why float32 cannot tell the bins of the clip range apart; None if it can, or if the loss has no bins."""
        low, high, bins = self.low, self.high, self.bins
        if self.loss != "cross_entropy":
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


@dataclass(frozen=True)
class Optimizer:
    """An optimiser with `torch.optim`'s defaults apart from learning rate and momentum."""

    kind: str
    learning_rate: float
    momentum: float = 0.9

    @property
    def moments(self) -> int:
        """How many vectors of the parameters' size it keeps."""
        return MOMENTS[self.kind]

    def scalars(self, step: int) -> tuple[float, float]:
        """What the kernels read of a step, counted from 1, in double precision: all that networks may differ in.

        The learning rate and the momentum; of adam (step size, divisor of the root second moment), which alone change
        from step to step. Source: Kingma and Ba, "Adam", 2015, algorithm 1.
        """
        if self.kind != "adam":
            return self.learning_rate, self.momentum
        first, second = ADAM_BETAS
        return self.learning_rate / (1.0 - first**step), math.sqrt(1.0 - second**step)
