"""The Numba kernels: an epoch is a few calls of compiled code."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from draw_poly.engine.backends.base import Backend, Data, Interrupted
from draw_poly.engine.config import Config
from draw_poly.engine.model.state import State
from draw_poly.kernels import cpu

# Operations between two looks at a signal: 50 ms at a tenth of a core's rate.
SLICE = 5e8


class Cpu(Backend):
    """The fused kernels on a CPU; they take threads where these pay."""

    name = "cpu"
    drawn_by = "picture"
    shares_work = True

    def __init__(self, state: State, config: Config) -> None:
        super().__init__(state, config)
        self._evaluator = cpu.Evaluator(state.main.network, state.coefficients)
        self._workspace: cpu.Workspace | None = None
        self._data: Data | None = None

    def epoch(self, data: Data, order: Tensor, interrupted: Callable[[], bool]) -> Tensor:
        """See `Backend.epoch`."""
        size, learners = data.batch_size, self.state.learners
        if data is not self._data:
            self._prepare(data)
        # In arrays: between two epochs, when caches hold the last one's points, an operation of torch's takes 10 µs.
        places, scalars = order.numpy(), np.array(self._step_numbers(data.steps), np.float32)
        count, networks = len(learners), self.state.networks
        numbers = np.empty((networks, data.steps * count + 3), np.float32)
        for begin in range(0, data.steps, self._stride):
            if interrupted():
                raise Interrupted
            end = min(begin + self._stride, data.steps)
            losses = np.empty((networks, end - begin, count), np.float32)
            self._training.run(
                places[:, begin * size : end * size], scalars[:, begin:end], losses, validates=end == data.steps
            )
            numbers[:, begin * count : end * count] = losses.reshape(networks, -1)
            for learner in learners:
                learner.steps += end - begin
        for row, found in zip(numbers, self._training.found(), strict=True):
            row[-3:] = found
        return torch.from_numpy(numbers)

    def _prepare(self, data: Data) -> None:
        learners, size = self.state.learners, data.batch_size
        self._data = data
        workspace = self._workspace = self._workspace_for(size)
        self._stride = max(1, int(SLICE / workspace.operations(size)))  # steps between two looks at a signal
        self._training = cpu.Training(
            workspace,
            self.state.optimizers,
            [learner.parameters for learner in learners],
            [learner.moments for learner in learners],
            self.positions,
            (data.training[:, :2], data.training[:, 2:]),
            (data.validation[:, :2], data.validation[:, 2:]),
        )

    def _workspace_for(self, points: int) -> cpu.Workspace:
        network, networks = self.state.main.network, self.state.networks
        return cpu.Workspace(network, self.term, points, self.device, networks=networks, weights=self.weights)

    def gradient(self, inputs: Tensor, targets: Tensor, gradients: Sequence[Tensor], losses: Tensor) -> None:
        """See `Backend.gradient`."""
        workspace, points = self._workspace, inputs.shape[-1]
        if workspace is None or workspace.points < points:
            workspace = self._workspace = self._workspace_for(points)
        parameters = [learner.parameters for learner in self.state.learners]
        cpu.gradient(workspace, parameters, self.positions, inputs, targets)
        cpu.total(workspace, gradients, losses)

    def evaluate(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """See `Backend.evaluate`."""
        networks, _, points = inputs.shape
        outputs = torch.empty((networks, self.state.main.network.dims[-1], points))
        signatures = torch.empty((networks, points), dtype=torch.int64)
        self._evaluator.points(self.state.main.parameters, inputs, outputs, signatures)
        return outputs, signatures
