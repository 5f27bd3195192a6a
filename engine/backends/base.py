"""What every backend offers: epochs on a run's data, and the network evaluated anywhere."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal, NamedTuple, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from draw_poly.engine.config import Config
from draw_poly.engine.model import kolmogorov
from draw_poly.engine.model.state import Learner, State
from draw_poly.kernels import reference
from draw_poly.kernels.subnormals import flushed
from draw_poly.kernels.tensors import shares

MOST_EPOCHS = 2**12  # of a visit
Method = TypeVar("Method", bound=Callable[..., Any])
Scalars = Sequence[reference.Scalar]
# A child of the run's logger, which a backend need not know.
log = logging.getLogger("polytope_nn.backend")


class Interrupted(Exception):
    """An epoch was left unfinished because a signal asked for it."""


class Trained(NamedTuple):
    """What epochs came to, in host memory.

    `numbers` (networks, epochs, …) are each epoch's: its steps' losses in turn (task, and Kolmogorov if the term is
    on), the mean loss of validation, the lowest and the highest output there: see `reference.span`. `parameters`
    (networks, epochs, P of all learners) are those after it.
    """

    numbers: NDArray[np.float32]
    parameters: NDArray[np.float32]


# Waits until the device is done with what was asked of it.
Report = Callable[[], Trained]


@dataclass(frozen=True)
class Data:
    """What a population trains and validates on, points as x, y, targets; a step takes `batch_size` of each one's."""

    training: Tensor  # (networks, 2 + targets, n)
    validation: Tensor  # (networks, 2 + targets, m)
    batch_size: int

    @property
    def steps(self) -> int:
        """Steps an epoch; the last one's batch may be short."""
        return -(-self.training.shape[-1] // self.batch_size)


class Member(NamedTuple):
    """One network of a population, and its predictor if the term is on: views of the state's tensors."""

    parameters: list[Tensor]  # (P,) each
    moments: list[Tensor]  # (count, P) each
    stacks: list[list[reference.Layer]]
    share: reference.Scalar  # of a parameter's Kolmogorov loss in the loss


class Backend(ABC):
    """Trains one state in place."""

    name: str
    # Which of several ways to round its kernels have on this machine, where there are several.
    variant: str | None = None
    # How a picture is drawn: by `evaluate` at points that a boundary may pass, `evaluate_grid` of all pixels, or the
    # kernel of the CPU that draws.
    drawn_by: Literal["points", "grid", "picture"] = "points"
    # By points: side, in pixels, of the tiles that a picture begins with, a power of two; 1: every pixel is evaluated.
    tile = 32
    # Whether it decides itself where torch's number of threads pays.
    shares_work = False
    # Whether `visit` returns before the device is done, so that another may be begun before its report is read.
    runs_ahead = False

    def __init__(self, state: State, config: Config, weights: Sequence[float] | None = None) -> None:
        """`weights` (networks,) of the Kolmogorov term are the configuration's where none are given."""
        self.state = state
        self.config = config
        self.term = term = config.kolmogorov_term
        if not state.main.network.activation.piecewise_affine:  # a tile's corners tell nothing of what lies within
            self.tile = 1
            self.drawn_by = "points" if self.drawn_by == "picture" else self.drawn_by
        self.device = state.main.parameters.device
        self.networks = [one.network for one in state.learners]
        self.positions = None if term is None else kolmogorov.positions(state.main.network).to(self.device)
        self.weights = list(weights or [term.weight if term else 0.0] * state.networks)
        each = shares(state.main.network, term, state.networks, self.weights)
        self._members = [self._member(index, share) for index, share in enumerate(each)]
        # Of each learner: steps that the run had taken when its moments were fresh.
        self._before = [state.epoch * config.steps - one.steps for one in state.learners]
        self._most_points: int | None = None  # evaluated at once, where the device's memory holds no more

    @classmethod
    def try_out(cls, config: Config, device: torch.device) -> None:
        """Launches on a device, once, what a run will launch there; raises whatever hinders it."""
        point = torch.zeros((1, 2 + config.network.targets, 1), device=device)
        data = Data(point, point, min(config.batch_size, config.points))  # so that kernels are those of the run
        cls(blank_state(config, device), config).visit(data, np.zeros((1, 1, 1), np.int64), never)()

    @abstractmethod
    def visit(self, data: Data, orders: NDArray[np.int64], interrupted: Callable[[], bool]) -> Report:
        """Trains epoch after epoch on the points in `orders` (networks, epochs, n), and validates after each.

        Raises Interrupted before the first step once `interrupted()` is true, and between two steps of a visit of one
        epoch. The report is to be read before the visit after the next begins.
        """

    def most_epochs(self, data: Data) -> int:
        """How many epochs a visit may have: one, where signals are to be heard within it."""
        return MOST_EPOCHS

    @abstractmethod
    def gradient(self, inputs: Tensor, targets: Tensor, gradients: Sequence[Tensor], losses: Tensor) -> None:
        """What a step on a batch (networks, 2, n), (networks, targets, n) would descend, without taking it.

        Writes the gradient (networks, P) of the weighted sum of both losses for each learner, and the `losses`
        (networks, 1 per learner).
        """

    @abstractmethod
    def evaluate(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (networks, k, n), as they are, and int64 signatures (networks, n) at coordinates (networks, 2, n)."""

    def evaluate_grid(
        self, size: tuple[int, int], top: int, outputs: Tensor, signatures: Tensor, edges: Tensor
    ) -> None:
        """Rows from `top` on of a picture of `size` (width, height): `outputs` (networks, k, rows, width).

        The others are (networks, rows, width); `edges` uint8 receives the bits `spec.RIGHT` and `spec.BELOW`, where a
        pixel's neighbour has another signature.
        """
        raise NotImplementedError(f"the backend {self.name} evaluates points, not grids")

    def evaluate_in_memory(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """As `evaluate`, from host memory to host memory, in as few parts as the device's memory holds.

        A part that it does not hold is halved, for good and with a line in the log.
        """
        most = self._most_points or max(inputs.shape[-1], 1)
        while True:
            try:
                parts = [self.evaluate(part.to(self.device)) for part in inputs.split(most, -1)]
                outputs, signatures = zip(*((values.cpu(), terms.cpu()) for values, terms in parts), strict=True)
                whole = len(parts) == 1  # nothing to copy together
                return (outputs[0], signatures[0]) if whole else (torch.cat(outputs, -1), torch.cat(signatures, -1))
            except torch.OutOfMemoryError:
                most = min(most, inputs.shape[-1])
                if most == 1:
                    raise
            # Past the handler, whose exception holds on to the tensors of the calls that failed.
            torch.cuda.empty_cache()
            log.warning("Out of memory with %d points evaluated at once: going on with %d", most, -(-most // 2))
            most = self._most_points = -(-most // 2)

    def _validate(self, data: Data) -> Tensor:
        """Validation error, lowest and highest output of each network (networks, 3)."""
        network, pairs = self.state.main.network, zip(self._members, data.validation, strict=True)
        return torch.stack(
            [reference.validate_one(one.stacks[0], points[:2], points[2:], network) for one, points in pairs]
        )

    def _step_numbers(self, steps: int) -> NDArray[np.float64]:
        """What the optimisers need to know of each network's next steps (networks, steps, SCALARS per learner)."""
        found = []
        for one, before in zip(self.state.learners, self._before, strict=True):
            numbers = range(one.steps + 1, one.steps + 1 + steps)
            taken = range(one.steps + before, one.steps + before + steps)
            each = [optimizer.table(numbers, taken) for optimizer in one.own or (one.optimizer,)]
            found.append(np.repeat(np.stack(each), self.state.networks // len(each), 0))
        return np.concatenate(found, 2)

    def _member(self, index: int, share: float) -> Member:
        learners = self.state.learners
        parameters = [one.parameters[index] for one in learners]
        stacks = [reference.layers(flat, one.network) for flat, one in zip(parameters, learners, strict=True)]
        return Member(parameters, [one.moments[index] for one in learners], stacks, share)


def never() -> bool:
    """Of what is not interrupted."""
    return False


def side_by_side(found: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Each network's outputs and signatures as those of the population; those of one are not copied."""
    if len(found) == 1:
        return found[0][0][None], found[0][1][None]
    outputs, signatures = zip(*found, strict=True)
    return torch.stack(outputs), torch.stack(signatures)


def blank_state(config: Config, device: torch.device) -> State:
    """A run's networks with zeros for parameters: something to try a backend on."""
    learners = [
        Learner.fresh(network, optimizer, torch.zeros((1, network.size), device=device))
        for network, optimizer in zip(config.networks, config.optimizers, strict=False)
    ]
    coefficients = torch.zeros((1, config.network.neurons), dtype=torch.int64, device=device)
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
