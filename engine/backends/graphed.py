"""An epoch on a GPU as one piece: launched once, then captured as a CUDA graph, and replayed from there on."""

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from engine.backends.base import Backend, Data, Interrupted, Report, log
from engine.config import Config
from engine.state import State

# Takes a step: on a batch (3, n), with the step's scalars (2 per learner,); writes the losses (1 per learner,).
Step = Callable[[Tensor, Tensor, Tensor], None]
# Numbers that a row of scalars has room for, so that each begins at 16 bytes: compilers read aligned memory as it is.
ROW = 4


class Graphed(Backend):
    """A backend whose epoch, steps and validation, waits for the host nowhere.

    The first epoch is launched kernel by kernel, which compiles them; the second is captured, then replayed from there
    on. Whatever changes from epoch to epoch is read from buffers that the graph knows: the order of points, the
    optimisers' scalars, parameters and moments. Where a device or an epoch cannot be captured, each epoch is launched.
    """

    # Steps that a graph may hold.
    most_captured: int

    def __init__(self, state: State, config: Config) -> None:
        super().__init__(state, config)
        self.runs_ahead = captures(self.device)
        self._room: Room | None = None
        self._epochs = 0  # with this room
        self._replay: Callable[[], None] | None = None

    @abstractmethod
    def stepper(self, data: Data) -> Step:
        """What takes the steps of an epoch on this data, from buffers of its own where it needs any."""

    def epoch(self, data: Data, order: Tensor, interrupted: Callable[[], bool]) -> Report:
        """See `Backend.epoch`; its report waits for the numbers."""
        room = self._room
        if room is None or room.data is not data:
            room = self._room = Room(data, self.stepper(data), len(self.state.learners), self.device)
            self._epochs, self._replay = 0, None
        if interrupted():
            raise Interrupted
        mail = room.send(order, self._step_numbers(data.steps))
        if self._epochs == 1:
            self._replay = self._captured(room)
        if self._replay is not None:
            self._replay()
        else:
            self._launch(room, interrupted)
        self._epochs += 1
        for learner in self.state.learners:
            learner.steps += data.steps
        mail.ask(room.numbers)
        return mail

    def _captured(self, room: "Room") -> Callable[[], None] | None:
        """The epoch as a graph's replay, or None where there can be none."""
        if not captures(self.device):
            return None
        steps = room.data.steps
        if steps > self.most_captured:
            log.info("An epoch of %d steps is launched step by step: a graph holds %d", steps, self.most_captured)
            return None
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._launch(room, lambda: False)
        except RuntimeError as error:
            log.warning("The epoch cannot be captured and is launched step by step: %s", str(error).partition("\n")[0])
            return None
        log.info("The epoch is captured, and its %d steps are one replay of a CUDA graph from here on", steps)
        return graph.replay

    def _launch(self, room: "Room", interrupted: Callable[[], bool]) -> None:
        """An epoch's work, in the order of the stream; captured, nothing of it runs yet."""
        data = room.data
        torch.index_select(data.training, 1, room.order, out=room.points)
        for step, batch in enumerate(room.points.split(data.batch_size, 1)):
            if interrupted():
                raise Interrupted
            room.step(batch, room.scalars[step], room.losses[step])
        room.validation.copy_(self._validate(data))


class Room:
    """The buffers of an epoch on some data, and what steps there: a graph keeps addresses, so they are made once."""

    def __init__(self, data: Data, step: Step, learners: int, device: torch.device) -> None:
        count = data.training.shape[1]
        self.data, self.step = data, step
        self.order = torch.empty(count, dtype=torch.int64, device=device)
        self.points = torch.empty((3, count), device=device)
        self._rows = torch.empty((data.steps, ROW), device=device)
        self.scalars = self._rows[:, : 2 * learners]
        self.numbers = torch.empty(data.steps * learners + 3, device=device)
        self.losses, self.validation = self.numbers[:-3].view(data.steps, learners), self.numbers[-3:]
        # Two: one epoch's may be under way still while the next one's are written.
        self._mail = Mail(data, learners, device), Mail(data, learners, device)

    def send(self, order: Tensor, scalars: list[list[float]]) -> "Mail":
        """Sends an epoch's order and scalars on their way; the report of the last epoch but one must have been read."""
        mail, other = self._mail
        self._mail = other, mail
        mail.order.copy_(order)
        mail.rows[:, : len(scalars[0])].copy_(torch.tensor(scalars, dtype=torch.float32))
        self.order.copy_(mail.order, non_blocking=True)
        self._rows.copy_(mail.rows, non_blocking=True)
        return mail


class Mail:
    """What goes to the device for an epoch and what comes back, pinned where copies run beside the host: a report."""

    def __init__(self, data: Data, learners: int, device: torch.device) -> None:
        pinned = device.type == "cuda"
        self.order = torch.empty(data.training.shape[1], dtype=torch.int64, pin_memory=pinned)
        self.rows = torch.empty((data.steps, ROW), pin_memory=pinned)
        self._numbers = torch.empty(data.steps * learners + 3, pin_memory=pinned)
        self._arrived = torch.cuda.Event() if captures(device) else None

    def ask(self, numbers: Tensor) -> None:
        """Has an epoch's numbers sent, when the device has them."""
        self._numbers.copy_(numbers, non_blocking=True)
        if self._arrived:
            self._arrived.record()

    def tolist(self) -> list[float]:
        """Waits for the numbers."""
        if self._arrived:
            self._arrived.synchronize()
        numbers: list[float] = self._numbers.tolist()
        return numbers


def captures(device: torch.device) -> bool:
    """Whether a device's work can be captured as a graph."""
    return device.type == "cuda"
