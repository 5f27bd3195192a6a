"""The reference against autograd and torch.optim: every other kernel is held against the reference."""

from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benches.plain import plain_forward, plain_term_loss
from draw_poly.kernels import reference
from draw_poly.kernels.oracle import assert_outputs, random_parameters
from draw_poly.kernels.reference.muon import orthogonal
from draw_poly.kernels.spec import (
    KOLMOGOROV_LOSSES,
    OPTIMIZERS,
    RELU2,
    Activation,
    KolmogorovTerm,
    Network,
    Optimizer,
    leaky_relu,
)
from tests.kernels.fused import SETTINGS

# Sums of up to a few thousand float64 terms of order one.
assert_exact = partial(torch.testing.assert_close, rtol=1e-10, atol=1e-12)


def task_gradient(flat: Tensor, network: Network, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    gradient = torch.full_like(flat, torch.nan)  # poisoned: what is not written shows
    stack, out = reference.layers(flat, network), reference.layers(gradient, network)
    return reference.task_gradient(stack, inputs, targets, network, out), gradient


# One layer, the usual one, unequal widths, several outputs, a width past a vector register, no power of two anywhere.
SHALLOW: list[tuple[int, ...]] = [(2, 1), (2, 10, 10, 1), (2, 7, 12, 5, 1), (2, 3, 3), (3, 70, 33, 2)]


@pytest.mark.parametrize(  # forty squares of squares are no number
    ("dims", "activation"),
    [*((dims, leaky_relu()) for dims in (*SHALLOW, (2, *[5] * 40, 1))), *((dims, RELU2) for dims in SHALLOW)],
)
@pytest.mark.parametrize("points", [1, 2, 37, 252])
def test_task_gradient_is_autograds(dims: tuple[int, ...], points: int, activation: Activation) -> None:
    network = Network(dims, activation)
    generator = torch.Generator().manual_seed(points)
    flat = random_parameters(network, seed=len(dims))
    inputs = torch.rand((dims[0], points), generator=generator, dtype=torch.float64)
    targets = torch.rand((dims[-1], points), generator=generator, dtype=torch.float64)
    loss, gradient = task_gradient(flat, network, inputs, targets)

    leaf = flat.clone().requires_grad_()
    expected = nn.functional.mse_loss(plain_forward(leaf, network, inputs), targets)
    expected.backward()
    assert_exact(loss, expected.detach())
    assert_exact(gradient, leaf.grad)


@pytest.mark.parametrize(
    ("loss", "bins"),
    [("cross_entropy", bins) for bins in (2, 9, 10, 11, 128, 256)]
    + [(loss, 256) for loss in list(KOLMOGOROV_LOSSES)[1:]],
)
def test_code_gradient_is_autograds(loss: str, bins: int) -> None:
    predictor = Network((3, 8, 5, KolmogorovTerm.outputs(loss, bins)))
    term = KolmogorovTerm(predictor, loss, 0.3, bins, -1.5, 2.0)
    generator = torch.Generator().manual_seed(bins)
    phi = random_parameters(predictor, seed=bins)
    positions = torch.rand((3, 61), generator=generator, dtype=torch.float64)
    theta = torch.randn(61, generator=generator, dtype=torch.float64) * 1.5  # past the clip range on both sides
    theta[0], theta[1] = term.low, term.high  # its ends count as inside
    theta[2] = term.low + (term.high - term.low) / (bins - 1)  # on a bin
    theta[3], theta[4] = -100.0, 100.0
    to_phi = torch.full_like(phi, torch.nan)
    out = reference.layers(to_phi, predictor)
    total, to_theta = reference.kolmogorov_gradient(theta, reference.layers(phi, predictor), positions, term, out)

    leaves = theta.clone().requires_grad_(), phi.clone().requires_grad_()
    expected = plain_term_loss(plain_forward(leaves[1], predictor, positions), leaves[0], term)
    expected = 61 * expected  # the sum over parameters
    expected.backward()
    assert_exact(total, expected.detach())
    assert_exact(to_phi, leaves[1].grad)
    assert leaves[0].grad is not None
    # Where c lies on a bin within rounding, sign(b - c) is anybody's.
    assert_exact(to_theta[3:], leaves[0].grad[3:])


def test_a_parameter_exactly_on_a_bin_takes_sign_zero() -> None:
    term = KolmogorovTerm(Network((3, 5)), "cross_entropy", 1.0, 5, -2.0, 2.0)
    theta = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0], dtype=torch.float64)
    logits = torch.randn((5, 5), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    _, _, gradient = reference.cross_entropy(logits, theta, term)
    leaf = theta.clone().requires_grad_()
    (5 * plain_term_loss(logits, leaf, term)).backward()  # the sum over five parameters
    assert_exact(gradient, leaf.grad)


def test_float32_is_as_good_as_autograds_float32() -> None:
    network = Network((2, *[10] * 8, 1))
    generator = torch.Generator().manual_seed(3)
    flat = random_parameters(network, 4)
    inputs = torch.rand((2, 1024), generator=generator, dtype=torch.float64)
    targets = torch.rand((1, 1024), generator=generator, dtype=torch.float64)
    _, truth = task_gradient(flat, network, inputs, targets)
    single = flat.float()
    _, ours = task_gradient(single, network, inputs.float(), targets.float())
    leaf = single.clone().requires_grad_()
    nn.functional.mse_loss(plain_forward(leaf, network, inputs.float()), targets.float()).backward()
    assert leaf.grad is not None
    error, theirs = ((value.double() - truth).norm() / truth.norm() for value in (ours, leaf.grad))
    assert error <= theirs + 2e-7  # one and a half roundings of float32


class Lion(torch.optim.Optimizer):
    """Algorithm 2 of Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023, as it stands there."""

    def __init__(self, leaves: list[Tensor], optimizer: Optimizer) -> None:
        super().__init__(leaves, {"lr": 1.0, "betas": (0.9, 0.99), "weight_decay": 0.0})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            first, second = group["betas"]
            for leaf in group["params"]:
                mean = self.state[leaf].setdefault("exp_avg", torch.zeros_like(leaf))
                update = first * mean + (1 - first) * leaf.grad
                leaf.sub_(group["lr"] * (update.sign() + group["weight_decay"] * leaf))
                mean.copy_(second * mean + (1 - second) * leaf.grad)


def torchs(optimizer: Optimizer, leaf: Tensor) -> torch.optim.Optimizer:
    """The optimiser of torch's that a record says it is."""
    name = optimizer.record.torch_name
    made: torch.optim.Optimizer = getattr(torch.optim, name)([leaf]) if name else Lion([leaf], optimizer)
    made.load_state_dict({"state": {}, "param_groups": [{**optimizer.group, "params": [0]}]})
    return made


@pytest.mark.parametrize("shape", [(5, 5), (2, 9), (9, 2), (1, 7), (40, 33)])
def test_in_float64_muons_iterations_are_a_polynomial_of_singular_values(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrix / matrix.norm(), full_matrices=False)
    a, b, c = (3.4445, -4.7750, 2.0315)
    for _ in range(5):
        values = a * values + b * values**3 + c * values**5
    assert_exact(orthogonal(matrix, 5, 1e-7), left @ values.diag() @ right)


PLAIN = [row for row in SETTINGS if OPTIMIZERS[row[0]].rest is None]


@pytest.mark.parametrize(("kind", "options"), PLAIN)
@pytest.mark.parametrize(
    ("dtype", "scalars_are"), [(torch.float64, "numbers"), *product([torch.float32], ["numbers", "tensors", "tensor"])]
)
def test_update_is_torch_optims_step_by_step(
    kind: str, options: dict[str, Any], dtype: torch.dtype, scalars_are: str
) -> None:
    generator = torch.Generator().manual_seed(8)
    ours = torch.randn(97, generator=generator, dtype=dtype)
    leaf = ours.clone().requires_grad_()
    optimizer = Optimizer(kind, 0.01, 0.85, **options)
    theirs = torchs(optimizer, leaf)
    moments = torch.zeros((optimizer.moments, 97), dtype=dtype)
    for step in range(1, 40):
        gradient = torch.randn(97, generator=generator, dtype=dtype) * 10.0 ** (step % 5 - 3)
        leaf.grad = gradient.clone()
        if optimizer.grad_clip_norm:
            torch.nn.utils.clip_grad_norm_([leaf], optimizer.grad_clip_norm)
        theirs.step()
        row = torch.tensor(optimizer.scalars(step))
        scalars: Any = {"numbers": optimizer.scalars(step), "tensors": row.unbind(0), "tensor": row}[scalars_are]
        reference.step(optimizer, ours, gradient, moments, scalars)
        if optimizer.record.torch_name:
            assert torch.equal(ours, leaf.detach()), f"step {step}"
        else:
            rounding = 1e-6 if dtype == torch.float32 else 1e-14
            torch.testing.assert_close(ours, leaf.detach(), rtol=rounding, atol=rounding)


@pytest.mark.parametrize("options", [options for kind, options in SETTINGS if kind == "muon"])
@pytest.mark.parametrize("tensor", [False, True])
def test_muon_is_torch_optims_for_matrices_beside_adamw(options: dict[str, Any], tensor: bool) -> None:
    network, generator = Network((2, 5, 5, 3, 9, 1)), torch.Generator().manual_seed(8)
    ours = random_parameters(network, 3, torch.float32)
    optimizer = Optimizer("muon", 0.01, **options)
    weights = [weight.clone().requires_grad_() for weight, _ in reference.layers(ours, network)]
    biases = [bias.clone().requires_grad_() for _, bias in reference.layers(ours, network)]
    assert optimizer.rest
    theirs = torch.optim.Muon(weights), torch.optim.AdamW(biases)
    for one, mine in zip(theirs, (optimizer, optimizer.rest), strict=True):
        one.load_state_dict({"state": {}, "param_groups": [{**mine.group, "params": [0, 1, 2, 3, 4]}]})
    moments = torch.zeros((optimizer.moments, network.size))
    for step in range(1, 15):
        gradient = torch.randn(network.size, generator=generator) * 10.0 ** (step % 5 - 3)
        if step == 3:
            gradient.zero_()
        for weight, bias, (slope, other) in zip(weights, biases, reference.layers(gradient, network), strict=True):
            weight.grad, bias.grad = slope.clone(), other.clone()
        if optimizer.grad_clip_norm:
            torch.nn.utils.clip_grad_norm_([*weights, *biases], optimizer.grad_clip_norm)
        for one in theirs:
            one.step()
        scalars: Any = torch.tensor(optimizer.scalars(step)) if tensor else optimizer.scalars(step)
        reference.step(optimizer, ours, gradient, moments, scalars, network)
        expected = torch.cat([part.detach().flatten() for pair in zip(weights, biases, strict=True) for part in pair])
        if optimizer.grad_clip_norm:  # torch adds the norms of tensors, so what is rounded to bfloat16 may be another
            torch.testing.assert_close(ours, expected, rtol=1e-2, atol=1e-4)
        else:
            assert torch.equal(ours, expected), f"step {step}"


@pytest.mark.parametrize(("kind", "options"), PLAIN)
def test_a_record_holds_torchs_defaults_and_the_names_of_its_state(kind: str, options: dict[str, Any]) -> None:
    leaf = torch.ones(3, requires_grad=True)
    optimizer = Optimizer(kind, 0.01, 0.85, **options)
    words: dict[str, Any] = {} if optimizer.record.torch_name else {"optimizer": optimizer}
    (defaults,) = type(torchs(optimizer, leaf))([leaf], **words).state_dict()["param_groups"]
    own = {key: getattr(optimizer, name) for key, name in optimizer.record.options.items()}
    assert {**optimizer.group, "params": [0]} == {**defaults, "lr": 0.01, "params": [0], **own}
    other = replace(Optimizer(kind, 0.01, 0.85), grad_clip_norm=optimizer.grad_clip_norm)
    if "momentum" in optimizer.record.options.values():
        other = replace(other, momentum=0.5)
    assert other.from_group(optimizer.group) == optimizer
    theirs = torchs(optimizer, leaf)
    leaf.grad = torch.ones(3)
    theirs.step()
    state = {name for name, value in theirs.state_dict()["state"].get(0, {}).items() if value is not None}
    assert state == {*optimizer.moment_names, *optimizer.record.counters}


def test_an_unknown_optimiser_is_refused() -> None:
    with pytest.raises(ValueError, match="no optimiser is called 'adamm': give one of adam, "):
        Optimizer("adamm", 0.1)


# Below and above the number of neurons whose sums float32 holds exactly.
@pytest.mark.parametrize("dims", [(2, 10, 10, 1), (2, 255, 1), (2, 200, 100, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_signatures_are_the_sum_of_coefficients(dims: tuple[int, ...], dtype: torch.dtype) -> None:
    network = Network(dims)
    generator = torch.Generator().manual_seed(1)
    flat = random_parameters(network, 2, dtype)
    coefficients = torch.randint(2**31 - 100, 2**31 - 1, (network.neurons,), generator=generator)
    inputs = torch.rand((2, 301), generator=generator, dtype=dtype)
    stack = reference.layers(flat, network)
    outputs, signatures = reference.evaluate_one(stack, coefficients, inputs, network.activation)
    hidden, expected, start = inputs, torch.zeros(301, dtype=torch.int64), 0
    for weight, bias in stack[:-1]:
        before = torch.addmm(bias, weight, hidden)
        expected += (coefficients[start : start + len(bias), None] * (before > 0)).sum(0)
        start += len(bias)
        hidden = nn.functional.leaky_relu(before, network.slope)
    assert signatures.dtype == torch.int64
    assert torch.equal(signatures, expected)
    assert signatures.unique().numel() > 3
    assert_outputs(outputs, plain_forward(flat, network, inputs))


def test_layers_refuse_a_vector_of_another_length() -> None:
    with pytest.raises(ValueError, match="12 parameters for a network of 13"):
        reference.layers(torch.zeros(12), Network((2, 3, 1)))


def test_nan_parameters_give_a_nan_loss_and_no_crash() -> None:
    term = KolmogorovTerm(Network((3, 4, 16)), "cross_entropy", 1.0, 16)
    phi = random_parameters(term.predictor, 0)
    theta = torch.tensor([0.0, float("nan"), float("inf"), -float("inf")], dtype=torch.float64)
    stack = reference.layers(phi, term.predictor)
    positions = torch.rand(3, 4, dtype=torch.float64)
    loss, _ = reference.kolmogorov_gradient(
        theta, stack, positions, term, reference.layers(phi.clone(), term.predictor)
    )
    assert loss.isnan()
