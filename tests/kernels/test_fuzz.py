"""A handful of the fuzz's cases, for every package of kernels; `python -m benches.verify --fuzz SEED` draws others."""

import importlib
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from benches import fuzz, fuzz_cases, verify
from draw_poly.kernels import cpu
from draw_poly.kernels.spec import KOLMOGOROV_LOSSES, OPTIMIZERS
from tests.conftest import INTERPRETED

CASES = 24
# An interpreter takes a second a case.
PACKAGES = [
    ("reference", CASES), ("cpu", CASES), pytest.param("gpu", 2, marks=INTERPRETED),
    pytest.param("gpu", 8, marks=[INTERPRETED, pytest.mark.slow]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "cases"), PACKAGES)
def test_nothing_is_wrong_in_a_handful_of_cases(name: str, cases: int) -> None:
    package = importlib.import_module(f"draw_poly.kernels.{name}")
    assert list(fuzz.run([package], 0, cases)) == []


def test_the_handful_has_something_of_everything() -> None:
    cases = [fuzz_cases.draw(seed, small=False) for seed in range(CASES)]
    assert {case.optimizer.kind for case in cases} == set(OPTIMIZERS)
    assert {case.term.loss for case in cases if case.term} == set(KOLMOGOROV_LOSSES)
    assert {case.network.activation.name for case in cases} == {"leaky_relu", "relu2"}
    assert any(case.strided for case in cases)
    assert sum(bool(case.spoilt) for case in cases) > 3
    assert len({len(case.network.dims) for case in cases}) > 3
    assert any(case.term and case.term.low > 10 for case in cases)


def spoilt(package: Any, **functions: Any) -> Any:
    """A package with some functions replaced."""
    offered = {name: getattr(package, name) for name in vars(package) if not name.startswith("_")}
    return SimpleNamespace(**{**offered, **functions, "__name__": "draw_poly.kernels.spoilt"})


def a_digit_less(workspace: Any, gradients: list[Tensor], losses: Tensor) -> None:
    cpu.total(workspace, gradients, losses)
    gradients[0][0] += 1e-4 * gradients[0].norm()


def gaps_ignored(
    network: Any, flat: Tensor, terms: Tensor, inputs: Tensor, outputs: Tensor, signatures: Tensor
) -> None:
    read = torch.as_strided(inputs, inputs.shape, (inputs[0].numel(), inputs.shape[2], 1))
    cpu.evaluate(network, flat, terms, read, outputs, signatures)


def infinities_cut_off(
    workspace: Any, parameters: list[Tensor], positions: Tensor | None, inputs: Tensor, targets: Tensor
) -> None:
    cpu.gradient(workspace, parameters, positions, inputs.nan_to_num(), targets.nan_to_num())


@pytest.mark.parametrize(
    ("functions", "said"),
    [
        ({"total": a_digit_less}, "∂θ is off by"),
        ({"evaluate": gaps_ignored}, "signatures are wrong"),
        ({"gradient": infinities_cut_off}, "not finite where PyTorch's are"),
        ({"update": None}, "TypeError"),
    ],
)
def test_what_is_wrong_is_found(functions: dict[str, Any], said: str) -> None:
    found = list(fuzz.run([spoilt(cpu, **functions)], 0, CASES))
    assert any(said in fault for _, fault in found)


def test_a_fault_is_told_with_its_seed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(verify, "packages", lambda device: ["cpu"])
    monkeypatch.setattr(sys, "argv", ["verify", "--fuzz", "3", "--cases", "2"])
    assert verify.main() == 0
    assert capsys.readouterr().out == "nothing wrong in 2 cases\n"
    monkeypatch.setattr(fuzz, "faults", lambda package, case: ["it is wrong"] if case.seed == 4 else [])
    assert verify.main() == 1
    told = capsys.readouterr().out
    assert "draw_poly.kernels.cpu: it is wrong ((2, " in told
    assert "python -m benches.verify --fuzz 4 --cases 1" in told
