"""The Numba kernels: an epoch is a few calls of compiled code."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from engine.backends.base import Backend, Data, Interrupted
from engine.config import Config
from engine.state import State
from kernels import cpu

# Operations between two looks at a signal: 50 ms at a tenth of a core's rate.
SLICE = 5e8


class Cpu(Backend):
    """The fused kernels on a CPU; they take threads where these pay."""

    name = "cpu"
    shares_work = True

    def __init__(self, state: State, config: Config) -> None:
        super().__init__(state, config)
        self._partials: cpu.Partials | None = None

    def epoch(self, data: Data, order: Tensor, interrupted: Callable[[], bool]) -> Tensor:
        """See `Backend.epoch`."""
        size, learners = data.batch_size, self.state.learners
        partials = self._partials
        if partials is None or partials.points != size:
            partials = self._partials = cpu.Partials(self.state.main.network, self.code, size, self.device)
        scalars = torch.tensor(self._step_numbers(data.steps), dtype=torch.float32)
        losses = torch.empty((data.steps, len(learners)))
        optimizers = [learner.optimizer for learner in learners]
        parameters = [learner.parameters for learner in learners]
        moments = [learner.moments for learner in learners]
        points = data.training[:2], data.training[2:]
        stride = max(1, int(SLICE / partials.operations(size)))
        for begin in range(0, data.steps, stride):
            if interrupted():
                raise Interrupted
            steps = slice(begin, min(begin + stride, data.steps))
            batches = order[steps.start * size : steps.stop * size]
            cpu.train(
                partials, optimizers, parameters, moments, self.positions, points, batches, scalars[steps],
                losses[steps],
            )  # fmt: skip
            for learner in learners:
                learner.steps += steps.stop - steps.start
        return torch.cat((losses.view(-1), self._validate(data)))

    def gradient(self, inputs: Tensor, targets: Tensor, gradients: Sequence[Tensor], losses: Tensor) -> None:
        """See `Backend.gradient`."""
        partials, points = self._partials, inputs.shape[1]
        if partials is None or partials.points < points:
            partials = self._partials = cpu.Partials(self.state.main.network, self.code, points, self.device)
        parameters = [learner.parameters for learner in self.state.learners]
        cpu.gradient(partials, parameters, self.positions, inputs, targets)
        cpu.total(partials, gradients, losses)

    def evaluate(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """See `Backend.evaluate`."""
        network, points = self.state.main.network, inputs.shape[1]
        outputs = torch.empty((network.dims[-1], points))
        signatures = torch.empty(points, dtype=torch.int64)
        cpu.evaluate(network, self.state.main.parameters, self.state.coefficients, inputs, outputs, signatures)
        return outputs, signatures

    def _validate(self, data: Data) -> Tensor:
        outputs, _ = self.evaluate(data.validation[:2])
        error = (outputs - data.validation[2:]).square().mean()
        return torch.stack((error, *torch.aminmax(outputs)))
