"""What every backend offers: an epoch on a run's data, and the network evaluated anywhere."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal, Protocol, TypeVar, cast

import torch
from torch import Tensor

from draw_poly.engine import kolmogorov
from draw_poly.engine.config import Config
from draw_poly.engine.state import Learner, State
from draw_poly.kernels import reference
from draw_poly.kernels.subnormals import flushed

Method = TypeVar("Method", bound=Callable[..., Any])
Scalars = Sequence[reference.Scalar]
# A child of the run's logger, which a backend need not know.
log = logging.getLogger("polytope_nn.backend")


class Interrupted(Exception):
    """The epoch was left unfinished because a signal asked for it."""


class Report(Protocol):
    """An epoch's numbers: a tensor, or what waits for one."""

    def tolist(self) -> list[float]:
        """The numbers, once the device is done with the epoch."""
        ...


@dataclass(frozen=True)
class Data:
    """What a run trains and validates on, points (3, n) as x, y, value; a step takes `batch_size` of them."""

    training: Tensor
    validation: Tensor
    batch_size: int

    @property
    def steps(self) -> int:
        """Steps an epoch; the last one's batch may be short."""
        return -(-self.training.shape[1] // self.batch_size)


class Backend(ABC):
    """Trains one state in place."""

    name: str
    # How a picture is drawn: by `evaluate` at points that a boundary may pass, `evaluate_grid` of all pixels, or the
    # kernel of the CPU that draws.
    drawn_by: Literal["points", "grid", "picture"] = "points"
    # By points: side, in pixels, of the tiles that a picture begins with, a power of two; 1: every pixel is evaluated.
    tile = 32
    # Whether it decides itself where torch's number of threads pays.
    shares_work = False
    # Whether `epoch` returns before the device is done, so that another may be begun before its report is read.
    runs_ahead = False

    def __init__(self, state: State, config: Config) -> None:
        self.state = state
        self.config = config
        self.code = code = config.code_length
        self.device = state.main.parameters.device
        self.positions = None if code is None else kolmogorov.positions(state.main.network).to(self.device)
        self._stacks = [reference.layers(learner.parameters, learner.network) for learner in state.learners]
        self._most_points: int | None = None  # evaluated at once, where the device's memory holds no more

    @classmethod
    def try_out(cls, config: Config, device: torch.device) -> None:
        """Launches on a device, once, what a run will launch there; raises whatever hinders it."""
        point = torch.zeros((3, 1), device=device)
        data = Data(point, point, min(config.batch_size, config.points))  # so that kernels are those of the run
        cls(blank_state(config, device), config).epoch(data, torch.zeros(1, dtype=torch.int64), lambda: False).tolist()

    @abstractmethod
    def epoch(self, data: Data, order: Tensor, interrupted: Callable[[], bool]) -> Report:
        """Trains on the points in this order (n,) on the host, batch after batch, and validates.

        Returns one vector: each step's losses in turn (task, and Kolmogorov if the term is on), the mean squared error
        of validation, the lowest and the highest output there. Raises Interrupted between two steps once
        `interrupted()` is true, or before the first where an epoch is one piece. The report is to be read before the
        epoch after the next begins.
        """

    @abstractmethod
    def gradient(self, inputs: Tensor, targets: Tensor, gradients: Sequence[Tensor], losses: Tensor) -> None:
        """What a step on a batch (2, n), (1, n) would descend, without taking it.

        Writes the gradient (P,) of the weighted sum of both losses for each learner, and the `losses` (1 per learner,).
        """

    @abstractmethod
    def evaluate(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (1, points) and int64 signatures (points,) at coordinates (2, points)."""

    def evaluate_grid(
        self, size: tuple[int, int], top: int, outputs: Tensor, signatures: Tensor, edges: Tensor
    ) -> None:
        """Rows from `top` on of a picture of `size` (width, height): `outputs` (1, rows, width), others (rows, width).

        `edges` uint8 receives the bits `spec.RIGHT` and `spec.BELOW`, where a pixel's neighbour has another signature.
        """
        raise NotImplementedError(f"the backend {self.name} evaluates points, not grids")

    def evaluate_in_memory(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """As `evaluate`, from host memory to host memory, in as few parts as the device's memory holds.

        A part that it does not hold is halved, for good and with a line in the log.
        """
        most = self._most_points or max(inputs.shape[1], 1)
        while True:
            try:
                parts = [self.evaluate(part.to(self.device)) for part in inputs.split(most, 1)]
                outputs, signatures = zip(*((values.cpu(), codes.cpu()) for values, codes in parts), strict=True)
                whole = len(parts) == 1  # nothing to copy together
                return (outputs[0], signatures[0]) if whole else (torch.cat(outputs, 1), torch.cat(signatures))
            except torch.OutOfMemoryError:
                most = min(most, inputs.shape[1])
                if most == 1:
                    raise
            # Past the handler, whose exception holds on to the tensors of the calls that failed.
            torch.cuda.empty_cache()
            log.warning("Out of memory with %d points evaluated at once: going on with %d", most, -(-most // 2))
            most = self._most_points = -(-most // 2)

    def _validate(self, data: Data) -> Tensor:
        """Validation error, lowest and highest output (3,)."""
        outputs = reference.forward(self._stacks[0], data.validation[:2], self.state.main.network.slope)[1]
        error = (outputs - data.validation[2:]).square().mean()
        return torch.stack((error, *torch.aminmax(outputs)))

    def _step_numbers(self, steps: int) -> list[list[float]]:
        """What the optimisers need to know of each of the next steps, learner after learner."""
        learners = self.state.learners
        return [
            [number for one in learners for number in one.optimizer.scalars(one.steps + index)]
            for index in range(1, steps + 1)
        ]


def blank_state(config: Config, device: torch.device) -> State:
    """A run's networks with zeros for parameters: something to try a backend on."""
    learners = [
        Learner.fresh(network, optimizer, torch.zeros(network.size, device=device))
        for network, optimizer in zip(config.networks, config.optimizers, strict=False)
    ]
    coefficients = torch.zeros(config.network.neurons, dtype=torch.int64, device=device)
    return State(learners[0], learners[1] if len(learners) > 1 else None, coefficients, torch.Generator())


def flushing(method: Method) -> Method:
    """A backend's method of torch's operations: where they run on the CPU, subnormals are zeros to them."""

    @wraps(method)
    def flushes(self: Backend, *arguments: Any) -> Any:
        if self.device.type != "cpu":
            return method(self, *arguments)
        with flushed(torch_too=True):
            return method(self, *arguments)

    return cast(Method, flushes)
