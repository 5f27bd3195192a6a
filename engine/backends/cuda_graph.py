"""An epoch on a GPU without the host: launched once, then captured as CUDA graphs, and replayed from there on."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from draw_poly.engine.backends.base import Backend, Data, Interrupted, Report, log
from draw_poly.engine.config import Config
from draw_poly.engine.model.state import State

# Takes a step: on each network's batch of these points (networks, m) int64, with the step's scalars (networks, 2 per
# learner); writes the losses (networks, 1 per learner).
Step = Callable[[Tensor, Tensor, Tensor], None]
# Numbers that a row of scalars has room for, so that each begins at 16 bytes: compilers read aligned memory as it is.
ROW = 4


@dataclass(frozen=True)
class Window:
    """Consecutive steps of an epoch, `begin` to `end`, that are one graph; the last one validates."""

    begin: int
    end: int
    last: bool

    @property
    def kind(self) -> tuple[int, bool]:
        """What windows have in common that one graph serves."""
        return self.end - self.begin, self.last


class Graphed(Backend):
    """A backend whose epoch, steps and validation, waits for the host nowhere.

    The first epoch is launched kernel by kernel, which compiles them; the second is captured, then replayed from there
    on. Whatever changes from epoch to epoch is read from buffers that the graph knows: the order of points, the
    optimisers' scalars, parameters and moments. An epoch of more steps than a graph holds is taken in windows: one
    graph for all that are full, one for the rest. Where nothing can be captured, each epoch is launched.
    """

    # Steps that a graph may hold.
    most_captured: int

    def __init__(self, state: State, config: Config) -> None:
        super().__init__(state, config)
        self.runs_ahead = captures(self.device)
        self._buffers: Buffers | None = None
        self._epochs = 0  # with these buffers
        self._replays: dict[tuple[int, bool], Callable[[], None]] = {}

    @abstractmethod
    def stepper(self, data: Data) -> Step:
        """What takes the steps of an epoch on this data, from buffers of its own where it needs any."""

    def validate(self, data: Data, out: Tensor) -> None:
        """Writes validation error, lowest and highest output (networks, 3)."""
        out.copy_(self._validate(data))

    def epoch(self, data: Data, order: Tensor, interrupted: Callable[[], bool]) -> Report:
        """See `Backend.epoch`; its report waits for the numbers."""
        buffers = self._buffers
        if buffers is None or buffers.data is not data:
            buffers = self._buffers = Buffers(
                data, self.stepper(data), len(self.state.learners), self.device, self.most_captured
            )
            self._epochs, self._replays = 0, {}
        if interrupted():
            raise Interrupted
        pinned = buffers.fill(order, self._step_numbers(data.steps))
        if self._epochs == 1 and captures(self.device):
            self._capture(buffers)
        for window in buffers.windows:
            if window.begin and interrupted():
                raise Interrupted
            buffers.upload(pinned, window)
            if self._replays:
                self._replays[window.kind]()
            else:
                self._launch(buffers, window, interrupted)
            buffers.start_readback(pinned, window)
        self._epochs += 1
        for learner in self.state.learners:
            learner.steps += data.steps
        return pinned

    def _capture(self, buffers: "Buffers") -> None:
        """Makes the epoch's windows graphs, where they can be."""
        before = torch.cuda.current_stream(self.device)
        replays: dict[tuple[int, bool], Callable[[], None]] = {}
        pool = None
        try:
            for window in {one.kind: one for one in buffers.windows}.values():
                graph = torch.cuda.CUDAGraph()
                # Threads that wait for a frame meanwhile are none of the capture's business.
                with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                    self._launch(buffers, window, lambda: False)
                replays[window.kind] = graph.replay
                pool = graph.pool()
        except RuntimeError as error:
            torch.cuda.set_stream(before)  # a capture that ends with an error leaves its own behind
            log.warning("The epoch cannot be captured and is launched step by step: %s", str(error).partition("\n")[0])
            return
        self._replays = replays
        steps, count = buffers.data.steps, len(buffers.windows)
        pieces = "one replay of a CUDA graph" if count == 1 else f"{count} replays of CUDA graphs"
        log.info("The epoch is captured, and its %d steps are %s from here on", steps, pieces)

    def _launch(self, buffers: "Buffers", window: Window, interrupted: Callable[[], bool]) -> None:
        """A window's work, in the order of the stream; captured, nothing of it runs yet."""
        for step, points in enumerate(buffers.batches(window)):
            if interrupted():
                raise Interrupted
            buffers.step(points, buffers.scalars[:, step], buffers.losses[:, step])
        if window.last:
            self.validate(buffers.data, buffers.validation)


class Buffers:
    """The buffers of a window of steps, and what steps there: a graph keeps addresses, so they are made once.

    `order` (networks, points), `scalars` and `losses` (networks, steps, …) are those of the window that is under way.
    """

    def __init__(self, data: Data, step: Step, learners: int, device: torch.device, most: int) -> None:
        self.data, self.step, self._learners = data, step, learners
        most = min(most, data.steps)
        self.windows = [
            Window(begin, min(begin + most, data.steps), begin + most >= data.steps)
            for begin in range(0, data.steps, most)
        ]
        networks, _, points = data.training.shape
        self.order = torch.empty((networks, min(most * data.batch_size, points)), dtype=torch.int64, device=device)
        self._rows = torch.empty((networks, most, ROW), device=device)
        self.scalars = self._rows[:, :, : 2 * learners]
        self._numbers = torch.empty((networks, most * learners + 3), device=device)
        self.losses = self._numbers[:, :-3].unflatten(1, (most, learners))
        self.validation = self._numbers[:, -3:]
        # Two: one epoch's may be under way still while the next one's are written.
        self._pinned = PinnedBuffers(data, learners, device), PinnedBuffers(data, learners, device)

    def points(self, window: Window) -> slice:
        """Where a window's points stand in the epoch's order."""
        size, count = self.data.batch_size, self.data.training.shape[-1]
        return slice(window.begin * size, min(window.end * size, count))

    def batches(self, window: Window) -> Iterator[Tensor]:
        """The points of each of a window's steps (networks, m)."""
        whole = self.points(window)
        return iter(self.order[:, : whole.stop - whole.start].split(self.data.batch_size, 1))

    def fill(self, order: Tensor, scalars: list[list[list[float]]]) -> "PinnedBuffers":
        """An epoch's order and scalars, ready to be sent; the report of the last epoch but one must have been read."""
        pinned, other = self._pinned
        self._pinned = other, pinned
        pinned.order.copy_(order)
        pinned.rows[:, :, : 2 * self._learners].copy_(torch.tensor(scalars, dtype=torch.float32))
        return pinned

    def upload(self, pinned: "PinnedBuffers", window: Window) -> None:
        """Sends a window's order and scalars on their way."""
        sent = pinned.order[:, self.points(window)]
        self.order[:, : sent.shape[1]].copy_(sent, non_blocking=True)
        self._rows[:, : window.end - window.begin].copy_(pinned.rows[:, window.begin : window.end], non_blocking=True)

    def start_readback(self, pinned: "PinnedBuffers", window: Window) -> None:
        """Has a window's numbers sent, when the device has them."""
        steps, place = window.end - window.begin, window.begin * self._learners
        if window.last and steps == self.losses.shape[1]:  # one piece
            pinned.numbers[:, place:].copy_(self._numbers, non_blocking=True)
        else:
            count = steps * self._learners
            pinned.numbers[:, place : place + count].copy_(self._numbers[:, :count], non_blocking=True)
            if window.last:
                pinned.numbers[:, -3:].copy_(self.validation, non_blocking=True)
        if window.last:
            pinned.sent()


class PinnedBuffers:
    """What goes to the device for an epoch and what comes back, pinned where copies run beside the host: a report."""

    def __init__(self, data: Data, learners: int, device: torch.device) -> None:
        pinned = device.type == "cuda"
        networks, _, points = data.training.shape
        self.order = torch.empty((networks, points), dtype=torch.int64, pin_memory=pinned)
        self.rows = torch.empty((networks, data.steps, ROW), pin_memory=pinned)
        self.numbers = torch.empty((networks, data.steps * learners + 3), pin_memory=pinned)
        self._arrived = torch.cuda.Event() if captures(device) else None

    def sent(self) -> None:
        """Says that all numbers are on their way."""
        if self._arrived:
            self._arrived.record()

    def tolist(self) -> list[list[float]]:
        """Waits for the numbers."""
        if self._arrived:
            self._arrived.synchronize()
        numbers: list[list[float]] = self.numbers.tolist()
        return numbers


def captures(device: torch.device) -> bool:
    """Whether a device's work can be captured as a graph."""
    return device.type == "cuda"
