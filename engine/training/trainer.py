"""One epoch: its order, its steps, its validation. Nothing returns to the host before the epoch ends."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from draw_poly.engine.backends.base import Backend, Data, Report
from draw_poly.engine.training.one_thread import one_thread

# Outputs whose spread is below this are one constant.
CONSTANT_SPREAD = 1e-6


class NonFinite(Exception):
    """A loss was not a finite number; says at which step of the epoch, from 1."""

    def __init__(self, step: int, steps: int) -> None:
        super().__init__(f"step {step} of {steps}")
        self.step = step


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to: means over its batches, validation after it.

    `seconds` go from its launch, or from when the one before was read if that was later, to when it was read.
    """

    task: float
    kolmogorov: float
    weighted: float
    validation: float
    constant: bool
    seconds: float

    @property
    def combined(self) -> float:
        """The loss that was trained: task plus weighted Kolmogorov term."""
        return self.task + self.weighted


@dataclass(frozen=True)
class Launched:
    """An epoch that is trained or on its way, its number from 1.

    `read` waits for what it comes to, and raises NonFinite where a loss is not finite.
    """

    number: int
    read: Callable[[], Epoch]

    def finished(self) -> "Launched":
        """The same, when it has been read."""
        epoch = self.read()
        return Launched(self.number, lambda: epoch)


class Trainer:
    """Trains a backend's state on points (2, n) and values (1, n), and validates it on others."""

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
        self._ahead: Order | None = None
        self._last_read = 0.0
        ours, others = (torch.cat(points)[None].to(device) for points in (training, validation))
        self._data = Data(ours, others, min(batch_size, count))

    def epoch(self, interrupted: Callable[[], bool] = lambda: False) -> Epoch:
        """Trains one epoch in place.

        Raises Interrupted between two steps once `interrupted()` is true, NonFinite after an epoch with a loss that
        is not finite. Both leave the state as it is by then.
        """
        return self.launch(interrupted).read()

    @property
    def runs_ahead(self) -> bool:
        """Whether an epoch may be launched before the one before it is read."""
        return self._backend.runs_ahead

    def launch(self, interrupted: Callable[[], bool]) -> Launched:
        """Begins an epoch; whatever is asked of the device from now on comes after it. Raises Interrupted."""
        started = time.perf_counter()
        report = self._backend.epoch(self._data, self._order(), interrupted)
        self._state.epoch += 1
        self._ahead = self._draw(self._state.generator.get_state())  # while the device works
        return Launched(self._state.epoch, partial(self._read, report, started))

    def _read(self, report: Report, started: float) -> Epoch:
        [[*numbers, validation, lowest, highest]] = report.tolist()
        kinds = len(self._state.learners)
        tasks, terms = numbers[::kinds], numbers[1::kinds] if kinds > 1 else [0.0] * self._data.steps
        for step, (task, term) in enumerate(zip(tasks, terms, strict=True), 1):
            if not math.isfinite(task + term):
                raise NonFinite(step, len(tasks))
        if not math.isfinite(validation):
            raise NonFinite(len(tasks), len(tasks))
        now = time.perf_counter()
        seconds, self._last_read = now - max(started, self._last_read), now
        task, term = sum(tasks) / len(tasks), sum(terms) / len(terms)
        return Epoch(task, term, self._weight * term, validation, highest - lowest < CONSTANT_SPREAD, seconds)

    def _order(self) -> Tensor:
        """The epoch's order of points (1, n): the one drawn ahead, if the generator stands where it stood then."""
        generator = self._state.generator
        before = generator.get_state()
        ahead = self._ahead
        if ahead is None or not torch.equal(ahead.before, before):
            ahead = self._draw(before)
        generator.set_state(ahead.after)
        return ahead.order

    def _draw(self, before: Tensor) -> "Order":
        """Draws an order as the original's loader does: the second number seeds it. Leaves the run's generator be."""
        generator = torch.Generator()
        generator.set_state(before)
        torch.empty((), dtype=torch.int64).random_(generator=generator)
        seed = int(torch.empty((), dtype=torch.int64).random_(generator=generator).item())
        with one_thread():
            order = torch.randperm(self._data.training.shape[-1], generator=torch.Generator().manual_seed(seed))[None]
        return Order(before, order, generator.get_state())


@dataclass(frozen=True)
class Order:
    """An epoch's order of points (1, n), and the generator's state before and after it was drawn."""

    before: Tensor
    order: Tensor
    after: Tensor
