"""The fused kernels' steps: the reference's, and the same again to the bit, whatever came before them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benches.alone import Alone
from draw_poly.kernels import reference
from draw_poly.kernels.oracle import (
    NAN,
    allowed,
    assert_steps,
    error_of,
    random_parameters,
)
from draw_poly.kernels.spec import OPTIMIZERS, KolmogorovTerm, Network, Optimizer
from tests.kernels.fused import DEVICE, SETTINGS, Case, assert_true, identical, of_packages, poisoned


def each_its_own(kind: str, **options: Any) -> list[Optimizer]:
    """An optimiser of this kind with these options, and another network's of another kind."""
    kinds = list(OPTIMIZERS)
    return [Optimizer(kind, 0.01, 0.85, **options), Optimizer(kinds[kinds.index(kind) - 1], 0.003, 0.6)]


def numbers_of(
    package: Alone, case: Case, given: list[Optimizer], steps: int
) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Parameters, moments and losses after some steps, each on another part of the batch."""
    optimizers = given[: len(case.parameters)]
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


@pytest.mark.parametrize(
    ("package", "kind", "options"), of_packages(SETTINGS, quick=SETTINGS[: len(OPTIMIZERS)]), indirect=["package"]
)
def test_steps_are_the_references(package: Alone, kind: str, options: dict[str, Any]) -> None:
    term = KolmogorovTerm(Network((3, 5, 20)), "cross_entropy", 0.3, 20)
    case = Case.of((2, 6, 5, 1), 40, term)
    optimizers = each_its_own(kind, **options)
    found = numbers_of(package, case, optimizers, 6)[:2]
    exact, plain = (by_reference(case, optimizers, 6, dtype) for dtype in (torch.float64, torch.float32))
    rounded = any(one.rest for one in optimizers)
    for (flat, kept), (true, true_kept), (other, _), start in zip(
        zip(*found, strict=True), exact, plain, case.parameters, strict=True
    ):
        if rounded:  # to bfloat16, of three digits: as near to float64 as PyTorch's own steps, and nearer to these
            assert error_of(flat - start, true - start) <= allowed(error_of(other - start, true - start))
            assert error_of(flat - start, other.double() - start) < 0.01
        else:
            assert_steps(flat, true)
            assert_steps(kept, true_kept)


def by_reference(
    case: Case, optimizers: list[Optimizer], steps: int, dtype: torch.dtype
) -> list[tuple[Tensor, Tensor]]:
    """Parameters and moments of each learner after the steps of `numbers_of`, by the reference."""
    inputs, targets = case.inputs.to(dtype), case.targets.to(dtype)
    one = Case(case.network, case.term, [flat.to(dtype, copy=True) for flat in case.parameters], case.positions,
               inputs, targets)  # fmt: skip
    moments = [torch.zeros((it.moments, len(flat)), dtype=dtype) for it, flat in
               zip(optimizers, one.parameters, strict=True)]  # fmt: skip
    networks = [case.network, *([case.term.predictor] if case.term else [])]
    for step in range(1, steps + 1):
        batch = slice(0, None if step % 2 else 9)
        one.inputs, one.targets = inputs[:, batch], targets[:, batch]
        _, gradients = one.truth(dtype)
        row = [number for it in optimizers for number in it.scalars(step)]
        reference.update_one(optimizers, one.parameters, moments, gradients, row, networks)
    return list(zip(one.parameters, moments, strict=True))


def test_reruns_are_identical_to_the_bit(package: Alone) -> None:
    term = KolmogorovTerm(Network((3, 5, 20)), "cross_entropy", 0.3, 20)
    case = Case.of((2, 6, 5, 1), 77, term)
    (first, second) = (numbers_of(package, case, each_its_own("adam"), 4) for _ in range(2))
    assert identical(first, second)


def test_a_short_batch_after_a_long_one_forgets_it(package: Alone) -> None:
    long, short = Case.of((2, 6, 5, 1), 333), Case.of((2, 6, 5, 1), 5)
    used = long.workspace(package)
    package.gradient(used, long.parameters, None, long.inputs, long.targets)
    fresh = short.gradients(package, short.workspace(package, 333))
    assert_true(short, *short.gradients(package, used))
    assert identical(short.gradients(package, used), fresh)


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
