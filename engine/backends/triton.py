"""The Triton kernels: two launches a step, and on a GPU an epoch that is one replay of a captured graph."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from engine.backends.base import Backend, Data, Interrupted, Report, log
from engine.config import Config
from engine.state import State
from kernels import gpu

# Steps whose launches a graph may hold: past it, launching takes no longer than running.
MOST_CAPTURED = 4096


class Triton(Backend):
    """Fused gradient and update.

    The first epoch launches its kernels one by one, which compiles them; the second is captured, then replayed from
    there on. Whatever changes from epoch to epoch is read from buffers that the graph knows: the order of points, the
    optimisers' scalars (a learning rate among them), parameters and moments.
    """

    name = "triton"
    evaluates_grids = True

    def __init__(self, state: State, config: Config) -> None:
        super().__init__(state, config)
        learners = state.learners
        self._optimizers = [one.optimizer for one in learners]
        self._parameters, self._moments = [one.parameters for one in learners], [one.moments for one in learners]
        self._room: Room | None = None
        self._epochs = 0  # with this room
        self._replay: Callable[[], None] | None = None
        self._shared: gpu.Partials | None = None  # for a share of a batch

    def epoch(self, data: Data, order: Tensor, interrupted: Callable[[], bool]) -> "Report":
        """See `Backend.epoch`; the numbers are on their way to the host when it returns."""
        room = self._room
        if room is None or room.data is not data:
            room = self._room = Room(data, self.state, self.config, self.device)
            self._epochs, self._replay = 0, None
        if interrupted():
            raise Interrupted
        room.fill(order, self._step_numbers(data.steps))
        if self._epochs == 1:
            self._replay = self._captured(room)
        if self._replay is not None:
            self._replay()
        else:
            self._launch(room, interrupted)
        self._epochs += 1
        for learner in self.state.learners:
            learner.steps += data.steps
        return room.report()

    def _captured(self, room: "Room") -> Callable[[], None] | None:
        """The epoch as a graph's replay, or None where there can be none."""
        if not captures(self.device):
            return None
        if room.data.steps > MOST_CAPTURED:
            log.info("An epoch of %d steps is launched step by step: a graph holds %d", room.data.steps, MOST_CAPTURED)
            return None
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._launch(room, lambda: False)
        except RuntimeError as error:
            log.warning("The epoch cannot be captured and is launched step by step: %s", str(error).partition("\n")[0])
            return None
        return graph.replay

    def _launch(self, room: "Room", interrupted: Callable[[], bool]) -> None:
        """An epoch's work, in the order of the stream; captured, nothing of it runs yet."""
        data, main = room.data, self.state.main
        torch.index_select(data.training, 1, room.order, out=room.points)
        for step, batch in enumerate(room.points.split(data.batch_size, 1)):
            if interrupted():
                raise Interrupted
            gpu.gradient(room.partials, self._parameters, self.positions, batch[:2], batch[2:])
            gpu.update(
                room.partials, self._optimizers, self._parameters, self._moments, room.scalars[step], room.losses[step]
            )
        gpu.evaluate(
            main.network, main.parameters, self.state.coefficients, data.validation[:2], room.outputs, room.signatures
        )
        error = (room.outputs - data.validation[2:]).square().mean()
        torch.stack((error, *torch.aminmax(room.outputs)), out=room.validation)
        room.host.copy_(room.numbers, non_blocking=True)

    def gradient(self, inputs: Tensor, targets: Tensor, gradients: Sequence[Tensor], losses: Tensor) -> None:
        """See `Backend.gradient`."""
        partials, points = self._shared, inputs.shape[1]
        if partials is None or partials.points < points:
            network, precision = self.state.main.network, self.config.precision
            partials = self._shared = gpu.Partials(network, self.code, points, self.device, precision)
        parameters = [learner.parameters for learner in self.state.learners]
        gpu.gradient(partials, parameters, self.positions, inputs, targets)
        gpu.total(partials, gradients, losses)

    def evaluate(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """See `Backend.evaluate`."""
        main, count = self.state.main, inputs.shape[1]
        outputs = torch.empty((main.network.dims[-1], count), device=self.device)
        signatures = torch.empty(count, dtype=torch.int64, device=self.device)
        gpu.evaluate(main.network, main.parameters, self.state.coefficients, inputs, outputs, signatures)
        return outputs, signatures

    def evaluate_grid(
        self, size: tuple[int, int], top: int, outputs: Tensor, signatures: Tensor, edges: Tensor
    ) -> None:
        """See `Backend.evaluate_grid`."""
        main = self.state.main
        gpu.evaluate_grid(main.network, main.parameters, self.state.coefficients, size, top, outputs, signatures, edges)


class Room:
    """The buffers of an epoch on some data: a graph keeps their addresses, so they are made once."""

    def __init__(self, data: Data, state: State, config: Config, device: torch.device) -> None:
        network, kinds = state.main.network, len(state.learners)
        count, checked = data.training.shape[1], data.validation.shape[1]
        self.data = data
        self.partials = gpu.Partials(network, config.code_length, data.batch_size, device, config.precision)
        self.order = torch.empty(count, dtype=torch.int64, device=device)
        self.points = torch.empty((3, count), device=device)
        self.scalars = torch.empty((data.steps, 2 * kinds), device=device)
        self.outputs = torch.empty((network.dims[-1], checked), device=device)
        self.signatures = torch.empty(checked, dtype=torch.int64, device=device)
        self.numbers = torch.empty(data.steps * kinds + 3, device=device)
        self.losses, self.validation = self.numbers[:-3].view(data.steps, kinds), self.numbers[-3:]
        # On the host: what goes to the device and what comes back, pinned where copies can then run beside the host.
        pinned = device.type == "cuda"
        self.host_order = torch.empty(count, dtype=torch.int64, pin_memory=pinned)
        self.host_scalars = torch.empty((data.steps, 2 * kinds), pin_memory=pinned)
        self.host = torch.empty(data.steps * kinds + 3, pin_memory=pinned)
        self._done = torch.cuda.Event() if captures(device) else None

    def fill(self, order: Tensor, scalars: list[list[float]]) -> None:
        """Sends an epoch's order and scalars on their way; the last epoch's must have arrived."""
        self.host_order.copy_(order)
        self.host_scalars.copy_(torch.tensor(scalars, dtype=torch.float32))
        self.order.copy_(self.host_order, non_blocking=True)
        self.scalars.copy_(self.host_scalars, non_blocking=True)

    def report(self) -> "Report":
        """The epoch's numbers, once the device is done with it."""
        if self._done is None:
            return self.host
        self._done.record()
        return Arriving(self.host, self._done)


class Arriving:
    """Numbers that a device is still writing to the host."""

    def __init__(self, host: Tensor, done: torch.cuda.Event) -> None:
        self._host, self._done = host, done

    def tolist(self) -> list[float]:
        """Waits for them."""
        self._done.synchronize()
        numbers: list[float] = self._host.tolist()
        return numbers


def captures(device: torch.device) -> bool:
    """Whether a device's work can be captured as a graph."""
    return device.type == "cuda"
