"""Epochs on a GPU without the host: launched once, then captured as CUDA graphs, and replayed from there on."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from draw_poly.engine.backends.base import (
    MOST_EPOCHS,
    Backend,
    Data,
    Interrupted,
    Report,
    Trained,
    log,
    never,
)
from draw_poly.engine.config import Config
from draw_poly.engine.model.state import State
from draw_poly.kernels.spec import SCALARS

# Takes a step: on each network's batch of these points (networks, m) int64, with the step's scalars (networks, SCALARS
# per learner); writes the losses (networks, 1 per learner).
Step = Callable[[Tensor, Tensor, Tensor], None]
# Numbers that a row of scalars has room for is a multiple of this, so that each begins at 16 bytes: compilers read
# aligned memory as it is.
ALIGNED = 4
# Epochs of a graph: enough that the host is done with the next replay long before the device is with this one.
GRAPH_EPOCHS = 32


@dataclass(frozen=True)
class Window:
    """What one graph does: so many whole epochs, or consecutive steps of one, `begin` to `end`; the last validate."""

    epochs: int
    begin: int
    end: int
    last: bool

    @property
    def kind(self) -> tuple[int, int, bool]:
        """What windows have in common that one graph serves."""
        return self.epochs, self.end - self.begin, self.last


class Graphed(Backend):
    """A backend whose epochs, steps and validation, wait for the host nowhere.

    The first epoch is launched kernel by kernel, which compiles them; the second is captured, then replayed from there
    on, and so are many epochs at once where a visit has them. Whatever changes from epoch to epoch is read from buffers
    that the graph knows: the order of points, the optimisers' scalars, parameters and moments. An epoch of more steps
    than a graph holds is taken in windows: one graph for all that are full, one for the rest. Where nothing can be
    captured, each epoch is launched.
    """

    # Steps that a graph may hold.
    most_captured: int

    def __init__(self, state: State, config: Config, weights: Sequence[float] | None = None) -> None:
        super().__init__(state, config, weights)
        self.runs_ahead = captures(self.device)
        self._buffers: Buffers | None = None
        self._visits = 0  # with these buffers
        self._captures = captures(self.device)
        self._replays: dict[tuple[int, int, bool], Callable[[], None]] = {}
        self._pool: Any = None  # of the graphs' own memory
        # Torch's own for captures is of the first device that captured anything.
        self._stream = torch.cuda.Stream(self.device) if self._captures else None

    @abstractmethod
    def stepper(self, data: Data) -> Step:
        """What takes the steps of an epoch on this data, from buffers of its own where it needs any."""

    def validate(self, data: Data, out: Tensor) -> None:
        """Writes validation error, lowest and highest output (networks, 3)."""
        out.copy_(self._validate(data))

    def most_epochs(self, data: Data) -> int:
        """See `Backend.most_epochs`."""
        return MOST_EPOCHS if data.steps <= self.most_captured else 1

    def visit(self, data: Data, orders: NDArray[np.int64], interrupted: Callable[[], bool]) -> Report:
        """See `Backend.visit`."""
        buffers = self._buffers
        if buffers is None or buffers.data is not data:
            sizes = [one.network.size for one in self.state.learners]
            buffers = self._buffers = Buffers(data, self.stepper(data), sizes, self.device, self.most_captured)
            self._visits, self._replays = 0, {}
        if interrupted():
            raise Interrupted
        epochs = orders.shape[1]
        pinned = buffers.fill(orders, self._step_numbers(epochs * data.steps))
        for first, window in buffers.windows(epochs):
            if window.begin and interrupted():
                raise Interrupted
            if self._visits and self._captures and window.kind not in self._replays:
                self._capture(buffers, window)
            buffers.upload(pinned, first, window)
            if replay := self._replays.get(window.kind):
                replay()
            else:
                self._launch(buffers, window, interrupted if epochs == 1 else never)
            buffers.start_readback(pinned, first, window)
        pinned.sent()
        self._visits += 1
        for learner in self.state.learners:
            learner.steps += epochs * data.steps
        return lambda: pinned.read(epochs)

    def _capture(self, buffers: "Buffers", window: Window) -> None:
        """Makes a window's kind a graph, and with it the others of its epoch, where they can be."""
        before = torch.cuda.current_stream(self.device)
        replays: dict[tuple[int, int, bool], Callable[[], None]] = {}
        windows = [one for _, one in buffers.windows(window.epochs)]
        try:
            for kind, one in {one.kind: one for one in windows}.items():
                graph = torch.cuda.CUDAGraph()
                # Threads that wait for a frame meanwhile are none of the capture's business.
                with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
                    self._launch(buffers, one, never)
                replays[kind] = graph.replay
                self._pool = graph.pool()
        except RuntimeError as error:
            torch.cuda.set_stream(before)  # a capture that ends with an error leaves its own behind
            log.warning("The epoch cannot be captured and is launched step by step: %s", str(error).partition("\n")[0])
            self._captures = False
            return
        if not self._replays:
            steps, count = buffers.data.steps, len(windows)
            pieces = "one replay of a CUDA graph" if count == 1 else f"{count} replays of CUDA graphs"
            log.info("The epoch is captured, and its %d steps are %s from here on", steps, pieces)
        self._replays |= replays

    def _launch(self, buffers: "Buffers", window: Window, interrupted: Callable[[], bool]) -> None:
        """A window's work, in the order of the stream; captured, nothing of it runs yet."""
        for epoch in range(window.epochs):
            for step, points in enumerate(buffers.batches(window, epoch)):
                if interrupted():
                    raise Interrupted
                buffers.step(points, buffers.scalars[:, epoch, step], buffers.losses[:, epoch, step])
            if window.last:
                # Before the validation, so that a kernel comes before the next step, which may begin early then.
                buffers.keep(epoch, [one.parameters for one in self.state.learners])
                self.validate(buffers.data, buffers.validation[:, epoch])


class Buffers:
    """The buffers of a window, and what steps there: a graph keeps addresses, so they are made once.

    `order` (networks, epochs, points), `scalars` and `losses` (networks, epochs, steps, …) are those of the window that
    is under way, and so is what is left after each epoch: `validation` (networks, epochs, 3), `kept` (networks, epochs,
    P of all learners, whose sizes are given).
    """

    def __init__(self, data: Data, step: Step, sizes: Sequence[int], device: torch.device, most: int) -> None:
        self.data, self.step, self._sizes, self._device = data, step, sizes, device
        self._learners = learners = len(sizes)
        self._most = min(most, data.steps)
        self._epochs = epochs = max(1, min(GRAPH_EPOCHS, most // data.steps))
        networks, _, points = data.training.shape
        held = min(self._most * data.batch_size, points)
        self.order = torch.empty((networks, epochs, held), dtype=torch.int64, device=device)
        self._rows = torch.empty((networks, epochs, self._most, _row(learners)), device=device)
        self.scalars = self._rows[..., : SCALARS * learners]
        self._numbers = torch.empty((networks, epochs, self._most * learners + 3), device=device)
        self.losses = self._numbers[..., :-3].unflatten(2, (self._most, learners))
        self.validation = self._numbers[..., -3:]
        self.kept = torch.empty((networks, epochs, sum(sizes)), device=device)
        # Two: one visit's may be under way still while the next one's are written.
        self._pinned = self._room(1), self._room(1)

    def _room(self, epochs: int) -> "PinnedBuffers":
        return PinnedBuffers(self.data, epochs, self._sizes, self._device)

    def windows(self, epochs: int) -> Iterator[tuple[int, Window]]:
        """The windows of a visit of so many epochs, each with its first epoch."""
        steps, first = self.data.steps, 0
        while first < epochs:
            many = self._epochs if epochs - first >= self._epochs else 1
            for begin in range(0, steps, self._most):
                end = min(begin + self._most, steps)
                yield first, Window(many, begin, end, end == steps)
            first += many

    def points(self, window: Window) -> slice:
        """Where a window's points stand in the order of an epoch."""
        size, count = self.data.batch_size, self.data.training.shape[-1]
        return slice(window.begin * size, min(window.end * size, count))

    def batches(self, window: Window, epoch: int) -> Iterator[Tensor]:
        """The points of each of a window's steps in one of its epochs (networks, m)."""
        whole = self.points(window)
        return iter(self.order[:, epoch, : whole.stop - whole.start].split(self.data.batch_size, 1))

    def keep(self, epoch: int, parameters: Sequence[Tensor]) -> None:
        """Copies parameters (networks, P), of each learner, to where those after an epoch of the window are."""
        for room, flat in zip(self.kept[:, epoch].split(list(self._sizes), 1), parameters, strict=True):
            room.copy_(flat)

    def fill(self, orders: NDArray[np.int64], scalars: NDArray[np.float64]) -> "PinnedBuffers":
        """A visit's orders and scalars, ready to be sent; the report of the last visit but one must have been read."""
        pinned, other = self._pinned
        networks, epochs, _ = orders.shape
        if epochs > pinned.order.shape[1]:
            pinned = self._room(epochs)
        self._pinned = other, pinned
        pinned.order[:, :epochs].copy_(torch.from_numpy(orders))
        rows = torch.from_numpy(scalars).view(networks, epochs, self.data.steps, -1)
        pinned.rows[:, :epochs, :, : SCALARS * self._learners].copy_(rows)
        return pinned

    def upload(self, pinned: "PinnedBuffers", first: int, window: Window) -> None:
        """Sends the orders and scalars of a window, from the visit's epoch `first` on, on their way."""
        epochs = slice(first, first + window.epochs)
        sent = pinned.order[:, epochs, self.points(window)]
        self.order[:, : window.epochs, : sent.shape[2]].copy_(sent, non_blocking=True)
        rows = pinned.rows[:, epochs, window.begin : window.end]
        self._rows[:, : window.epochs, : rows.shape[2]].copy_(rows, non_blocking=True)

    def start_readback(self, pinned: "PinnedBuffers", first: int, window: Window) -> None:
        """Has a window's numbers sent, when the device has them."""
        epochs, ours = slice(first, first + window.epochs), slice(window.epochs)
        steps, place = window.end - window.begin, window.begin * self._learners
        if window.last and steps == self._most:  # one piece
            pinned.numbers[:, epochs, place:].copy_(self._numbers[:, ours], non_blocking=True)
        else:
            count = steps * self._learners
            pinned.numbers[:, epochs, place : place + count].copy_(self._numbers[:, ours, :count], non_blocking=True)
            if window.last:
                pinned.numbers[:, epochs, -3:].copy_(self.validation[:, ours], non_blocking=True)
        if window.last:
            pinned.kept[:, epochs].copy_(self.kept[:, ours], non_blocking=True)


class PinnedBuffers:
    """What goes to the device for so many epochs and what comes back, pinned where copies run beside the host."""

    def __init__(self, data: Data, epochs: int, sizes: Sequence[int], device: torch.device) -> None:
        pinned = device.type == "cuda"
        networks, _, points = data.training.shape
        self.order = torch.empty((networks, epochs, points), dtype=torch.int64, pin_memory=pinned)
        self.rows = torch.empty((networks, epochs, data.steps, _row(len(sizes))), pin_memory=pinned)
        self.numbers = torch.empty((networks, epochs, data.steps * len(sizes) + 3), pin_memory=pinned)
        self.kept = torch.empty((networks, epochs, sum(sizes)), pin_memory=pinned)
        self._arrived = torch.cuda.Event() if captures(device) else None

    def sent(self) -> None:
        """Says that all numbers are on their way."""
        if self._arrived:
            self._arrived.record()

    def read(self, epochs: int) -> Trained:
        """Waits for the numbers of so many epochs."""
        if self._arrived:
            self._arrived.synchronize()
        return Trained(self.numbers[:, :epochs].numpy(), self.kept[:, :epochs].numpy())


def _row(learners: int) -> int:
    """Numbers that a step's row of scalars has room for."""
    return -(-SCALARS * learners // ALIGNED) * ALIGNED


def captures(device: torch.device) -> bool:
    """Whether a device's work can be captured as a graph."""
    return device.type == "cuda"
