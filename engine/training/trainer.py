"""Epochs: their orders, their steps, their validation. Nothing returns to the host before a visit of them ends."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from draw_poly.engine.backends.base import Backend, Data, Report, Trained, never
from draw_poly.engine.model.state import State
from draw_poly.engine.training.orders import Orders
from draw_poly.engine.training.pace import most_epochs

# Outputs whose spread is below this are one constant.
CONSTANT_SPREAD = 1e-6
Numbers = NDArray[np.float64]


class NonFinite(Exception):
    """A loss was not a finite number; says at which step of the epoch, from 1."""

    def __init__(self, step: int, steps: int) -> None:
        super().__init__(f"step {step} of {steps}")
        self.step = step


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to: means over its batches, validation after it. `ended` is the time of day, in seconds."""

    task: float
    kolmogorov: float
    weighted: float
    validation: float
    constant: bool
    seconds: float
    ended: float = 0.0

    @property
    def combined(self) -> float:
        """The loss that was trained: task plus weighted Kolmogorov term."""
        return self.task + self.weighted


@dataclass(frozen=True)
class Epochs:
    """What the epochs of a visit came to, number `first` and those after it: each of `Epoch`'s as an array (epochs,).

    `seconds` of a visit go from its launch, or from when the one before was read if that was later, to when it was
    read; they are shared out evenly, and so is the time at which each had `ended`. `parameters` (epochs, P of all
    learners) are those after each, for as long as the visit after the next has not begun. `broken` tells of the epoch
    after these, whose loss was not finite.
    """

    first: int
    task: Numbers
    kolmogorov: Numbers
    weighted: Numbers
    validation: Numbers
    constant: NDArray[np.bool_]
    seconds: Numbers
    ended: Numbers
    parameters: NDArray[np.float32]
    broken: NonFinite | None = None

    def __len__(self) -> int:
        return len(self.task)

    @property
    def combined(self) -> Numbers:
        """As `Epoch.combined`."""
        return self.task + self.weighted

    @property
    def last(self) -> int:
        """The number of the last one."""
        return self.first + len(self) - 1

    def __getitem__(self, index: int) -> Epoch:
        columns = self.task, self.kolmogorov, self.weighted, self.validation, self.constant, self.seconds, self.ended
        return Epoch(*(column[index].item() for column in columns))

    def until(self, count: int) -> "Epochs":
        """The first so many of them."""
        columns = (
            self.task, self.kolmogorov, self.weighted, self.validation, self.constant, self.seconds, self.ended,
            self.parameters,
        )  # fmt: skip
        return Epochs(self.first, *(column[:count] for column in columns))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Launched:
    """A visit that is trained or on its way: so many `epochs`, the last one's number from 1.

    `read` waits for what they come to.
    """

    last: int
    epochs: int
    read: Callable[[], Epochs]

    def finished(self) -> "Launched":
        """The same, when it has been read. Raises NonFinite where a loss is not finite."""
        epochs = self.read()
        if epochs.broken:
            raise epochs.broken
        return Launched(self.last, self.epochs, lambda: epochs)


class Trainer:
    """Trains a backend's state on points (2, n) and targets (targets, n), and validates it on others."""

    def __init__(
        self,
        backend: Backend,
        training: tuple[Tensor, Tensor],
        validation: tuple[Tensor, Tensor],
        batch_size: int,
    ) -> None:
        device = backend.device
        self._backend = backend
        self._state = backend.state
        self._weight = backend.term.weight if backend.term else 0.0
        count = training[0].shape[1]
        self._orders = Orders([self._state.generator], count)
        self._last_read = 0.0
        ours, others = (torch.cat(points)[None].to(device) for points in (training, validation))
        self._data = Data(ours, others, min(batch_size, count))
        # An order's numbers have eight bytes.
        held = 2 * count + sum(one.network.size + self._data.steps for one in self._state.learners)
        # Where rates hang on losses, nothing is launched before the last epoch has been read.
        self._waits = self._state.main.optimizer.schedule.waits
        self.most_epochs = 1 if self._waits else min(backend.most_epochs(self._data), most_epochs(held))

    def epoch(self, interrupted: Callable[[], bool] = never) -> Epoch:
        """Trains one epoch in place.

        Raises Interrupted between two steps once `interrupted()` is true, NonFinite after an epoch with a loss that
        is not finite. Both leave the state as it is by then.
        """
        return self.launch(interrupted).finished().read()[0]

    @property
    def runs_ahead(self) -> bool:
        """Whether a visit may be launched before the one before it is read."""
        return self._backend.runs_ahead and not self._waits

    def launch(self, interrupted: Callable[[], bool] = never, epochs: int = 1, following: int = 1) -> Launched:
        """Begins a visit; whatever is asked of the device from now on comes after it.

        Has the orders of as many epochs as will be `following` prepared meanwhile. Raises Interrupted.
        """
        started = time.perf_counter()
        orders = self._orders.take(epochs)
        self._orders.prepare(following)
        report = self._backend.visit(self._data, orders, interrupted)
        self._state.epoch += epochs
        last = self._state.epoch
        return Launched(last, epochs, partial(self._read, report, started, last))

    def _read(self, report: Report, started: float, last: int) -> Epochs:
        trained = report()
        now, day = time.perf_counter(), time.time()
        seconds, self._last_read = now - max(started, self._last_read), now
        heed(self._state, trained)
        return epochs_of(trained, [self._weight], self._data.steps, last, seconds, day)[0]


def heed(state: State, trained: Trained) -> None:
    """Tells the optimisers of a state what its epochs came to, where they ask."""
    if not state.main.optimizer.schedule.waits:
        return
    for losses in np.moveaxis(trained.numbers[..., -3], 1, 0).tolist():
        for learner in state.learners:
            learner.heed(losses)


def epochs_of(
    trained: Trained, weights: Sequence[float], steps: int, last: int, seconds: float, day: float
) -> list[Epochs]:
    """What each network's epochs came to, of so many steps each, up to number `last`.

    They took `seconds` in all, and were over at the time of day `day`; `weights` are those of the Kolmogorov term.
    """
    networks, epochs, _ = trained.numbers.shape
    numbers = trained.numbers.astype(np.float64)
    losses, validation = numbers[..., :-3].reshape(networks, epochs, steps, -1), numbers[..., -3]
    # Each step's, and of the last one the validation's.
    finite: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(losses), 3)
    finite[..., -1] &= np.isfinite(validation)
    # One after the other, as sums of Python's are: NumPy's own order depends on how many there are.
    sums = losses[:, :, 0].copy()
    for step in range(1, steps):
        sums += losses[:, :, step]
    task = sums[..., 0] / steps
    term = sums[..., 1] / steps if sums.shape[2] > 1 else np.zeros((networks, epochs))
    weighted = np.array(weights)[:, None] * term
    constant = numbers[..., -1] - numbers[..., -2] < CONSTANT_SPREAD
    each = np.full(epochs, seconds / epochs)
    ended = day - seconds / epochs * np.arange(epochs - 1.0, -1.0, -1.0)
    found = []
    for index in range(networks):
        made = Epochs(
            last - epochs + 1, task[index], term[index], weighted[index], validation[index], constant[index], each,
            ended, trained.parameters[index],
        )  # fmt: skip
        if not finite[index].all():
            count, step = (int(place) for place in np.argwhere(~finite[index])[0])
            made = replace(made.until(count), broken=NonFinite(step + 1, steps))
        found.append(made)
    return found
