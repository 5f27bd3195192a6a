"""The library operator: values and gradients of the reference, on the reference's path and on Triton's."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from benches.plain import plain_forward, random_parameters
from kernels import operator
from kernels.operator import mlp
from kernels.spec import Network
from tests.conftest import INTERPRETED

WIDTHS, POINTS = (7, 12, 5), 37


@pytest.fixture(params=["reference", pytest.param("triton", marks=INTERPRETED)])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Which arithmetic answers: on a CPU, Triton's only under the interpreter."""
    monkeypatch.setattr(operator, "_fused", lambda network, parameters: request.param == "triton")
    return request.param  # type: ignore[no-any-return]


def made(outputs: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Network]:
    network = Network((2, *WIDTHS, outputs))
    coordinates = torch.rand((2, POINTS), generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
    return random_parameters(network, 2).to(dtype), coordinates, network


@pytest.mark.parametrize("outputs", [1, 3])
def test_values_and_gradients_are_autograds(path: str, outputs: int) -> None:
    parameters, coordinates, network = made(outputs)
    leaves = parameters.clone().requires_grad_(), coordinates.clone().requires_grad_()
    exact = parameters.double().requires_grad_(), coordinates.double().requires_grad_()
    weight = torch.randn((outputs, POINTS), generator=torch.Generator().manual_seed(3))
    result = mlp(*leaves, WIDTHS, outputs)
    expected = plain_forward(exact[0], network, exact[1])
    torch.testing.assert_close(result.double(), expected, rtol=1e-5, atol=1e-5)
    result.sin().mul(weight).sum().backward()
    expected.sin().mul(weight).sum().backward()
    for ours, theirs in zip(leaves, exact, strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        error = (ours.grad.double() - theirs.grad).norm() / theirs.grad.norm()
        assert error < 2e-6  # float32's rounding, over four layers


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_it_passes_the_librarys_own_check(path: str) -> None:
    for dtype in [torch.float32, torch.float64][: 1 if path == "triton" else 2]:
        parameters, coordinates, _ = made(1, dtype)
        words = (list(WIDTHS), 1, 0.01)
        torch.library.opcheck(operator._forward, (parameters.requires_grad_(), coordinates.requires_grad_(), *words))


def test_it_compiles_whole(path: str) -> None:
    parameters, coordinates, network = made(1)
    leaf = parameters.clone().requires_grad_()

    def loss(parameters: Tensor, coordinates: Tensor) -> Tensor:
        return mlp(parameters, coordinates * 0.5, WIDTHS).square().mean()

    torch.compile(loss, fullgraph=True, backend="aot_eager")(leaf, coordinates).backward()
    exact = parameters.double().requires_grad_()
    plain_forward(exact, network, coordinates.double() * 0.5).square().mean().backward()
    assert leaf.grad is not None
    assert exact.grad is not None
    torch.testing.assert_close(leaf.grad, exact.grad.float(), rtol=1e-4, atol=1e-5)


def test_no_points_have_no_outputs_and_no_gradient(path: str) -> None:
    parameters, _, network = made(1)
    leaf, coordinates = parameters.clone().requires_grad_(), torch.zeros((2, 0), requires_grad=True)
    result = mlp(leaf, coordinates, WIDTHS)
    assert result.shape == (1, 0)
    result.sum().backward()
    assert leaf.grad is not None
    assert torch.equal(leaf.grad, torch.zeros(network.size))


def test_a_second_derivative_says_that_it_is_not_there(path: str) -> None:
    parameters, coordinates, _ = made(1)
    leaf = parameters.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(mlp(leaf, coordinates, WIDTHS).square().sum(), leaf, create_graph=True)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        gradient.sum().backward()


def test_what_does_not_fit_is_refused_by_name() -> None:
    parameters, coordinates, network = made(1)
    with pytest.raises(ValueError, match=rf"shape \(3,\), and a network of .* has \({network.size},\)"):
        mlp(parameters[:3], coordinates, WIDTHS)
    with pytest.raises(ValueError, match="1 dimensions"):
        mlp(parameters, coordinates[0], WIDTHS)
    with pytest.raises(ValueError, match=r"torch\.float64"):
        mlp(parameters.double(), coordinates, WIDTHS)
