"""A predictor in a file: its weights in fixed point, and the frequencies that it tells of each parameter's bins.

It is computed by integers, from the integers that are stored: nothing of it depends on a machine, a library's order of
sums or its exponential function. It is as true to the predictor that was trained as its weights' fraction lets it be.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from draw_poly.engine.code.fixed_point import LOG2_E, ONE, POINT, Integers, scaled, softmax
from draw_poly.engine.code.grid import Grid
from draw_poly.engine.code.range_coder import CodeError
from draw_poly.kernels.spec import KolmogorovTerm, Network

# How it tells: a logit for each bin, or place and log scale of a density over the range, whose width is 1 there.
CATEGORICAL, GAUSSIAN, LAPLACIAN = "categorical", "gaussian", "laplacian"
KINDS = (CATEGORICAL, GAUSSIAN, LAPLACIAN)
KIND_OF = {
    "cross_entropy": CATEGORICAL, "gaussian_nll": GAUSSIAN, "laplacian_nll": LAPLACIAN, "mse": GAUSSIAN,
}  # fmt: skip
OUTPUTS = {GAUSSIAN: 2, LAPLACIAN: 2}
SLOPE = 655  # 0.01 · 2^16, of every predictor's LeakyReLU
LARGEST_WEIGHT, LARGEST_VALUE = 2**15 - 1, 2**31 - 1  # so that sums of up to 2^16 products stay within int64
MOST_INPUTS = 2**16
MOST_BITS = 24  # of a symbol: its frequency is 0
AT_ONCE = 2**16  # frequencies: more leave the cache
FURTHEST_SCALE = 16 * ONE  # of a density: from 2^-16 of the range to 2^16 of it


@dataclass(frozen=True)
class Predictor:
    """A predictor of this `kind`: `weights` (P,) are its parameters times 2^`fraction`, in the flat vector's order."""

    kind: str
    network: Network
    fraction: int
    weights: Integers

    @staticmethod
    def of_widths(kind: str, hidden: tuple[int, ...], grid: Grid) -> Network:
        """Its network, of these hidden widths. Raises CodeError where its sums would not stay within int64."""
        if max(hidden) >= MOST_INPUTS:
            raise CodeError(
                f"a predictor with a layer of {max(hidden)} neurons is not coded: it may have {MOST_INPUTS}"
            )
        return Network((3, *hidden, OUTPUTS.get(kind, grid.bins)))

    def frequencies(self, network: Network, bins: int) -> Iterator[Integers]:
        """Those of a network's parameters, (some, bins) at once, in the flat vector's order."""
        for outputs in self._told(network, bins):
            yield softmax(outputs.T if self.kind == CATEGORICAL else _density(self.kind, outputs, bins))

    def estimate(self, network: Network, bins: int, symbols: Integers) -> float:
        """About how many bits a network's symbols take, by floating point, in a fraction of the time."""
        bits, first, share = 0.0, 0, np.arange(bins) / (bins - 1)
        for outputs in self._told(network, bins):
            told, chosen = outputs / ONE, symbols[first : first + outputs.shape[1]]
            first += chosen.size
            if self.kind == CATEGORICAL:
                logits = told.T
            else:
                away, narrow = np.abs(share - told[0][:, None]), np.exp(-np.clip(told[1], -22, 22))[:, None]
                logits = -narrow * (away if self.kind == LAPLACIAN else away * away / 2)
            below = logits.max(1, keepdims=True) - logits
            nats = np.log(np.exp(-below).sum(1)) + below[np.arange(chosen.size), chosen]
            bits += float(np.minimum(nats / math.log(2), MOST_BITS).sum())
        return bits

    def _told(self, network: Network, bins: int) -> Iterator[Integers]:
        """Its outputs (outputs, some) for a network's parameters, as many at once as are well held."""
        stands = positions(network)
        rows = max(1, AT_ONCE // max(bins, *self.network.dims))
        for first in range(0, network.size, rows):
            yield self._outputs(stands[:, first : first + rows])

    def _outputs(self, inputs: Integers) -> Integers:
        """Its outputs (outputs, n) at positions (3, n), with 16 bits behind the point."""
        hidden, last = inputs, len(self.network.shapes) - 1
        for layer, (out, into) in enumerate(self.network.shapes):
            part = self.weights[self.network.offsets[layer] :][: out * (into + 1)]
            weight, bias = part[: out * into].reshape(out, into), part[out * into :]
            sums = weight @ hidden + (bias[:, None] << POINT)
            values = sums + (1 << self.fraction >> 1) >> self.fraction
            if layer < last:
                values = np.where(values > 0, values, values * SLOPE >> POINT)
            hidden = np.clip(values, -LARGEST_VALUE, LARGEST_VALUE)
        return hidden


def positions(network: Network) -> Integers:
    """As `engine.model.kolmogorov.positions`, (3, P), in fixed point, each rounded to the nearest."""

    def share(index: Integers, of: int) -> Integers:
        return (2 * ONE * index + max(of - 1, 1)) // (2 * max(of - 1, 1))

    parts, layers = [], len(network.shapes)
    for layer, (out, into) in enumerate(network.shapes):
        rows, columns = np.divmod(np.arange(out * into), into)
        biases = np.arange(out)
        row, column = np.concatenate((rows, biases)), np.concatenate((columns, np.full(out, max(into - 1, 1))))
        depth = share(np.array(layer), layers)
        parts.append(np.stack((np.full(row.size, depth), share(row, out), share(column, into))))
    return np.concatenate(parts, 1)


def _density(kind: str, outputs: Integers, bins: int) -> Integers:
    """Logits (n, bins) of bins under a density, from its outputs (2, n): where it stands, and its log scale.

    The scale of a Gaussian is its variance, and the range has width 1.
    """
    place, log_scale = outputs
    middles = (2 * ONE * np.arange(bins) + bins - 1) // (2 * (bins - 1))
    limit = FURTHEST_SCALE * (2 if kind == GAUSSIAN else 1)
    narrow = np.clip(-log_scale * LOG2_E >> POINT, -limit, limit)[:, None]  # log2 of 1 / scale
    away = np.minimum(np.abs(middles - place[:, None]), 2 * ONE)
    if kind == LAPLACIAN:
        return -scaled(away, narrow)
    return -(scaled(away * away >> 9, narrow) >> POINT - 8)  # a half of the square, 24 bits behind the point


def predictor_of(term: KolmogorovTerm, parameters: NDArray[np.float64], missed: float, grid: Grid) -> "Trained":
    """What was trained with a term, as a predictor of bins; `missed` is the mean squared error of its mean.

    A density's outputs are taken from the weights' own unit to that of the range. Where the term is `mse`, its mean is
    that of a Gaussian whose variance is `missed`, the same for all.
    """
    kind = KIND_OF[term.loss]
    network = Predictor.of_widths(kind, term.predictor.dims[1:-1], grid)
    if kind == CATEGORICAL:
        return Trained(kind, network, parameters)
    into = network.dims[-2]
    first, last = parameters[: network.offsets[-1]], parameters[network.offsets[-1] :]
    outputs = term.predictor.dims[-1]
    weight, bias = last[: outputs * into].reshape(outputs, into).copy(), last[outputs * into :].copy()
    width = grid.high - grid.low
    weight[0] /= width
    bias[0] = (bias[0] - grid.low) / width
    if outputs == 1:
        weight, bias = np.vstack((weight, np.zeros(into))), np.append(bias, math.log(max(missed, 1e-300)))
    bias[1] -= math.log(width) * (2 if kind == GAUSSIAN else 1)
    return Trained(kind, network, np.concatenate((first, weight.reshape(-1), bias)))


@dataclass(frozen=True)
class Trained:
    """A predictor in floating point, which is to be rounded."""

    kind: str
    network: Network
    parameters: NDArray[np.float64]

    def rounded(self, fraction: int) -> Predictor | None:
        """Its parameters with so many bits behind the point; None where they are too large for that."""
        weights = np.rint(self.parameters * 2.0**fraction)
        if np.abs(weights).max() > LARGEST_WEIGHT:
            return None
        return Predictor(self.kind, self.network, fraction, weights.astype(np.int64))
