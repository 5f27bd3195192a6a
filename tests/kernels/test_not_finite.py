"""What is not finite: the same infinities and NaN as PyTorch's own functions give, and none from what only pads."""

import importlib
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from benches.alone import Alone
from benches.plain import by_autograd, plain_forward
from draw_poly.kernels import cpu
from draw_poly.kernels.oracle import NAN
from draw_poly.kernels.picture import grid
from draw_poly.kernels.spec import KolmogorovTerm, Network
from tests.kernels.fused import DEVICE, INF, PACKAGES, Case, of_packages, poisoned

PAYLOAD = torch.tensor(0x7FC12345, dtype=torch.int32).view(torch.float32)  # a NaN whose lower bits are set


@pytest.fixture(params=PACKAGES)
def package(request: pytest.FixtureRequest) -> Alone:
    return Alone(importlib.import_module(f"draw_poly.kernels.{request.param}"))


def kinds(tensor: Tensor) -> list[int]:
    """Of each number: 2 for NaN, else the sign of an infinity, else 0."""
    number = torch.where(tensor.isinf(), tensor.sign(), 0.0)
    return torch.where(tensor.isnan(), 2.0, number).int().reshape(-1).tolist()


def plain(case: Case) -> list[Tensor]:
    return by_autograd(
        case.parameters, case.network, case.inputs, case.targets, case.positions, case.term, torch.float32, DEVICE
    )


# A batch that fills no panel, and one that fills one; layers that are padded, unrolled and in a loop.
@pytest.mark.parametrize(
    ("package", "dims", "points", "value"),
    of_packages(
        [
            (*case, value)
            for case in (((2, 6, 5, 3), 21), ((2, 6, 5, 1), 16), ((2, 17, 3, 1), 5))
            for value in (INF, -INF, NAN)
        ],
        quick=[((2, 6, 5, 3), 21, NAN), ((2, 6, 5, 1), 16, INF), ((2, 17, 3, 1), 5, -INF)],
    ),
    indirect=["package"],
)
def test_losses_and_gradients_are_of_pytorchs_kinds(
    package: Alone, dims: tuple[int, ...], points: int, value: float
) -> None:
    size = Network(dims).size
    places = [("parameters", at) for at in (0, 13, size // 2, size - 2, size - 1)]
    places += [(name, at) for name in ("inputs", "targets") for at in (0, -1)]
    for name, at in places:
        case = Case.of(dims, points)
        flat = case.parameters[0] if name == "parameters" else getattr(case, name).view(-1)
        flat[at] = value
        losses, gradients = case.gradients(package)
        for ours, theirs in zip([*losses, *gradients], plain(case), strict=True):
            assert kinds(ours) == kinds(theirs), f"{name} {at}"


@pytest.mark.parametrize(
    ("package", "value", "bins"),
    of_packages(product([INF, -INF, NAN, PAYLOAD], [40, 9]), quick=[(-INF, 40), (INF, 9), (NAN, 9)]),
    indirect=["package"],
)
def test_a_logit_that_is_not_finite_shows(package: Alone, value: float | Tensor, bins: int) -> None:
    term = KolmogorovTerm(Network((3, 5, bins)), "cross_entropy", 0.3, bins, -8.0, 8.0)
    for bin in (0, bins // 2, bins - 1):
        case = Case.of((2, 6, 1), 16, term)
        case.parameters[1][bin - bins] = value
        losses, gradients = case.gradients(package)
        expected = plain(case)
        assert losses[0].isfinite()
        assert not expected[1].isfinite()
        assert not losses[1].isfinite()
        assert gradients[1].isfinite().tolist() == expected[3].isfinite().tolist()
        assert not gradients[0].isfinite().any()


def test_parameters_beyond_the_clip_range_take_no_gradient_even_if_not_finite(package: Alone) -> None:
    term = KolmogorovTerm(Network((3, 5, 20)), "cross_entropy", 0.3, 20, -1.0, 1.0)
    case = Case.of((2, 6, 1), 16, term)
    case.parameters[1][-3] = -INF
    _, gradients = case.gradients(package)
    outside = case.parameters[0].abs() > 1
    assert 0 < outside.sum() < len(outside)
    assert torch.equal(gradients[0].isfinite(), outside)


@pytest.mark.parametrize(
    ("package", "dims", "value"),
    of_packages(
        product([(2, 6, 5, 2), (2, 20, 17, 1)], [INF, -INF, NAN]),
        quick=[((2, 6, 5, 2), INF), ((2, 20, 17, 1), NAN)],
    ),
    indirect=["package"],
)
def test_outputs_are_of_pytorchs_kinds(package: Alone, dims: tuple[int, ...], value: float) -> None:
    for name, at in (("parameters", 1), ("parameters", -1), ("parameters", 40), ("inputs", 0), ("inputs", -1)):
        case = Case.of(dims, 19)
        flat = case.parameters[0] if name == "parameters" else case.inputs.view(-1)
        flat[at] = value
        outputs, signatures = poisoned((dims[-1], 19))
        coefficients = torch.ones(case.network.neurons, dtype=torch.int64)
        package.evaluate(case.network, case.parameters[0], coefficients, case.inputs, outputs, signatures)
        assert kinds(outputs) == kinds(plain_forward(case.parameters[0], case.network, case.inputs)), f"{name} {at}"


def test_validation_tells_a_nan_among_numbers() -> None:
    case = Case.of((2, 6, 1), 40)
    case.inputs[0, 17] = NAN
    training = cpu.Training(
        cpu.Workspace(case.network, None, 40, DEVICE), [], [case.parameters[0][None]], [], None,
        (case.inputs[None], case.targets[None]), (case.inputs[None], case.targets[None]),
    )  # fmt: skip
    nothing = np.empty((1, 1, 0), np.int64), np.empty((1, 1, 0, 2), np.float32), np.empty((1, 1, 0, 1), np.float32)
    found = training.run(*nothing, kept=np.empty((1, 1, case.network.size), np.float32))
    assert np.isnan(found).all()


def steep(factor: float) -> tuple[Network, Tensor]:
    """A network that is `factor` times x, by two neurons: of one pattern wherever x and y are not negative."""
    return Network((2, 1, 1)), torch.tensor([factor, 0.0, 1e-30, 1.0, 0.0])


# Past the right side of 200 pixels, x is up to 1.28: there a number overflows that no pixel has.
@pytest.mark.parametrize("factor", [3.3e38, 2.9e38, 1e37])
def test_what_overflows_outside_a_picture_does_not_show_in_it(factor: float) -> None:
    network, flat = steep(factor)
    rasterizer = cpu.Rasterizer(network, torch.ones(1, dtype=torch.int64), 200, 150)
    gray, edges = np.zeros((150, 200), np.uint8), np.zeros((150, 200), np.uint8)
    seen = rasterizer.draw(flat, gray, edges, np.empty((0, 0), np.uint8))
    assert (gray == 255 * (np.arange(200) > 0)).all()
    assert np.isfinite([seen.lowest, seen.highest]).all()


def test_a_picture_with_an_infinity_is_what_evaluating_every_pixel_gives() -> None:
    network, flat = steep(3e38)
    flat[3] = 1.9  # x past 0.6 overflows
    height, width = 70, 300
    rasterizer = cpu.Rasterizer(network, torch.ones(1, dtype=torch.int64), width, height)
    gray, edges = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    seen = rasterizer.draw(flat, gray, edges, np.empty((0, 0), np.uint8))
    outputs, signatures = poisoned((1, height, width))
    Alone(cpu).evaluate_grid(network, flat, torch.ones(1, dtype=torch.int64), (width, height), 0, outputs, signatures)
    expected = np.empty_like(gray)
    limits = np.array([[INF, -INF]], np.float32)
    grid.draw_rows(
        0, outputs.numpy(), signatures.numpy(), np.empty(0, np.int64), expected[None], edges,
        np.empty((0, 0), np.uint8), np.full(grid.REMEMBERED, grid.NO_SIGNATURE), np.empty(height * width, np.int64),
        limits,
    )  # fmt: skip
    assert (gray == expected).all()
    assert (seen.lowest, seen.highest) == tuple(limits[0])
    assert seen.highest == INF
