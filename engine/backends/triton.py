"""The Triton kernels: two launches a step."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from engine.backends.base import Backend, Data, Interrupted
from engine.config import Config
from engine.state import State
from kernels import gpu


class Triton(Backend):
    """Fused gradient and update; nothing of a step but its losses outlives it."""

    name = "triton"
    cell = 1  # a GPU evaluates all pixels sooner than it sorts out which

    def __init__(self, state: State, config: Config) -> None:
        super().__init__(state, config)
        self._shared: gpu.Partials | None = None  # for a share of a batch
        self._partials = gpu.Partials(
            state.main.network, config.code_length, config.batch_size, self.device, config.precision
        )

    def epoch(self, data: Data, order: Tensor, interrupted: Callable[[], bool]) -> Tensor:
        """See `Backend.epoch`."""
        learners = self.state.learners
        optimizers = [learner.optimizer for learner in learners]
        parameters, moments = [one.parameters for one in learners], [one.moments for one in learners]
        points = data.training.index_select(1, order)
        scalars = torch.tensor(self._step_numbers(data.steps), dtype=torch.float32).to(self.device)
        losses = torch.empty((data.steps, len(learners)), device=self.device)
        for step, batch in enumerate(points.split(data.batch_size, 1)):
            if interrupted():
                raise Interrupted
            gpu.gradient(self._partials, parameters, self.positions, batch[:2], batch[2:])
            gpu.update(self._partials, optimizers, parameters, moments, scalars[step], losses[step])
            for learner in learners:
                learner.steps += 1
        return torch.cat((losses.view(-1), self._validate(data)))

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
