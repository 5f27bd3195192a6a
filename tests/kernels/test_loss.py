"""The task's losses of every package: cross-entropy of any number of outputs, squared errors of several, validation."""

import importlib
from functools import partial
from itertools import product
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from benches.alone import Alone
from benches.plain import by_autograd, plain_forward, plain_loss
from draw_poly.kernels import cpu, reference
from draw_poly.kernels.oracle import NAN, error_of, points_away, poison, random_parameters, random_targets
from draw_poly.kernels.spec import FINAL_ACTIVATIONS, KolmogorovTerm, Loss, Network, cross_entropy, squared_error
from tests.kernels.fused import DEVICE, INF, PACKAGES, Case, assert_true, of_packages

LOSSES = [*map(cross_entropy, FINAL_ACTIVATIONS)]
# Sums of up to a few thousand float64 terms of order one.
assert_exact = partial(torch.testing.assert_close, rtol=1e-10, atol=1e-12)


@pytest.fixture(params=PACKAGES)
def package(request: pytest.FixtureRequest) -> Alone:
    return Alone(importlib.import_module(f"draw_poly.kernels.{request.param}"))


@pytest.mark.parametrize("loss", [*LOSSES, squared_error()])
@pytest.mark.parametrize(("dims", "points"), [((2, 7, 3), 1), ((2, 10, 10, 3), 37), ((2, 5, 9), 64), ((2, 4, 2), 33)])
def test_the_reference_is_autograds(loss: Loss, dims: tuple[int, ...], points: int) -> None:
    network = Network(dims, loss=loss)
    generator = torch.Generator().manual_seed(points)
    flat = random_parameters(network, seed=len(dims))
    inputs = torch.rand((dims[0], points), generator=generator, dtype=torch.float64)
    targets = random_targets(network, points, generator).double()
    gradient = torch.full_like(flat, NAN)
    stack, out = reference.layers(flat, network), reference.layers(gradient, network)
    value = reference.task_gradient(stack, inputs, targets, network, out)
    leaf = flat.clone().requires_grad_()
    expected = plain_loss(plain_forward(leaf, network, inputs), targets, network)
    expected.backward()
    assert_exact(value, expected.detach())
    assert_exact(gradient, leaf.grad)


# Panels and tiles that are full and not, one class alone, more classes than neurons, depths that are unrolled and not.
@pytest.mark.parametrize(
    ("package", "loss", "dims", "points"),
    of_packages(
        [
            (loss, *case)
            for loss in LOSSES
            for case in (((2, 10, 10, 3), 37), ((2, 7, 12, 5, 3), 1), ((2, *[5] * 12, 3), 65), ((2, 6, 2), 16),
                         ((2, 6, 5, 33), 333), ((2, 4, 1), 20))
        ],
        quick=[(LOSSES[0], (2, 10, 10, 3), 37), (LOSSES[1], (2, 7, 12, 5, 3), 1), (LOSSES[2], (2, *[5] * 12, 3), 65)],
    ),
    indirect=["package"],
)  # fmt: skip
def test_cross_entropy_is_right(package: Alone, loss: Loss, dims: tuple[int, ...], points: int) -> None:
    case = Case.of(dims, points, loss=loss)
    assert_true(case, *case.gradients(package))


@pytest.mark.parametrize("loss", LOSSES)
def test_cross_entropy_with_the_term(package: Alone, loss: Loss) -> None:
    term = KolmogorovTerm(Network((3, 8, 5, 20)), "cross_entropy", 0.7, 20, -1.0, 0.5)
    case = Case.of((2, 7, 6, 3), 33, term, loss=loss)
    assert_true(case, *case.gradients(package))


def test_a_large_batch_of_classes_is_right(package: Alone) -> None:
    case = Case.of((2, 10, 7, 3), 4500, loss=cross_entropy())
    assert_true(case, *case.gradients(package))


# Logits far apart, where a share of the softmax is nothing and another is all.
@pytest.mark.parametrize("loss", LOSSES)
def test_outputs_far_from_zero_are_right(package: Alone, loss: Loss) -> None:
    case = Case.of((2, 6, 3), 50, loss=loss)
    case.parameters[0][-21:-3] *= 30.0
    generator = torch.Generator().manual_seed(1)
    case.inputs = points_away(case.parameters[0], case.network, 50, generator, 1e-5)
    assert_true(case, *case.gradients(package))


@pytest.mark.parametrize(("package", "loss"), of_packages(product(LOSSES), quick=[(LOSSES[0],)]), indirect=["package"])
def test_what_is_not_finite_shows_in_losses_and_gradients(package: Alone, loss: Loss) -> None:
    for value, place in product((NAN, INF), (0, -1)):
        case = Case.of((2, 6, 5, 3), 21, loss=loss)
        case.parameters[0][place] = value
        losses, gradients = case.gradients(package)
        plain = by_autograd(case.parameters, case.network, case.inputs, case.targets, None, None, torch.float32, DEVICE)
        assert losses.isfinite().tolist() == [bool(plain[0].isfinite())], (value, place)
        assert gradients[0].isfinite().all() == plain[1].isfinite().all(), (value, place)


def test_a_target_that_is_no_class_has_no_loss(package: Alone) -> None:
    for label in (3.0, -1.0, 0.5, NAN):
        case = Case.of((2, 6, 5, 3), 21, loss=cross_entropy())
        case.targets[0, 20] = label
        losses, _ = case.gradients(package)
        assert losses.isnan().all(), label


def validated(package: ModuleType, network: Network, flat: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
    """Mean loss, lowest and highest output, (3,)."""
    out = torch.full((1, 3), NAN)
    if package is reference:
        reference.validate(network, flat[None], inputs[None], targets[None], out)
    elif package is cpu:
        points = inputs[None], targets[None]
        training = cpu.Training(
            cpu.Workspace(network, None, inputs.shape[1], DEVICE), [], [flat[None]], [], None, points, points
        )
        nothing = np.empty((1, 1, 0), np.int64), np.empty((1, 1, 0, 2), np.float32), np.empty((1, 1, 0, 1), np.float32)
        out = torch.from_numpy(training.run(*nothing, kept=np.empty((1, 1, network.size), np.float32)))[0]
    else:
        made = package.Validation(network, inputs.shape[1], DEVICE)
        for _ in range(2):  # each launch leaves the counter as it found it
            poison(made)
            made.run(flat[None], inputs[None], targets[None], out.fill_(NAN))
    return out[0]


@pytest.mark.parametrize(
    ("package", "loss", "dims", "points"),
    [
        *((name, loss, (2, 9, 3), 40) for name in ("reference",) for loss in (*LOSSES, squared_error())),
        *of_packages(
            [
                (loss, dims, points)
                for loss in (*LOSSES, squared_error())
                for dims, points in (((2, 10, 10, 3), 77), ((2, *[5] * 12, 7), 1), ((2, 6, 5, 20), 333))
            ],
            quick=[(LOSSES[0], (2, 10, 10, 3), 77), (squared_error(), (2, *[5] * 12, 7), 1)],
        ),
    ],
    indirect=["package"],
)
def test_validation_tells_the_loss_and_the_widest_range(
    package: Alone, loss: Loss, dims: tuple[int, ...], points: int
) -> None:
    network = Network(dims, loss=loss)
    flat = random_parameters(network, 5, torch.float32)
    generator = torch.Generator().manual_seed(points)
    inputs = points_away(flat, network, points, generator, 1e-5)
    targets = random_targets(network, points, generator)
    outputs = plain_forward(flat.double(), network, inputs.double())
    exact = plain_loss(outputs, targets.double(), network)
    logits = outputs.sigmoid() if loss.final == "sigmoid" else torch.nn.functional.leaky_relu(outputs, loss.slope)
    rows = logits.argmax(0)[None].double() if loss.labelled else outputs
    widest = rows[(rows.amax(1) - rows.amin(1)).argmax()]
    truth = torch.stack((exact, widest.min(), widest.max()))
    found = validated(package.package, network, flat, inputs, targets)
    torch.testing.assert_close(found.double(), truth, rtol=1e-5, atol=2e-6)


def test_outputs_of_equal_size_are_of_the_first_class(package: Alone) -> None:
    """As by `relu`, which makes all that are negative zero."""
    network = Network((2, 4, 3), loss=cross_entropy("relu"))
    flat = torch.zeros(network.size)
    targets = torch.tensor([[0.0, 1.0, 2.0, 0.0]])
    for biases, label in (((-1.0, -2.0, -0.5), 0), ((-1.0, 2.0, 2.0), 1), ((0.0, 0.0, 1e-3), 2)):
        flat[-3:] = torch.tensor(biases)
        found = validated(package.package, network, flat, torch.rand((2, 4)), targets)
        assert found[1:].tolist() == [label, label]


def test_a_range_with_a_nan_is_none(package: Alone) -> None:
    network = Network((2, 4, 3))
    flat = random_parameters(network, 1, torch.float32)
    flat[-2] = NAN  # the bias of the output in the middle
    assert validated(package.package, network, flat, torch.rand((2, 20)), torch.rand((3, 20))).isnan().all()


def test_a_batch_of_classes_is_refused_targets_of_another_kind(package: Alone) -> None:
    case = Case.of((2, 6, 3), 8, loss=cross_entropy())
    workspace = case.workspace(package)
    with pytest.raises(ValueError, match="targets"):
        package.gradient(workspace, case.parameters, None, case.inputs, torch.zeros(3, 8))


def test_an_activation_of_outputs_is_one_of_those_there_are() -> None:
    with pytest.raises(ValueError, match="no activation of outputs is called 'tanh': give one of relu, sigmoid"):
        cross_entropy("tanh")


def test_errors_are_small_beside_the_losses(package: Alone) -> None:
    """A loss near zero, of a network that is sure of every point, is right in its own size."""
    case = Case.of((2, 6, 3), 30, loss=cross_entropy("leaky_relu"))
    flat = case.parameters[0]
    flat[-21:] = 0.0
    flat[-3:] = torch.tensor([8.0, -1.0, -1.0])
    case.targets[:] = 0.0
    losses, gradients = case.gradients(package)
    exact_losses, exact = case.truth()
    assert error_of(losses, torch.stack(exact_losses)) < 2e-4
    assert error_of(gradients[0], exact[0]) < 2e-4
