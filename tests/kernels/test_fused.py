"""The fused kernels against the reference in float64: gradients, pictures, refusals, of every package."""

from dataclasses import replace
from itertools import product

import pytest
import torch

from benches.alone import Alone
from draw_poly.kernels import reference
from draw_poly.kernels.oracle import (
    NAN,
    assert_outputs,
    pixels,
    random_parameters,
)
from draw_poly.kernels.spec import KOLMOGOROV_LOSSES, RELU2, KolmogorovTerm, Network
from tests.conftest import INTERPRETED
from tests.kernels.fused import DEVICE, INF, Case, assert_true, identical, of_packages, poisoned

OTHER_LOSSES = [(loss, 2) for loss in KOLMOGOROV_LOSSES if loss != "cross_entropy"]


# Around a panel of 16 points, around a block of several, and a row that ends in the middle of one.
@pytest.mark.parametrize(
    ("package", "points"),
    of_packages([(points,) for points in (1, 2, 15, 16, 17, 63, 64, 65, 333)], quick=[(1,), (17,), (65,)]),
    indirect=["package"],
)
def test_gradient_at_ragged_batches(package: Alone, points: int) -> None:
    case = Case.of((2, *[10] * 8, 1), points)
    assert_true(case, *case.gradients(package))


# Every remainder of a tile's rows and columns, unequal widths, several outputs.
@pytest.mark.parametrize(
    ("package", "dims"),
    of_packages(
        [
            *(((2, *[width] * 3, 1),) for width in (1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 16, 17, 24, 31, 33)),
            ((2, 7, 12, 5, 1),), ((2, 7, 12, 5, 3),), ((2, 64, 1, 64, 2),),
        ],
        quick=[((2, 1, 1, 1, 1),), ((2, 17, 17, 17, 1),), ((2, 7, 12, 5, 3),)],
    ),
    indirect=["package"],
)  # fmt: skip
def test_gradient_at_all_widths(package: Alone, dims: tuple[int, ...]) -> None:
    case = Case.of(dims, 37)
    assert_true(case, *case.gradients(package))


@pytest.mark.parametrize(
    ("package", "slope"),
    of_packages([(slope,) for slope in (0.0, 2.0**-126, 0.3, 1.0)], quick=[(0.0,)]),
    indirect=["package"],
)
def test_gradient_at_all_slopes(package: Alone, slope: float) -> None:
    case = Case.of((2, 10, 7, 10, 1), 131, slope=slope)
    assert_true(case, *case.gradients(package))


SQUARED: list[tuple[tuple[int, ...], int]] = [
    ((2, 10, 10, 10, 10, 1), 131), ((2, 7, 12, 5, 3), 65), ((2, 40, 33, 2), 37), ((2, 5, 1), 1), ((2, 64, 64, 1), 130),
]  # fmt: skip


@pytest.mark.parametrize(("package", "dims", "points"), of_packages(SQUARED, SQUARED[:2]), indirect=["package"])
def test_gradient_and_outputs_of_squares(package: Alone, dims: tuple[int, ...], points: int) -> None:
    case = Case.of(dims, points, activation=RELU2)
    assert_true(case, *case.gradients(package))
    coefficients = torch.randint(2**31 - 100, 2**31 - 1, (case.network.neurons,))
    outputs, signatures = poisoned((dims[-1], points))
    package.evaluate(case.network, case.parameters[0], coefficients, case.inputs, outputs, signatures)
    stack = reference.layers(case.parameters[0].double(), case.network)
    exact, patterns = reference.evaluate_one(stack, coefficients, case.inputs.double(), RELU2)
    assert torch.equal(signatures, patterns)
    assert_outputs(outputs, exact)


@pytest.mark.parametrize("package", ["cpu", pytest.param("gpu", marks=INTERPRETED)], indirect=True)
def test_squares_are_predicted_by_a_network_of_another_activation(package: Alone) -> None:
    term = KolmogorovTerm(Network((3, 8, 5, 11)), "cross_entropy", 0.3, 11, -1.5, 2.0)
    case = Case.of((2, 10, 10, 1), 65, term, activation=RELU2)
    assert_true(case, *case.gradients(package))


@pytest.mark.parametrize("package", ["cpu", pytest.param("gpu", marks=INTERPRETED)], indirect=True)
def test_squares_of_what_is_not_finite_show_it(package: Alone) -> None:
    case = Case.of((2, 6, 6, 1), 33, activation=RELU2)
    for number in (NAN, INF):
        spoilt = replace(case, parameters=[case.parameters[0].clone()])
        spoilt.parameters[0][3] = number
        losses, _ = spoilt.gradients(package)
        assert not losses.isfinite().all()


@pytest.mark.parametrize(
    ("package", "depth"),
    of_packages([(depth,) for depth in (1, 2, 16, 64)], quick=[(1,), (16,)]),
    indirect=["package"],
)
def test_gradient_at_all_depths(package: Alone, depth: int) -> None:
    case = Case.of((2, *[5] * depth, 1), 21)
    assert_true(case, *case.gradients(package))


@pytest.mark.parametrize(
    ("dims", "points"),
    [((2, *[256] * 4, 1), 333), ((2, *[10] * 64, 1), 1025), ((2, *[10] * 8, 1), 8200), ((2, 1), 37), ((2, 3), 37)],
)
def test_gradient_of_large_work_and_of_no_hidden_layer(cpu: Alone, dims: tuple[int, ...], points: int) -> None:
    case = Case.of(dims, points)
    assert_true(case, *case.gradients(cpu))


def test_a_large_batch_in_larger_blocks(cpu: Alone) -> None:
    case = Case.of((2, 10, 7, 1), 5003)
    assert_true(case, *case.gradients(cpu))


def test_rows_of_several_blocks(cpu: Alone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("draw_poly.kernels.cpu.training.ROWS_SIZE", 1)
    case = Case.of((2, 10, 10, 1), 1300)
    workspace = case.workspace(cpu)
    assert workspace._rows[0].losses.shape == (1, 3)
    assert_true(case, *case.gradients(cpu, workspace))


# Fewer bins than the window, as many, one more, tile remainders, and the default.
@pytest.mark.parametrize(
    ("package", "loss", "bins"),
    of_packages(
        [
            *(("cross_entropy", bins) for bins in (2, 9, 10, 11, 64, 256)),
            *((loss, 2) for loss in list(KOLMOGOROV_LOSSES)[1:]),
        ],
        quick=[("cross_entropy", 9), ("cross_entropy", 64), *((loss, 2) for loss in list(KOLMOGOROV_LOSSES)[1:])],
    ),
    indirect=["package"],
)
def test_gradient_with_the_term(package: Alone, loss: str, bins: int) -> None:
    predictor = Network((3, 8, 5, KolmogorovTerm.outputs(loss, bins)))
    term = KolmogorovTerm(predictor, loss, 0.7, bins, -1.0, 0.5)  # narrow: many are clipped, on both sides
    case = Case.of((2, 7, 6, 1), 33, term)
    assert_true(case, *case.gradients(package))


# A batch that is shorter than provided for, with the term and without; several blocks and segments of parameters.
@pytest.mark.parametrize(
    ("package", "dims", "with_term", "points"),
    of_packages(
        [((2, 7, 5, 1), False, 70), ((2, 7, 5, 1), True, 70), ((2, 47, 45, 1), True, 33)],
        quick=[((2, 7, 5, 1), False, 70), ((2, 7, 5, 1), True, 70)],
    ),
    indirect=["package"],
)
def test_total_is_the_gradient_that_update_steps_with(
    package: Alone, dims: tuple[int, ...], with_term: bool, points: int
) -> None:
    term = KolmogorovTerm(Network((3, 30, 50)), "cross_entropy", 0.7, 50) if with_term else None
    case = Case.of(dims, points, term)
    workspace = case.workspace(package, points + 30)
    package.gradient(workspace, case.parameters, case.positions, case.inputs, case.targets)
    gradients = [torch.full_like(flat, NAN) for flat in case.parameters]
    losses = torch.full((len(gradients),), NAN)
    package.total(workspace, gradients, losses)
    assert_true(case, losses, gradients)
    assert identical([losses, gradients], list(case.gradients(package, workspace)))


def test_parameters_on_a_bin_at_the_ends_and_beyond(package: Alone) -> None:
    term = KolmogorovTerm(Network((3, 4, 5)), "cross_entropy", 100.0, 5, -2.0, 2.0)
    case = Case.of((2, 4, 1), 8, term)
    case.parameters[0][:9] = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0, -2.5, 2.5, -100.0, 100.0])
    assert_true(case, *case.gradients(package))


@pytest.mark.parametrize(
    ("package", "value", "place"),
    of_packages(product([NAN, INF, -INF, 3e38], [0, 15, -2, -1]), quick=[(NAN, 0), (INF, 15), (-INF, -2), (3e38, -1)]),
    indirect=["package"],
)
def test_what_is_not_finite_shows_in_the_loss(package: Alone, value: float, place: int) -> None:
    term = KolmogorovTerm(Network((3, 5, 20)), "cross_entropy", 0.3, 20)
    case = Case.of((2, 6, 5, 1), 33, term)
    case.parameters[0][place] = value
    losses, _ = case.gradients(package)
    assert not losses[0].isfinite()
    assert losses[1].isnan() == (value != value)
    if abs(value) == 3e38:
        return  # a code as long as that is still a number
    case = Case.of((2, 6, 5, 1), 33, term)
    case.parameters[1][place] = value
    losses, _ = case.gradients(package)
    assert losses[0].isfinite()
    assert not losses[1].isfinite()


@pytest.mark.parametrize(
    ("package", "dims", "points"),
    of_packages(
        [
            *(((2, *[10] * 8, 1), points) for points in (1, 16, 333)),
            ((2, 7, 12, 5, 3), 65), ((2, 20, 33, 2), 65), ((2, *[3] * 64, 1), 9),
        ],
        quick=[((2, *[10] * 8, 1), 16), ((2, 7, 12, 5, 3), 65)],
    ),
    indirect=["package"],
)  # fmt: skip
def test_evaluate_gives_outputs_and_signatures(package: Alone, dims: tuple[int, ...], points: int) -> None:
    case = Case.of(dims, points)
    coefficients = torch.randint(2**31 - 100, 2**31 - 1, (case.network.neurons,))
    outputs, signatures = poisoned((dims[-1], points))
    package.evaluate(case.network, case.parameters[0], coefficients, case.inputs, outputs, signatures)
    stack = reference.layers(case.parameters[0].double(), case.network)
    exact, patterns = reference.evaluate_one(stack, coefficients, case.inputs.double(), case.network.activation)
    assert torch.equal(signatures, patterns)
    assert_outputs(outputs, exact)


# Rows shorter than a panel and longer, a part of the picture that begins in its middle.
@pytest.mark.parametrize(("size", "top", "rows"), [((3, 50), 0, 50), ((37, 11), 4, 5), ((1, 1), 0, 1)])
def test_a_grids_coordinates_are_the_pixels(package: Alone, size: tuple[int, int], top: int, rows: int) -> None:
    network = Network((2, 6, 5, 2))
    flat = random_parameters(network, 3, torch.float32)
    coefficients = torch.randint(1, 2**31 - 1, (network.neurons,))
    width, height = size
    inputs = pixels(width, height, top)[:, : rows * width].contiguous()
    expected, patterns = poisoned((2, rows * width))
    package.evaluate(network, flat, coefficients, inputs, expected, patterns)
    outputs, signatures = poisoned((2, rows, width))
    package.evaluate_grid(network, flat, coefficients, size, top, outputs, signatures)
    assert torch.equal(outputs, expected.view(2, rows, width))
    assert torch.equal(signatures, patterns.view(rows, width))


def test_what_is_not_supported_is_said_in_a_sentence(package: Alone) -> None:
    with pytest.raises(ValueError, match="width 100000 is above"):
        package.Workspace(Network((2, 10, 100_000, 1)), None, 10, DEVICE)


@pytest.mark.parametrize("points", [0, 11])
def test_a_batch_that_does_not_fit_is_refused(package: Alone, points: int) -> None:
    case = Case.of((2, 3, 1), 10)
    workspace = package.Workspace(case.network, None, 10, DEVICE)
    with pytest.raises(ValueError, match=f"a batch of {points} points"):
        package.gradient(workspace, case.parameters, None, torch.zeros(2, points), torch.zeros(1, points))
