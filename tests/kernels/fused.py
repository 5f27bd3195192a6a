"""What the tests of the fused kernels share: a case of random work and its truth, and rows for every package."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from benches.alone import Alone
from draw_poly.engine.model import kolmogorov
from draw_poly.kernels.oracle import (
    MARGIN,
    NAN,
    allowed,
    error_of,
    points_away,
    poison,
    random_parameters,
    random_targets,
    swayed,
    truth,
)
from draw_poly.kernels.spec import (
    OPTIMIZERS,
    SLOPE,
    Activation,
    KolmogorovTerm,
    Loss,
    Network,
    Optimizer,
    leaky_relu,
    squared_error,
)
from tests.conftest import INTERPRETED, rows

PACKAGES = ["cpu", pytest.param("gpu", marks=INTERPRETED)]


DEVICE = torch.device("cpu")


INF = float("inf")

# Every kind of optimiser as it is by default, and with each option that it reads.
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("weight_decay", {"weight_decay": 0.3}),
    ("adam_eps", {"adam_eps": 1e-3}),
    ("grad_clip_norm", {"grad_clip_norm": 0.05}),
    ("muon_nesterov", {"muon_nesterov": False, "muon_ns_steps": 3, "muon_momentum": 0.8}),
    ("muon_adjust_lr_fn", {"muon_adjust_lr_fn": "match_rms_adamw", "muon_eps": 30.0}),
    ("amsgrad", {"amsgrad": True, "weight_decay": 0.1}),
]
SETTINGS: list[tuple[str, dict[str, Any]]] = [
    *((kind, {}) for kind in OPTIMIZERS),
    *((kind, options) for name, options in OPTIONS for kind, record in OPTIMIZERS.items() if name in record.reads),
]


def of_packages(everything: Iterable[tuple[Any, ...]], quick: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Every row for every package; the interpreter takes long, so it has the quick ones alone in the default run."""
    grid = list(everything)
    interpreted = [pytest.param("gpu", *one.values, marks=(INTERPRETED, *one.marks)) for one in rows(grid, quick)]
    return [*(("cpu", *row) for row in grid), *interpreted]


@dataclass
class Case:
    """A network, perhaps with its term, and a batch."""

    network: Network
    term: KolmogorovTerm | None
    parameters: list[Tensor]
    positions: Tensor | None
    inputs: Tensor
    targets: Tensor

    @staticmethod
    def of(
        dims: Sequence[int], points: int, term: KolmogorovTerm | None = None, seed: int = 0, slope: float = SLOPE,
        loss: Loss | None = None, activation: Activation | None = None,
    ) -> "Case":  # fmt: skip
        network = Network(tuple(dims), activation or leaky_relu(slope), loss or squared_error())
        generator = torch.Generator().manual_seed(1000 * seed + points)
        flat = random_parameters(network, seed + len(dims), torch.float32)
        parameters, positions = [flat], None
        if term:
            parameters.append(random_parameters(term.predictor, seed, torch.float32))
            positions = kolmogorov.positions(network)
        inputs = points_away(flat, network, points, generator, MARGIN["fp32"])
        targets = random_targets(network, points, generator)
        return Case(network, term, parameters, positions, inputs, targets)

    def truth(self, dtype: torch.dtype = torch.float64) -> tuple[list[Tensor], list[Tensor]]:
        """Losses and gradients by the reference."""
        found = self.by_reference(dtype)
        return found[: len(self.parameters)], found[len(self.parameters) :]

    def by_reference(self, dtype: torch.dtype = torch.float64, flat: Tensor | None = None) -> list[Tensor]:
        """Losses, then gradients; `flat`, if given, takes the place of the network's parameters."""
        parameters = self.parameters if flat is None else [flat, *self.parameters[1:]]
        return truth(parameters, self.network, self.inputs, self.targets, self.positions, self.term, dtype)

    def workspace(self, package: Alone, points: int | None = None) -> Any:
        made = package.Workspace(self.network, self.term, points or self.inputs.shape[1], DEVICE)
        package.gradient(made, self.parameters, self.positions, self.inputs, self.targets)
        poison(made)
        return made

    def gradients(self, package: Alone, workspace: Any | None = None) -> tuple[Tensor, list[Tensor]]:
        """Losses and gradients by a package: the gradient is what a first moment of momentum is after one step."""
        workspace = workspace or self.workspace(package)
        package.gradient(workspace, self.parameters, self.positions, self.inputs, self.targets)
        optimizers = [Optimizer("sgd_momentum", 0.0, 1.0) for _ in self.parameters]
        moments = [torch.zeros((1, len(flat))) for flat in self.parameters]
        losses = torch.full((len(self.parameters),), NAN)
        scalars = torch.tensor([number for one in optimizers for number in one.scalars(1)])
        parameters = [flat.clone() for flat in self.parameters]
        package.update(workspace, optimizers, parameters, moments, scalars, losses)
        return losses, [moment[0] for moment in moments]


def identical(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    return len(one) == len(other) and all(map(identical, one, other))


def assert_true(case: Case, losses: Tensor, gradients: list[Tensor]) -> None:
    """As near to float64 as the oracle demands, with the reference in float32 as what PyTorch makes of it."""
    exact, plain = case.by_reference(), case.by_reference(torch.float32)
    sway = swayed(case.network, case.parameters[0], exact, lambda flat: case.by_reference(flat=flat))
    for one, true, other, swings in zip([*losses, *gradients], exact, plain, sway, strict=True):
        assert error_of(one, true) <= allowed(max(error_of(other, true), swings))


def poisoned(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    return torch.full(shape, NAN), torch.full(shape[1:], -1, dtype=torch.int64)
