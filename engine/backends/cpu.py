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
        self._evaluator = cpu.Evaluator(state.main.network, state.coefficients)
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
        points, validation = ((part[:2], part[2:]) for part in (data.training, data.validation))
        stride = max(1, int(SLICE / partials.operations(size)))
        for begin in range(0, data.steps, stride):
            if interrupted():
                raise Interrupted
            steps = slice(begin, min(begin + stride, data.steps))
            batches = order[steps.start * size : steps.stop * size]
            found = cpu.train(
                partials, optimizers, parameters, moments, self.positions, points, batches, scalars[steps],
                losses[steps], validation if steps.stop == data.steps else None,
            )  # fmt: skip
            for learner in learners:
                learner.steps += steps.stop - steps.start
        return torch.cat((losses.view(-1), torch.tensor(found)))

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
        outputs = torch.empty((self.state.main.network.dims[-1], inputs.shape[1]))
        signatures = torch.empty(inputs.shape[1], dtype=torch.int64)
        self._evaluator.points(self.state.main.parameters, inputs, outputs, signatures)
        return outputs, signatures
