"""The library operator: values and gradients of the reference, on the reference's path and on Triton's."""

import re
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from benches.plain import plain_forward
from draw_poly.kernels import operator
from draw_poly.kernels.operator import mlp
from draw_poly.kernels.oracle import allowed, assert_outputs, error_of, random_parameters
from draw_poly.kernels.spec import Network, leaky_relu
from tests.conftest import slow

WIDTHS, POINTS = (7, 12, 5), 37
NAN = float("nan")


def made(outputs: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Network]:
    network = Network((2, *WIDTHS, outputs))
    coordinates = torch.rand((2, POINTS), generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
    return random_parameters(network, 2).to(dtype), coordinates, network


def both(parameters: Tensor, coordinates: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Leaves of these tensors as they are, and in float64."""
    ours, exact = (
        (
            parameters.detach().to(dtype, copy=True).requires_grad_(),
            coordinates.detach().to(dtype, copy=True).requires_grad_(),
        )
        for dtype in (parameters.dtype, torch.float64)
    )
    return ours, exact


def agree(leaves: Sequence[Tensor], exact: Sequence[Tensor]) -> None:
    """Holds gradients against those in float64."""
    for ours, theirs in zip(leaves, exact, strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        assert error_of(ours.grad, theirs.grad) <= allowed()


@pytest.mark.parametrize("outputs", [1, 3])
def test_values_and_gradients_are_autograds(path: str, outputs: int) -> None:
    parameters, coordinates, network = made(outputs)
    leaves, exact = both(parameters, coordinates)
    weight = torch.randn((outputs, POINTS), generator=torch.Generator().manual_seed(3))
    result = mlp(*leaves, WIDTHS, outputs)
    expected = plain_forward(exact[0], network, exact[1])
    assert_outputs(result, expected)
    result.sin().mul(weight).sum().backward()
    expected.sin().mul(weight).sum().backward()
    agree(leaves, exact)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("dtype", [torch.float32, slow(torch.float64)])
def test_it_passes_the_librarys_own_check(path: str, dtype: torch.dtype) -> None:
    if path == "triton" and dtype == torch.float64:
        pytest.skip("the kernels are of float32")
    parameters, coordinates, _ = made(1, dtype)
    words = (list(WIDTHS), 1, 0.01)
    torch.library.opcheck(operator._forward, (parameters.requires_grad_(), coordinates.requires_grad_(), *words))


@pytest.mark.parametrize("dynamic", [False, True])
def test_it_compiles_whole(path: str, dynamic: bool) -> None:
    parameters, coordinates, network = made(1)

    def loss(parameters: Tensor, coordinates: Tensor) -> Tensor:
        result: Tensor = mlp(parameters, coordinates * 0.5, WIDTHS).square().mean()
        return result

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for points in (POINTS, 1) if dynamic else (5,):
        leaves, exact = both(parameters, coordinates[:, :points])
        compiled(*leaves).backward()
        plain_forward(exact[0], network, exact[1] * 0.5).square().mean().backward()
        agree(leaves, exact)


class Module(torch.nn.Module):
    def __init__(self, flat: Tensor) -> None:
        super().__init__()
        self.flat = torch.nn.Parameter(flat.clone())

    def forward(self, coordinates: Tensor) -> Tensor:
        return mlp(self.flat, coordinates, WIDTHS)


@pytest.mark.parametrize("strict", [False, True])
def test_it_is_exported_for_any_number_of_points(path: str, strict: bool) -> None:
    parameters, coordinates, network = made(1)
    shapes = {"coordinates": {1: torch.export.Dim("points")}}
    program = torch.export.export(Module(parameters), (coordinates,), dynamic_shapes=shapes, strict=strict)
    module = program.module()
    leaves, exact = both(parameters, coordinates[:, :4])
    result, truth = module(leaves[1]), plain_forward(exact[0], network, exact[1])
    assert_outputs(result, truth)
    result.square().sum().backward()
    truth.square().sum().backward()
    agree((next(module.parameters()), leaves[1]), exact)


def test_an_export_of_the_wrong_size_is_refused() -> None:
    parameters, coordinates, _ = made(1)
    with pytest.raises(ValueError, match=r"shape \(3,\), and a network of"):
        torch.export.export(Module(parameters[:3]), (coordinates,))
    with pytest.raises(ValueError, match=r"shape \(3,\), and a network of"), FakeTensorMode(allow_non_fake_inputs=True):
        torch.ops.draw_poly.mlp(torch.rand(3), coordinates, list(WIDTHS), 1, 0.01)
    with pytest.raises(ValueError, match=r"shape \(3,\), and a network of"), FakeTensorMode(allow_non_fake_inputs=True):
        torch.ops.draw_poly.mlp_backward(torch.rand(1, POINTS), torch.rand(3), coordinates, list(WIDTHS), 0.01)


def test_no_points_have_no_outputs_and_no_gradient(path: str) -> None:
    parameters, _, network = made(1)
    leaf, coordinates = parameters.clone().requires_grad_(), torch.zeros((2, 0), requires_grad=True)
    result = mlp(leaf, coordinates, WIDTHS)
    assert result.shape == (1, 0)
    result.sum().backward()
    assert leaf.grad is not None
    assert torch.equal(leaf.grad, torch.zeros(network.size))


@pytest.mark.parametrize("points", [1, 2])
def test_a_gradient_that_is_one_number_is_taken(path: str, points: int) -> None:
    parameters, coordinates, network = made(1)
    leaves, exact = both(parameters, coordinates[:, :points])
    mlp(*leaves, WIDTHS).sum().backward()  # of one stored number, whatever its strides say
    plain_forward(exact[0], network, exact[1]).sum().backward()
    agree(leaves, exact)


def test_a_second_derivative_says_that_it_is_not_there(path: str) -> None:
    parameters, coordinates, _ = made(1)
    leaf = parameters.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(mlp(leaf, coordinates, WIDTHS).square().sum(), leaf, create_graph=True)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        gradient.sum().backward()


def test_what_does_not_fit_is_refused_by_name(path: str) -> None:
    parameters, coordinates, network = made(1)
    with pytest.raises(ValueError, match=rf"shape \(3,\), and a network of .* has \({network.size},\)"):
        mlp(parameters[:3], coordinates, WIDTHS)
    with pytest.raises(ValueError, match="1 dimensions"):
        mlp(parameters, coordinates[0], WIDTHS)
    for refused in (torch.float64, torch.int32, torch.complex64, torch.float8_e5m2):
        with pytest.raises(ValueError, match=f"parameters are {refused} and coordinates torch.float32"):
            mlp(parameters.to(refused), coordinates, WIDTHS)
    with pytest.raises(ValueError, match="parameters are on cpu and coordinates on meta"):
        mlp(parameters, coordinates.to("meta"), WIDTHS)


@pytest.mark.parametrize("slope", [-0.5, -1e-9, 1e-39, 1.0001, 1e300, NAN, float("inf"), "steep", None])
def test_a_slope_that_is_none_is_refused_on_every_path(path: str, slope: float) -> None:
    parameters, coordinates, _ = made(1)
    with pytest.raises(ValueError, match=re.escape(f"slope was {slope}: give 0, or a number from 1.18e-38 to 1")):
        mlp(parameters, coordinates, WIDTHS, slope=slope)


@pytest.mark.parametrize("slope", [0, 2.0**-126, 0.3, 1])
def test_every_slope_that_is_one_is_right_on_every_path(path: str, slope: float) -> None:
    parameters, coordinates, _ = made(1)
    leaves, exact = both(parameters, coordinates)
    plain = SimpleNamespace(shapes=Network((2, *WIDTHS, 1)).shapes, activation=leaky_relu(slope))
    mlp(*leaves, WIDTHS, slope=slope).square().sum().backward()
    plain_forward(exact[0], plain, exact[1]).square().sum().backward()  # type: ignore[arg-type]
    agree(leaves, exact)


@pytest.mark.parametrize(
    ("widths", "outputs"), [((0,), 1), ((3,), 0), ((-1,), 1), ((3.0,), 1), ((3,), -2), ((3,), 1.0), ("33", 1)]
)
def test_widths_that_are_none_are_refused_on_every_path(path: str, widths: tuple[int, ...], outputs: int) -> None:
    with pytest.raises(ValueError, match=r"widths were .*: give whole numbers of at least 1"):
        mlp(torch.rand(13), torch.rand(2, 5), widths, outputs)
    with pytest.raises(ValueError, match=r"widths were .*: give whole numbers of at least 1"):
        mlp(torch.rand(13), torch.rand(0, 5), (3,))


@pytest.mark.parametrize(
    ("into", "widths", "outputs"),
    [(1, (3,), 1), (5, (4, 4), 2), (2, (), 3), (2, (70,), 1), (2, tuple(np.array([7, 3])), np.int64(2))],
)
def test_any_other_sizes_are_right_on_every_path(path: str, into: int, widths: tuple[int, ...], outputs: int) -> None:
    network = Network((into, *widths, outputs))
    parameters = random_parameters(network, 4, torch.float32)
    leaves, exact = both(parameters, torch.rand((into, 9), generator=torch.Generator().manual_seed(5)))
    mlp(*leaves, widths, outputs).square().sum().backward()
    plain_forward(exact[0], network, exact[1]).square().sum().backward()
    agree(leaves, exact)


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "every second number": lambda tensor: torch.stack((tensor, tensor + 1), -1)[..., 0],
    "columns": lambda tensor: tensor.t().contiguous().t(),
    "one row again and again": lambda tensor: tensor[:1].expand_as(tensor) if tensor.dim() > 1 else tensor,
    "negated when it is read": lambda tensor: torch.complex(tensor, tensor).conj().imag,
}


@pytest.mark.parametrize("points", [1, POINTS])
@pytest.mark.parametrize("view", VIEWS)
def test_tensors_have_any_stride(path: str, view: str, points: int) -> None:
    parameters, coordinates, network = made(3)
    leaves, exact = both(parameters, coordinates[:, :points])
    weight = VIEWS[view](torch.rand((3, points), generator=torch.Generator().manual_seed(6)))
    ours, theirs = ([VIEWS[view](leaf) for leaf in pair] for pair in (leaves, exact))
    mlp(ours[0], ours[1], WIDTHS, 3).mul(weight).sum().backward()
    plain_forward(theirs[0], network, theirs[1]).mul(weight.double()).sum().backward()
    agree(leaves, exact)
