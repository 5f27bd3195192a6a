"""Epochs as the tests look at them: one by one."""

from collections.abc import Callable

import numpy as np
from torch import Tensor

from draw_poly.engine.backends.base import Backend, Data, never
from draw_poly.engine.training.trainer import Epochs

# Seconds of a visit: of one epoch each; of 1, 2, 4, ... of them.
SINGLE, DOUBLING = 0.0, 1e9


def epoch_of(backend: Backend, data: Data, order: Tensor, interrupted: Callable[[], bool] = never) -> list[list[float]]:
    """Trains an epoch in this order (networks, n); returns each network's numbers."""
    found: list[list[float]] = backend.visit(data, order.numpy()[:, None], interrupted)().numbers[:, 0].tolist()
    return found


def one_epoch(number: int) -> Epochs:
    """A visit of one epoch that came to something."""
    task, kolmogorov, weighted, validation, seconds, ended = np.array([[0.25], [5.0], [0.5], [1 / 3], [0.001], [0.0]])
    nothing = np.empty((1, 0), np.float32)
    return Epochs(number, task, kolmogorov, weighted, validation, np.array([False]), seconds, ended, nothing)
