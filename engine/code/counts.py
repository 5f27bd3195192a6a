"""An adaptive code: what was told tells what comes next. Of a network that nobody predicts, and of predictors."""

from collections.abc import Callable, Iterator
from itertools import repeat

import numpy as np

from draw_poly.engine.code.fixed_point import Integers, shares
from draw_poly.kernels.spec import Network

# A symbol that was seen speaks for its neighbours, up to one part in so many of the alphabet away.
NEIGHBOURHOOD = 32


class Counts:
    """Frequencies of n symbols, by a triangle around each that was seen; one weighs as much as all that is unseen."""

    def __init__(self, n: int) -> None:
        half = n // NEIGHBOURHOOD
        triangle = np.minimum(np.arange(1, 2 * half + 2), np.arange(2 * half + 1, 0, -1))
        self._half, self._triangle = half, np.maximum(1, triangle * n // triangle.sum()).astype(np.int64)
        self._weights = np.ones(n + 2 * half, np.int64)  # of the symbols, and what triangles have beyond both ends

    @property
    def frequencies(self) -> Integers:
        """Those of the next symbol, (n,)."""
        end = self._weights.size - self._half
        found: Integers = shares(self._weights[None, self._half : end])[0]
        return found

    def see(self, symbols: Integers) -> None:
        """Takes symbols into account."""
        wide = self._triangle.size
        for symbol in symbols.tolist():
            self._weights[symbol : symbol + wide] += self._triangle


def told(network: Network, n: int, tell: Callable[[Integers, int], Integers]) -> Integers:
    """A network's symbols, below n, as `tell(frequencies (n,), count)` encodes or decodes them: a neuron at a time.

    Weights are counted apart from biases. `tell` returns the next so many symbols.
    """
    weights, biases = Counts(n), Counts(n)
    found = []
    for counts, count in _blocks(network, weights, biases):
        found.append(tell(counts.frequencies, count))
        counts.see(found[-1])
    return np.concatenate(found)


def _blocks(network: Network, weights: Counts, biases: Counts) -> Iterator[tuple[Counts, int]]:
    """What counts a block of parameters, and how many they are, in the order of the flat vector."""
    for out, into in network.shapes:
        yield from repeat((weights, into), out)
        yield biases, out
