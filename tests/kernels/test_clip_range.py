"""The clip range of the cross-entropy far from zero, its many bins, and what float32 cannot tell apart."""

import importlib

import pytest
import torch

from benches.alone import Alone
from benches.plain import by_autograd
from draw_poly.kernels import cpu
from draw_poly.kernels.oracle import allowed, error_of
from draw_poly.kernels.spec import KolmogorovTerm, Network
from draw_poly.kernels.support import unsupported_on_cpu
from tests.conftest import INTERPRETED
from tests.kernels.fused import DEVICE, PACKAGES, Case


@pytest.fixture(params=PACKAGES)
def package(request: pytest.FixtureRequest) -> Alone:
    return Alone(importlib.import_module(f"draw_poly.kernels.{request.param}"))


def term_of(bins: int, low: float = -3.0, high: float = 3.0) -> KolmogorovTerm:
    return KolmogorovTerm(Network((3, 5, bins)), "cross_entropy", 0.3, bins, low, high)


@pytest.mark.parametrize(("low", "high"), [(1000.0, 1000.01), (-1000.01, -1000.0), (4096.0, 4097.0)])
def test_a_range_far_from_zero_is_as_wide_as_it_was_given(package: Alone, low: float, high: float) -> None:
    case = Case.of((2, 6, 5, 1), 16, term_of(64, low, high))
    spread = torch.linspace(low - 0.2 * (high - low), high + 0.2 * (high - low), 78, dtype=torch.float64)
    case.parameters[0].copy_(spread[: len(case.parameters[0])].float())
    (exact, _), (single, _) = case.truth(), case.truth(torch.float32)
    losses, gradients = case.gradients(package)
    assert error_of(losses[1], exact[1]) <= allowed(error_of(single[1], exact[1]))
    assert torch.isfinite(gradients[0]).all()


# Parameters whose places among the bins have no rounding error, which would hide that of sums.
@pytest.mark.parametrize("package", ["cpu", pytest.param("gpu", marks=[INTERPRETED, pytest.mark.slow])], indirect=True)
def test_a_thousand_bins_lose_no_digits(package: Alone) -> None:
    assert_true_with(package, 1025)


def test_many_bins_lose_no_digits() -> None:
    assert_true_with(Alone(cpu), 16385)  # past the patience of an interpreter


def assert_true_with(package: Alone, bins: int) -> None:
    case = Case.of((2, 6, 5, 1), 16, KolmogorovTerm(Network((3, 8, 8, bins)), "cross_entropy", 0.3, bins, -2.0, 2.0))
    case.parameters[0].mul_(2**11).round_().div_(2**11)
    words = case.parameters, case.network, case.inputs, case.targets, case.positions, case.term
    exact, plain = (by_autograd(*words, dtype, DEVICE) for dtype in (torch.float64, torch.float32))
    losses, gradients = case.gradients(package)
    assert float(losses[1]) == pytest.approx(float(exact[1]), rel=5e-7)
    assert error_of(gradients[1], exact[3]) <= 2 * error_of(plain[3], exact[3]) + 1e-7


@pytest.mark.parametrize(
    ("term", "words"),
    [
        (term_of(256, 1.0, 1.00000001), "bins are 3.9e-11 apart"),
        (term_of(2, 1.0, 1.00000001), "bins are 1e-08 apart"),
        (term_of(16384, 1000.0, 1000.01), "bins are 6.1e-07 apart.*up to 3.1e-05"),
        (term_of(16384, -1000.01, -1000.0), "bins are 6.1e-07 apart"),
        (term_of(2, 2.0**24 + 1.1, 2.0**24 + 2.9), "both ends are 16777218 in float32"),
        (term_of(256, 1.0, 1.0), "not below"),
        (term_of(256, 3.0, -3.0), "not below"),
        (term_of(256, float("nan"), 3.0), "not below"),
        (term_of(256, -3.0, float("inf")), "not finite"),
        (term_of(1), "at least 2"),
    ],
)
def test_what_float32_cannot_tell_apart_is_refused(package: Alone, term: KolmogorovTerm, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        package.Workspace(Network((2, 5, 1)), term, 10, DEVICE)


def test_other_code_lengths_have_no_range() -> None:
    term = KolmogorovTerm(Network((3, 5, 1)), "mse", 0.3, 256, 1.0, 1.0)
    assert unsupported_on_cpu(Network((2, 5, 1)), term, DEVICE) is None
