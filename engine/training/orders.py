"""The orders in which a run takes its points, drawn as the original's loader does, perhaps ahead of time."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from draw_poly.kernels.orders import orders

# Points of a visit's orders from which on a helper makes the next ones: else they are sooner made than handed over.
HELPED = 2**17


class Orders:
    """Orders of so many points, as the generators of a population's networks have them drawn.

    The original's loader draws two numbers an epoch; the second one seeds the generator of its permutation.
    """

    def __init__(self, generators: Sequence[torch.Generator], points: int) -> None:
        self._generators, self._points = generators, points
        self._helper: ThreadPoolExecutor | None = None
        self._ahead: tuple[Tensor, Future[Tensor]] | None = None  # seeds, and what they come to

    def take(self, epochs: int) -> NDArray[np.int64]:
        """Those of the next epochs (networks, epochs, points); the generators stand where they stand after them."""
        seeds, ahead = _seeds(self._generators, epochs), self._ahead
        self._ahead = None
        if ahead is not None and ahead[0].shape[1] >= epochs and torch.equal(ahead[0][:, :epochs], seeds):
            return ahead[1].result()[:, :epochs].numpy()
        return self._drawn(seeds).numpy()

    def prepare(self, epochs: int) -> None:
        """Has a helper make those of the next epochs, if that pays; the generators stay where they are."""
        if len(self._generators) * epochs * self._points < HELPED:
            return
        if self._helper is None:
            self._helper = ThreadPoolExecutor(1, "orders")
        copies = []
        for generator in self._generators:
            copies.append(torch.Generator())
            copies[-1].set_state(generator.get_state())
        seeds = _seeds(copies, epochs)
        self._ahead = seeds, self._helper.submit(self._drawn, seeds)

    def _drawn(self, seeds: Tensor) -> Tensor:
        return orders(seeds.reshape(-1), self._points).view(*seeds.shape, self._points)


def _seeds(generators: Sequence[torch.Generator], epochs: int) -> Tensor:
    """The seeds of so many orders of each (networks, epochs) int64."""
    numbers = torch.empty((len(generators), epochs, 2), dtype=torch.int64)
    for row, generator in zip(numbers, generators, strict=True):
        row.random_(generator=generator)
    return numbers[..., 1]
