"""The Triton kernels: two launches a step."""

from collections.abc import Sequence

import torch
from torch import Tensor

from draw_poly.engine.backends.base import Data
from draw_poly.engine.backends.cuda_graph import Graphed, Step
from draw_poly.engine.config import Config
from draw_poly.engine.model.state import State
from draw_poly.kernels import gpu


class Triton(Graphed):
    """Fused gradient and update, and the evaluation of grids."""

    name = "triton"
    drawn_by = "grid"
    most_captured = 4096  # 1 kB a node, two nodes a step

    def __init__(self, state: State, config: Config, weights: Sequence[float] | None = None) -> None:
        super().__init__(state, config, weights)
        self._shared: gpu.Workspace | None = None  # for a share of a batch
        self._validation: gpu.Validation | None = None

    def stepper(self, data: Data) -> Step:
        """See `Graphed.stepper`."""
        workspace, positions, learners = self._workspace(data.batch_size), self.positions, self.state.learners
        optimizers = self.state.optimizers
        parameters, moments = [one.parameters for one in learners], [one.moments for one in learners]

        inputs, targets = data.training[:, :2], data.training[:, 2:]

        def step(points: Tensor, scalars: Tensor, losses: Tensor) -> None:
            gpu.gradient(workspace, parameters, positions, inputs, targets, points)
            gpu.update(workspace, optimizers, parameters, moments, scalars, losses)

        return step

    def validate(self, data: Data, out: Tensor) -> None:
        """See `Graphed.validate`; in one launch."""
        validation, points = self._validation, data.validation.shape[-1]
        if validation is None or validation.points != points:
            networks, network = self.state.networks, self.state.main.network
            validation = self._validation = gpu.Validation(network, points, self.device, networks)
        validation.run(self.state.main.parameters, data.validation[:, :2], data.validation[:, 2:], out)

    def _validate(self, data: Data) -> Tensor:
        found = torch.empty((self.state.networks, 3), device=self.device)
        self.validate(data, found)
        return found

    def gradient(self, inputs: Tensor, targets: Tensor, gradients: Sequence[Tensor], losses: Tensor) -> None:
        """See `Backend.gradient`."""
        workspace, points = self._shared, inputs.shape[-1]
        if workspace is None or workspace.points < points:
            workspace = self._shared = self._workspace(points)
        parameters = [learner.parameters for learner in self.state.learners]
        gpu.gradient(workspace, parameters, self.positions, inputs, targets)
        gpu.total(workspace, gradients, losses)

    def _workspace(self, points: int) -> gpu.Workspace:
        return gpu.Workspace(
            self.state.main.network, self.term, points, self.device, self.config.precision, self.state.networks,
            self.weights,
        )  # fmt: skip

    def evaluate(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """See `Backend.evaluate`."""
        main, (networks, _, points) = self.state.main, inputs.shape
        outputs = torch.empty((networks, main.network.dims[-1], points), device=self.device)
        signatures = torch.empty((networks, points), dtype=torch.int64, device=self.device)
        gpu.evaluate(main.network, main.parameters, self.state.coefficients, inputs, outputs, signatures)
        return outputs, signatures

    def evaluate_grid(
        self, size: tuple[int, int], top: int, outputs: Tensor, signatures: Tensor, edges: Tensor
    ) -> None:
        """See `Backend.evaluate_grid`."""
        main = self.state.main
        gpu.evaluate_grid(main.network, main.parameters, self.state.coefficients, size, top, outputs, signatures, edges)
