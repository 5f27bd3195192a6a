"""The Numba kernels: many epochs are one call of compiled code."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from draw_poly.engine.backends.base import MOST_EPOCHS, Backend, Data, Interrupted, Report, Trained
from draw_poly.engine.config import Config
from draw_poly.engine.model.state import State
from draw_poly.kernels import cpu
from draw_poly.kernels.cpu.runtime.registers import VARIANT

# Operations between two looks at a signal: 50 ms at a tenth of a core's rate; of many networks, of which a thread takes
# one after the other, 2 s.
SLICE, SLICE_OF_MANY = 5e8, 2e10


class Cpu(Backend):
    """The fused kernels on a CPU; they take threads where these pay."""

    name = "cpu"
    variant = VARIANT
    drawn_by = "picture"
    shares_work = True

    def __init__(self, state: State, config: Config, weights: Sequence[float] | None = None) -> None:
        super().__init__(state, config, weights)
        self._evaluator = cpu.Evaluator(state.main.network, state.coefficients)
        self._workspace: cpu.Workspace | None = None
        self._data: Data | None = None

    def visit(self, data: Data, orders: NDArray[np.int64], interrupted: Callable[[], bool]) -> Report:
        """See `Backend.visit`."""
        if data is not self._data:
            self._prepare(data)
        size, steps, learners, (networks, epochs, _) = data.batch_size, data.steps, self.state.learners, orders.shape
        if epochs > self.most_epochs(data):
            raise ValueError(f"{epochs} epochs were to be one visit of steps that are looked at one by one")
        # In arrays: between two visits, when caches hold the last one's points, an operation of torch's takes 10 µs.
        scalars = self._step_numbers(epochs * steps).astype(np.float32).reshape(networks, epochs, steps, -1)
        numbers = np.empty((networks, epochs, steps * len(learners) + 3), np.float32)
        kept = np.empty((networks, epochs, sum(one.network.size for one in learners)), np.float32)
        for begin in range(0, steps, self._stride):
            if interrupted():
                raise Interrupted
            end = min(begin + self._stride, steps)
            losses = np.empty((networks, epochs, end - begin, len(learners)), np.float32)
            found = self._training.run(
                orders[:, :, begin * size : end * size],
                scalars[:, :, begin:end],
                losses,
                kept if end == steps else None,
            )
            numbers[:, :, begin * len(learners) : end * len(learners)] = losses.reshape(networks, epochs, -1)
            for learner in learners:
                learner.steps += epochs * (end - begin)
        numbers[:, :, -3:] = found
        return lambda: Trained(numbers, kept)

    def most_epochs(self, data: Data) -> int:
        """See `Backend.most_epochs`."""
        if data is not self._data:
            self._prepare(data)
        return MOST_EPOCHS if self._stride >= data.steps else 1

    def _prepare(self, data: Data) -> None:
        learners, size = self.state.learners, data.batch_size
        self._data = data
        workspace = self._workspace = self._workspace_for(size)
        # Steps between two looks at a signal.
        self._stride = max(1, int((SLICE_OF_MANY if len(self._members) > 1 else SLICE) / workspace.operations(size)))
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
