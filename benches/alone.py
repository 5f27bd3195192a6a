"""One network by the names of a package of kernels, which take populations: its tensors lack the axis of networks."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from torch import Tensor

from draw_poly.kernels.spec import Network, Optimizer


class Alone:
    """A package whose population is one network. What it is given is seen with the axis, so it writes in place.

    What is not here is the package's own.
    """

    def __init__(self, package: ModuleType | Any) -> None:
        self.package = package
        self.__name__ = package.__name__

    def __getattr__(self, name: str) -> Any:
        return getattr(self.package, name)

    def gradient(
        self, workspace: Any, parameters: Sequence[Tensor], positions: Tensor | None, inputs: Tensor, targets: Tensor,
        *order: Tensor,
    ) -> None:  # fmt: skip
        """`parameters` (P,) of each learner, `inputs` (2, n), `targets` (k, n), perhaps an `order` (m,)."""
        points = [one[None] for one in (inputs, targets, *order)]
        self.package.gradient(workspace, _with_axis(parameters), positions, *points)

    def total(self, workspace: Any, gradients: Sequence[Tensor], losses: Tensor) -> None:
        """Each learner's gradient (P,); the `losses` (1 per learner,)."""
        self.package.total(workspace, _with_axis(gradients), losses[None])

    def update(
        self, workspace: Any, optimizers: Sequence[Optimizer], parameters: Sequence[Tensor], moments: Sequence[Tensor],
        scalars: Tensor, losses: Tensor,
    ) -> None:  # fmt: skip
        """`parameters` (P,) and `moments` (count, P) of each learner, `scalars` (SCALARS each,), `losses` (1 each,)."""
        flats = _with_axis(parameters), _with_axis(moments)
        self.package.update(workspace, optimizers, *flats, scalars[None], losses[None])

    def evaluate(self, network: Network, *tensors: Tensor) -> None:
        """Parameters (P,), coefficients (neurons,), inputs (2, n), outputs (k, n), signatures (n,)."""
        self.package.evaluate(network, *_with_axis(tensors))

    def evaluate_grid(
        self, network: Network, parameters: Tensor, coefficients: Tensor, size: tuple[int, int], top: int,
        *written: Tensor,
    ) -> None:  # fmt: skip
        """Outputs (k, rows, width), signatures (rows, width), perhaps edges (rows, width)."""
        self.package.evaluate_grid(network, parameters[None], coefficients[None], size, top, *_with_axis(written))

    def validate(self, made: Any, parameters: Tensor, inputs: Tensor, targets: Tensor, out: Tensor) -> None:
        """A `Validation` of parameters (P,) on inputs (2, n), targets (k, n), to (3,)."""
        made.run(*_with_axis((parameters, inputs, targets, out)))


def _with_axis(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [one[None] for one in tensors]
