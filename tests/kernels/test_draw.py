"""Pictures of networks whose neurons are zero up to rounding over an area: what is promised there."""

import numpy as np
import torch

from draw_poly.kernels import cpu, reference
from draw_poly.kernels.oracle import nearest, pixels
from draw_poly.kernels.spec import RIGHT, Network

WIDTH, HEIGHT = 300, 200


def degenerate() -> tuple[Network, torch.Tensor]:
    """A neuron of the second layer is 3 a - b, where b is three times a but for rounding; another is as usual."""
    network = Network((2, 2, 2, 1))
    flat = torch.zeros(network.size)
    first, second, last = reference.layers(flat, network)
    first[0].copy_(torch.tensor([[0.1, 0.7], [0.3, 2.1]]))
    first[1].copy_(torch.tensor([[0.3], [0.9]]))
    second[0].copy_(torch.tensor([[3.0, -1.0], [1.0, 0.0]]))
    second[1].copy_(torch.tensor([[0.0], [-0.70013]]))
    last[0].copy_(torch.tensor([[0.5, 1.0]]))
    last[1].fill_(0.1)
    return network, flat


def test_gray_is_right_and_edges_are_where_no_neuron_is_within_rounding_of_zero() -> None:
    network, flat = degenerate()
    coefficients = torch.tensor([1, 10, 100, 1000])
    gray, edges = np.zeros((2, HEIGHT, WIDTH), np.uint8)
    cpu.Rasterizer(network, coefficients, WIDTH, HEIGHT).draw(flat, gray, edges, np.empty((0, 0), np.uint8))
    points = pixels(WIDTH, HEIGHT).double()
    stack = reference.layers(flat.double(), network)
    outputs, _ = reference.evaluate_one(stack, coefficients, points, network.activation)
    levels = (255 * outputs.view(HEIGHT, WIDTH)).clamp(0, 255).byte().numpy()
    assert np.abs(gray.astype(int) - levels).max() <= 1
    assert float((nearest(flat.double(), network, points) < 1e-6).double().mean()) == 1.0  # noise, everywhere
    other = reference.forward(stack, points, network.activation)[0][2][1].view(HEIGHT, WIDTH) > 0
    crossed = (other[:, 1:] != other[:, :-1]).numpy()
    assert crossed.any()
    assert (edges[:, :-1][crossed] & RIGHT).all()
