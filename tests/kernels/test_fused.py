"""The fused kernels against the reference in float64: one file for every package that offers them."""

import importlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benches.alone import Alone
from draw_poly.engine.model import kolmogorov
from draw_poly.kernels import reference
from draw_poly.kernels.oracle import (
    MARGIN,
    NAN,
    allowed,
    assert_outputs,
    assert_steps,
    error_of,
    pixels,
    points_away,
    poison,
    random_parameters,
    truth,
)
from draw_poly.kernels.spec import KOLMOGOROV_LOSSES, OPTIMIZERS, KolmogorovTerm, Network, Optimizer
from tests.conftest import INTERPRETED, rows

PACKAGES = ["cpu", pytest.param("gpu", marks=INTERPRETED)]
DEVICE = torch.device("cpu")
INF = float("inf")
OTHER_LOSSES = [(loss, 2) for loss in KOLMOGOROV_LOSSES if loss != "cross_entropy"]


def of_packages(everything: Iterable[tuple[Any, ...]], quick: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Every row for every package; the interpreter takes long, so it has the quick ones alone in the default run."""
    grid = list(everything)
    interpreted = [pytest.param("gpu", *one.values, marks=(INTERPRETED, *one.marks)) for one in rows(grid, quick)]
    return [*(("cpu", *row) for row in grid), *interpreted]


@pytest.fixture(params=PACKAGES)
def package(request: pytest.FixtureRequest) -> Alone:
    return Alone(importlib.import_module(f"draw_poly.kernels.{request.param}"))


@pytest.fixture
def cpu() -> Alone:
    """For what only makes sense at a size that an interpreter cannot run, or of threads."""
    return Alone(importlib.import_module("draw_poly.kernels.cpu"))


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
    def of(dims: Sequence[int], points: int, term: KolmogorovTerm | None = None, seed: int = 0) -> "Case":
        network = Network(tuple(dims))
        generator = torch.Generator().manual_seed(1000 * seed + points)
        flat = random_parameters(network, seed + len(dims), torch.float32)
        parameters, positions = [flat], None
        if term:
            parameters.append(random_parameters(term.predictor, seed, torch.float32))
            positions = kolmogorov.positions(network)
        inputs = points_away(flat, network, points, generator, MARGIN["fp32"])
        targets = torch.rand((dims[-1], points), generator=generator)
        return Case(network, term, parameters, positions, inputs, targets)

    def truth(self, dtype: torch.dtype = torch.float64) -> tuple[list[Tensor], list[Tensor]]:
        """Losses and gradients by the reference."""
        found = truth(self.parameters, self.network, self.inputs, self.targets, self.positions, self.term, dtype)
        return found[: len(self.parameters)], found[len(self.parameters) :]

    def workspace(self, package: Alone, points: int | None = None) -> Any:
        made = package.Workspace(self.network, self.term, points or self.inputs.shape[1], DEVICE)
        package.gradient(made, self.parameters, self.positions, self.inputs, self.targets)
        poison(made)
        return made

    def gradients(self, package: Alone, workspace: Any | None = None) -> tuple[Tensor, list[Tensor]]:
        """Losses and gradients by a package: the gradient is what a first moment of momentum is after one step."""
        workspace = workspace or self.workspace(package)
        package.gradient(workspace, self.parameters, self.positions, self.inputs, self.targets)
        optimizers = [Optimizer("sgd_momentum", 0.0) for _ in self.parameters]
        moments = [torch.zeros((1, len(flat))) for flat in self.parameters]
        losses = torch.full((len(self.parameters),), NAN)
        scalars = torch.tensor([0.0, 1.0] * len(self.parameters))
        parameters = [flat.clone() for flat in self.parameters]
        package.update(workspace, optimizers, parameters, moments, scalars, losses)
        return losses, [moment[0] for moment in moments]


def identical(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    return len(one) == len(other) and all(map(identical, one, other))


def assert_true(case: Case, losses: Tensor, gradients: list[Tensor]) -> None:
    """As near to float64 as the oracle demands, with the reference in float32 as what PyTorch makes of it."""
    found: tuple[Iterable[Tensor], list[Tensor]] = losses, gradients
    for ours, exact, plain in zip(found, case.truth(), case.truth(torch.float32), strict=True):
        for one, true, other in zip(ours, exact, plain, strict=True):
            assert error_of(one, true) <= allowed(error_of(other, true))


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


def each_its_own(kind: str) -> list[Optimizer]:
    """An optimiser of this kind, and another network's of another kind."""
    kinds = list(OPTIMIZERS)
    return [Optimizer(kind, 0.01, 0.85), Optimizer(kinds[kinds.index(kind) - 1], 0.003, 0.6)]


def numbers_of(package: Alone, case: Case, kind: str, steps: int) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Parameters, moments and losses after some steps, each on another part of the batch."""
    optimizers = each_its_own(kind)[: len(case.parameters)]
    parameters = [flat.clone() for flat in case.parameters]
    moments = [torch.zeros((one.moments, len(flat))) for one, flat in zip(optimizers, parameters, strict=True)]
    workspace = case.workspace(package)
    rows = []
    for step in range(1, steps + 1):
        batch = slice(0, None if step % 2 else 9)
        losses = torch.full((len(parameters),), NAN)
        scalars = torch.tensor([number for one in optimizers for number in one.scalars(step)])
        package.gradient(workspace, parameters, case.positions, case.inputs[:, batch], case.targets[:, batch])
        package.update(workspace, optimizers, parameters, moments, scalars, losses)
        rows.append(losses)
    return parameters, moments, torch.stack(rows)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_steps_are_the_references(package: Alone, kind: str) -> None:
    term = KolmogorovTerm(Network((3, 5, 20)), "cross_entropy", 0.3, 20)
    case = Case.of((2, 6, 5, 1), 40, term)
    parameters, moments, _ = numbers_of(package, case, kind, 6)
    optimizers = each_its_own(kind)
    exact = Case(case.network, term, [flat.double() for flat in case.parameters], case.positions, *(
        tensor.double() for tensor in (case.inputs, case.targets)
    ))  # fmt: skip
    true_moments = [torch.zeros((one.moments, len(flat))).double() for one, flat in
                    zip(optimizers, case.parameters, strict=True)]  # fmt: skip
    inputs, targets = exact.inputs, exact.targets
    for step in range(1, 7):
        batch = slice(0, None if step % 2 else 9)
        exact.inputs, exact.targets = inputs[:, batch], targets[:, batch]
        _, gradients = exact.truth()
        for one, flat, slope, moment in zip(optimizers, exact.parameters, gradients, true_moments, strict=True):
            reference.step(one, flat, slope, moment, one.scalars(step))
    for ours, theirs in zip(parameters + moments, exact.parameters + true_moments, strict=True):
        assert_steps(ours, theirs)


def test_reruns_are_identical_to_the_bit(package: Alone) -> None:
    term = KolmogorovTerm(Network((3, 5, 20)), "cross_entropy", 0.3, 20)
    case = Case.of((2, 6, 5, 1), 77, term)
    (first, second) = (numbers_of(package, case, "adam", 4) for _ in range(2))
    assert identical(first, second)


def test_a_short_batch_after_a_long_one_forgets_it(package: Alone) -> None:
    long, short = Case.of((2, 6, 5, 1), 333), Case.of((2, 6, 5, 1), 5)
    used = long.workspace(package)
    package.gradient(used, long.parameters, None, long.inputs, long.targets)
    fresh = short.gradients(package, short.workspace(package, 333))
    assert_true(short, *short.gradients(package, used))
    assert identical(short.gradients(package, used), fresh)


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


def poisoned(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    return torch.full(shape, NAN), torch.full(shape[1:], -1, dtype=torch.int64)


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


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def trained(
    cpu: Alone, case: Case, kind: str, batch: int, count: int, visits: tuple[int, ...] = (1, 1, 1)
) -> list[Tensor]:
    """All that three epochs of training leave, with so many threads; `visits` tells which of them are in one call."""
    torch.set_num_threads(count)
    optimizers = [Optimizer(kind, 0.01), Optimizer(kind, 0.003)][: len(case.parameters)]
    parameters = [flat.clone() for flat in case.parameters]
    moments = [torch.zeros((one.moments, len(flat))) for one, flat in zip(optimizers, parameters, strict=True)]
    workspace = cpu.Workspace(case.network, case.term, batch, DEVICE)
    steps = -(-case.inputs.shape[1] // batch)
    points = case.inputs[None], case.targets[None]
    learners = [flat[None] for flat in parameters], [moment[None] for moment in moments]
    training = cpu.Training(workspace, optimizers, *learners, case.positions, points, points)
    orders = [
        torch.randperm(case.inputs.shape[1], generator=torch.Generator().manual_seed(epoch)) for epoch in range(3)
    ]
    scalars = torch.tensor(
        [[number for one in optimizers for number in one.scalars(step)] for step in range(1, 3 * steps + 1)]
    ).view(3, steps, -1)
    losses = torch.full((3, steps, len(parameters)), NAN)
    kept = torch.full((3, sum(map(len, parameters))), NAN)
    found, begin = [], 0
    for epochs in visits:
        part = slice(begin, begin + epochs)
        order = torch.stack(orders[part])[None].numpy()
        found.append(
            training.run(order, scalars[None, part].numpy(), losses[None, part].numpy(), kept[None, part].numpy())
        )
        assert torch.equal(kept[part][-1], torch.cat(parameters))
        begin += epochs
    rows = [losses, kept, torch.from_numpy(np.concatenate(found, 1))]
    assert not any(row.isnan().any() for row in rows)
    return [*parameters, *moments, *rows]


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("with_term", [False, True])
def test_train_is_gradient_and_update_whatever_the_threads_and_the_visits(cpu: Alone, with_term: bool) -> None:
    term = KolmogorovTerm(Network((3, 8, 64)), "cross_entropy", 0.3, 64) if with_term else None
    case = Case.of((2, *[10] * 8, 1), 2500, term)
    one = trained(cpu, case, "adam", 1024, 1)
    for count, visits in ((2, (1, 1, 1)), (5, (1, 1, 1)), (1, (3,)), (2, (1, 2)), (5, (3,))):
        for ours, theirs in zip(trained(cpu, case, "adam", 1024, count, visits), one, strict=True):
            assert torch.equal(ours, theirs), (count, visits)

    torch.set_num_threads(1)
    optimizers = [Optimizer("adam", 0.01), Optimizer("adam", 0.003)][: len(case.parameters)]
    parameters = [flat.clone() for flat in case.parameters]
    moments = [torch.zeros((2, len(flat))) for flat in parameters]
    workspace = cpu.Workspace(case.network, term, 1024, DEVICE)
    step, losses = 0, torch.empty(len(parameters))
    for epoch in range(3):
        order = torch.randperm(2500, generator=torch.Generator().manual_seed(epoch))
        for batch in order.split(1024):
            step += 1
            cpu.gradient(workspace, parameters, case.positions, case.inputs[:, batch], case.targets[:, batch])
            scalars = torch.tensor([number for optimizer in optimizers for number in optimizer.scalars(step)])
            cpu.update(workspace, optimizers, parameters, moments, scalars, losses)
    for ours, theirs in zip(one, [*parameters, *moments], strict=False):
        assert torch.equal(ours, theirs)
    assert torch.equal(one[-3][-1, -1], losses)


@pytest.mark.usefixtures("threads")
def test_frames_do_not_depend_on_the_threads(cpu: Alone) -> None:
    network = Network((2, *[10] * 8, 1))
    flat, coefficients = random_parameters(network, 1, torch.float32), torch.randint(1, 2**31 - 1, (80,))
    results = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        outputs, signatures = poisoned((1, 150, 301))
        cpu.evaluate_grid(network, flat, coefficients, (301, 200), 7, outputs, signatures)
        results.append((outputs, signatures))
    for outputs, signatures in results[1:]:
        assert torch.equal(outputs, results[0][0])
        assert torch.equal(signatures, results[0][1])
