"""Which arithmetic runs this network on this device, and why; one interface over all of it."""

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from engine import kolmogorov
from engine.config import ConfigError
from engine.state import State
from kernels import reference
from kernels.spec import CodeLength, Network

Scalars = Sequence[reference.Scalar]

# Multiplications a layer, and logits, below which waking a second thread costs more than it does.
THREADED_WORK = 2**23
THREADED_LOGITS = 2**16


class Backend(ABC):
    """Steps one state in place."""

    name: str
    # Side of the cells, in pixels, whose corners decide whether the pixels between are evaluated; 1: all are.
    cell = 4

    def __init__(self, state: State, code: CodeLength | None) -> None:
        self.state = state
        self.code = code
        self.device = state.main.parameters.device
        self.positions = None if code is None else kolmogorov.positions(state.main.network).to(self.device)
        self._stacks = [reference.layers(learner.parameters, learner.network) for learner in state.learners]

    @abstractmethod
    def scalars(self, steps: int) -> Sequence[Scalars]:
        """What the optimisers need to know of each of the next steps; made once an epoch."""

    @abstractmethod
    def step(self, inputs: Tensor, targets: Tensor, scalars: Scalars) -> list[Tensor]:
        """One step on a batch (2, points), (1, points); returns task loss, and Kolmogorov loss if it is on."""

    @abstractmethod
    def evaluate(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (1, points) and int64 signatures (points,) at coordinates (2, points)."""

    def outputs(self, inputs: Tensor) -> Tensor:
        """Outputs (1, points) alone, at coordinates (2, points)."""
        return reference.forward(self._stacks[0], inputs, self.state.main.network.slope)[1]

    def _step_numbers(self, steps: int) -> list[list[float]]:
        learners = self.state.learners
        return [
            [number for one in learners for number in one.optimizer.scalars(one.steps + index)]
            for index in range(1, steps + 1)
        ]


class Eager(Backend):
    """The reference as it stands."""

    name = "eager"

    def __init__(self, state: State, code: CodeLength | None) -> None:
        super().__init__(state, code)
        self._gradients = [torch.empty_like(learner.parameters) for learner in state.learners]
        self._gradient_stacks = [
            reference.layers(gradient, learner.network)
            for gradient, learner in zip(self._gradients, state.learners, strict=True)
        ]

    def scalars(self, steps: int) -> Sequence[Scalars]:
        """Python numbers: they reach an operation without a tensor of their own."""
        return self._step_numbers(steps)

    def step(self, inputs: Tensor, targets: Tensor, scalars: Scalars) -> list[Tensor]:
        """See `Backend.step`."""
        losses, addition = _differentiate(
            self.state, self.code, self.positions, self._stacks, self._gradient_stacks, inputs, targets
        )
        _update(self.state, self.code, self._gradients, addition, scalars)
        return losses

    def evaluate(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """See `Backend.evaluate`."""
        return reference.evaluate(self._stacks[0], self.state.coefficients, inputs, self.state.main.network.slope)


class Compile(Backend):
    """torch.compile of the reference."""

    name = "compile"

    def __init__(self, state: State, code: CodeLength | None) -> None:
        super().__init__(state, code)
        # The C++ wrapper takes the host's share out of a step of a hundred small operations.
        options: dict[str, Any] = {"cpp_wrapper": True} if self.device.type == "cpu" else {}
        positions, network = self.positions, state.main.network

        def step(state: State, inputs: Tensor, targets: Tensor, scalars: Scalars) -> list[Tensor]:
            stacks = [reference.layers(one.parameters, one.network) for one in state.learners]
            out = [[(torch.empty_like(weight), torch.empty_like(bias)) for weight, bias in stack] for stack in stacks]
            losses, addition = _differentiate(state, code, positions, stacks, out, inputs, targets)
            # Joined rather than written as views of one vector, which the compiler would copy a layer at a time.
            gradients = [torch.cat([part.view(-1) for layer in one for part in layer]) for one in out]
            _update(state, code, gradients, addition, scalars)
            return losses

        def evaluate(parameters: Tensor, coefficients: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
            return reference.evaluate(reference.layers(parameters, network), coefficients, inputs, network.slope)

        self._compiled_step = torch.compile(step, fullgraph=True, dynamic=False, options=options)
        self._compiled_evaluate = torch.compile(evaluate, fullgraph=True, dynamic=True, options=options)
        if self.device.type != "cpu":
            self.cell = 1  # a GPU evaluates all pixels sooner than it sorts out which

    def scalars(self, steps: int) -> Sequence[Scalars]:
        """Tensors of no dimension: a number would be compiled into the step as a constant."""
        table = torch.tensor(self._step_numbers(steps), dtype=torch.float32).to(self.device)
        return [row.unbind(0) for row in table.unbind(0)]

    def step(self, inputs: Tensor, targets: Tensor, scalars: Scalars) -> list[Tensor]:
        """See `Backend.step`."""
        return self._compiled_step(self.state, inputs, targets, scalars)

    def evaluate(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """See `Backend.evaluate`."""
        return self._compiled_evaluate(self.state.main.parameters, self.state.coefficients, inputs)


def _differentiate(
    state: State,
    code: CodeLength | None,
    positions: Tensor | None,
    stacks: Sequence[Sequence[reference.Layer]],
    out: Sequence[Sequence[reference.Layer]],
    inputs: Tensor,
    targets: Tensor,
) -> tuple[list[Tensor], Tensor | None]:
    """The losses, and the term's gradient of the network's parameters; writes the other gradients into `out`."""
    main = state.main
    losses = [reference.task_gradient(stacks[0], inputs, targets, main.network.slope, out[0])]
    if code is None or positions is None:
        return losses, None
    total, addition = reference.code_gradient(main.parameters, stacks[1], positions, code, out[1])
    return [*losses, total * (1.0 / main.network.size)], addition


def _update(
    state: State, code: CodeLength | None, gradients: Sequence[Tensor], addition: Tensor | None, scalars: Scalars
) -> None:
    """Adds up the weighted gradients and updates every learner, all in place."""
    if code is not None and addition is not None:
        share = code.weight / state.main.network.size
        gradients[0].add_(addition, alpha=share)
        gradients[1].mul_(share)
    for index, learner in enumerate(state.learners):
        pair = scalars[2 * index : 2 * index + 2]
        reference.update(learner.optimizer, learner.parameters, gradients[index], learner.moments, pair)


def training_threads(network: Network, code: CodeLength | None, batch: int, available: int) -> int:
    """How many threads a step should use on a CPU: one where its operations are too small to share."""
    logits = network.size * code.predictor.dims[-1] if code else 0
    large = batch * max(network.dims) ** 2 >= THREADED_WORK or logits >= THREADED_LOGITS
    return available if large else 1


def find_device(name: str) -> torch.device:
    """The device of `--device`. Raises ConfigError where it is none, or not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not (kind == "cuda" and number.isascii() and number.isdigit())):
        raise ConfigError(f"--device was {name!r}: give auto, cpu, cuda or cuda:N")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(number or 0) >= count:
            raise ConfigError(f"--device was {name!r}, but this machine has {count} CUDA devices that torch can use")
    return torch.device(name)


def choose(name: str, device: torch.device) -> tuple[type[Backend], str]:
    """The backend of `--backend` on a device, and one sentence that says why.

    Raises ConfigError where the one asked for cannot run here.
    """
    missing = _missing_compiler(device)
    if name == "compile":
        if missing:
            raise ConfigError(f"--backend compile cannot run here: {missing}; give --backend eager")
        return Compile, "asked for"
    if name == "eager":
        return Eager, "asked for"
    if device.type == "cpu":
        return Eager, "the fastest to start without a GPU; --backend compile is faster in a long run"
    if missing:
        return Eager, f"torch.compile cannot run here: {missing}"
    return Compile, "the fastest on this GPU"


def _missing_compiler(device: torch.device) -> str | None:
    if device.type == "cpu":
        names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++", "c++", "cl"]
        if not any(shutil.which(name) for name in names):
            return "torch.compile needs a C++ compiler, and there is none"
        return None
    try:
        import triton  # noqa: F401
    except ImportError:
        return "torch.compile needs triton on a GPU, and it is not installed"
    return None
