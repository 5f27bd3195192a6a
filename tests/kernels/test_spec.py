"""What a network may be, and what of it each package's constructors refuse."""

import re

import numpy as np
import pytest
import torch

from draw_poly.kernels.cpu import Evaluator, Rasterizer, Workspace
from draw_poly.kernels.spec import Network, leaky_relu

CPU = torch.device("cpu")


@pytest.mark.parametrize("dims", [(), (2,), (2, 0, 1), (2, -3, 1), (2, 3.0, 1), (2, "3", 1), (2, None, 1)])
def test_widths_are_whole_numbers_of_at_least_one(dims: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=re.escape(f"widths were {dims}: give whole numbers of at least 1")):
        Network(dims)


@pytest.mark.parametrize("slope", [-1e-9, 1e-39, 1.0001, float("nan"), float("inf"), None])
def test_slopes_are_zero_or_a_normal_number_up_to_one(slope: float) -> None:
    with pytest.raises(ValueError, match=f"slope was {slope}: give 0, or a number from 1.18e-38 to 1"):
        Network((2, 3, 1), leaky_relu(slope))


def test_numbers_of_other_kinds_become_pythons() -> None:
    made = Network(tuple(np.array([2, 3, 1])), leaky_relu(np.float32(0.5)))
    assert made == Network((2, 3, 1), leaky_relu(0.5))
    assert {type(width) for width in made.dims} == {int}
    assert type(made.slope) is float


def test_every_cpu_kernel_refuses_what_none_supports() -> None:
    network, said = Network((2, 300, 1)), "width 300"
    coefficients = torch.ones(network.neurons, dtype=torch.int64)
    with pytest.raises(ValueError, match=said):
        Workspace(network, None, 5, CPU)
    with pytest.raises(ValueError, match=said):
        Evaluator(network, coefficients[None])
    with pytest.raises(ValueError, match=said):
        Rasterizer(network, coefficients, 8, 8)


def test_coefficients_are_as_many_as_neurons() -> None:
    coefficients = torch.ones(2, dtype=torch.int64)
    for made in (
        lambda network: Evaluator(network, coefficients[None]),
        lambda network: Rasterizer(network, coefficients, 8, 8),
    ):
        with pytest.raises(ValueError, match=r"coefficients of shape \(1, 2\) .* give shape \(1, 3\)"):
            made(Network((2, 3, 1)))


def test_pictures_are_of_two_inputs_and_a_plane_for_each_output() -> None:
    coefficients, plane = torch.ones(3, dtype=torch.int64), np.zeros((8, 8), np.uint8)
    solid, coloured = Network((3, 3, 1)), Network((2, 3, 3))
    with pytest.raises(ValueError, match="2 coordinates, and the network has 3 inputs"):
        Rasterizer(solid, coefficients, 8, 8)
    with pytest.raises(ValueError, match="1 planes of levels were given for 3 outputs"):
        Rasterizer(coloured, coefficients, 8, 8).draw(torch.zeros(coloured.size), plane, plane, plane[:0, :0])
    outputs, signatures = torch.empty(1, 1, 8, 8), torch.empty(1, 8, 8, dtype=torch.int64)
    with pytest.raises(ValueError, match="2 coordinates, and the network has 3 inputs"):
        Evaluator(solid, coefficients[None]).grid(torch.zeros(1, solid.size), (8, 8), 0, outputs, signatures)
