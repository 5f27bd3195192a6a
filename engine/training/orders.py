"""The orders in which a run takes its points, drawn as the original's loader does, perhaps ahead of time."""

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from draw_poly.kernels.orders import orders

# Points of a visit's orders from which on a helper makes the next ones: else they are sooner made than handed over.
HELPED = 2**17


class Orders:
    """Orders of so many points, as a run's generator has them drawn.

    The original's loader draws two numbers an epoch; the second one seeds the generator of its permutation.
    """

    def __init__(self, generator: torch.Generator, points: int) -> None:
        self._generator, self._points = generator, points
        self._helper: ThreadPoolExecutor | None = None
        self._ahead: tuple[Tensor, Future[Tensor]] | None = None  # seeds, and what they come to

    def take(self, epochs: int) -> NDArray[np.int64]:
        """Those of the next epochs (1, epochs, points); the generator stands where it stands after them."""
        seeds, ahead = _seeds(self._generator, epochs), self._ahead
        self._ahead = None
        if ahead is not None and len(ahead[0]) >= epochs and torch.equal(ahead[0][:epochs], seeds):
            return ahead[1].result()[None, :epochs].numpy()
        return orders(seeds, self._points)[None].numpy()

    def prepare(self, epochs: int) -> None:
        """Has a helper make those of the next epochs, if that pays; the generator stays where it is."""
        if epochs * self._points < HELPED:
            return
        if self._helper is None:
            self._helper = ThreadPoolExecutor(1, "orders")
        generator = torch.Generator()
        generator.set_state(self._generator.get_state())
        seeds = _seeds(generator, epochs)
        self._ahead = seeds, self._helper.submit(orders, seeds, self._points)


def _seeds(generator: torch.Generator, epochs: int) -> Tensor:
    """The seeds of so many orders (epochs,) int64."""
    return torch.empty((epochs, 2), dtype=torch.int64).random_(generator=generator)[:, 1]
