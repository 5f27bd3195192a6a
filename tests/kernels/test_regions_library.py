"""Regions of other programs' networks: an `nn.Sequential` is what its flat parameters are; others are refused."""

import numpy as np
import pytest
import torch
from torch import nn

from draw_poly.kernels import cpu
from draw_poly.kernels.regions import TooManyRegions, regions
from draw_poly.kernels.spec import Network, leaky_relu

WINDOW = (-1.0, -1.0, 1.0, 1.0)


def module(activation: nn.Module) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Sequential(nn.Linear(2, 9), activation, nn.Identity()), nn.Linear(9, 6), activation, nn.Linear(6, 3)
    )


@pytest.mark.parametrize(("activation", "slope"), [(nn.ReLU(), 0.0), (nn.LeakyReLU(0.2), 0.2)])
def test_a_module_is_what_its_parameters_are(activation: nn.Module, slope: float) -> None:
    network = module(activation)
    found = regions(network, window=WINDOW)
    flat = torch.cat([one.detach().flatten() for one in network.parameters()])
    same = regions(Network((2, 9, 6, 3), leaky_relu(slope)), flat, WINDOW)
    for name in ("places", "patterns", "areas", "maps"):
        assert np.array_equal(getattr(found, name), getattr(same, name))
    assert found.cells > 10
    outputs = network.double()(torch.from_numpy(found.centres)).detach().numpy()
    ours = np.einsum("fok,fk->fo", found.maps, np.c_[found.centres, np.ones(found.cells)])
    assert np.abs(outputs - ours)[found.areas > 1e-9].max() < 1e-12


def test_maps_are_those_of_the_parameters_that_were_given() -> None:
    network = Network((2, 9, 3))
    flat = torch.randn(network.size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    asked, kept = regions(network, flat, WINDOW).maps, regions(network, flat, WINDOW)
    flat.zero_()  # as training goes on, before anybody has asked
    assert np.array_equal(kept.maps, asked)


def test_a_layer_without_bias_has_zeros() -> None:
    bare = nn.Sequential(nn.Linear(2, 4, bias=False), nn.ReLU(), nn.Linear(4, 1, bias=False))
    weights = [one.detach().double().numpy().ravel() for one in bare.parameters()]
    flat = np.concatenate((weights[0], np.zeros(4), weights[1], np.zeros(1)))
    same = cpu.subdivide(Network((2, 4, 1), leaky_relu(0.0)), flat, WINDOW)
    assert np.array_equal(regions(bare, window=WINDOW).areas, same.areas)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)), "Tanh stands where it cannot"),
        (nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)), "Linear stands where it cannot"),
        (nn.Sequential(nn.Linear(2, 3), nn.ReLU()), "ends with an activation"),
        (nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 1)), "2 inputs, and this one has 3"),
        (nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(4, 1)), "follows a layer of 3 outputs"),
        (nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.LeakyReLU(), nn.Linear(2, 1)), "one slope"),
        (nn.Sequential(nn.Linear(2, 2), nn.LeakyReLU(-1.0), nn.Linear(2, 1)), "slope was -1"),
        (Network((2, 2, 1)), "no parameters"),
    ],
)
def test_what_is_no_such_network_is_refused(network: Network | nn.Sequential, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        regions(network)


def test_a_module_with_other_parameters_and_too_many_regions_are_refused() -> None:
    with pytest.raises(ValueError, match="its own parameters"):
        regions(module(nn.ReLU()), torch.zeros(3))
    with pytest.raises(TooManyRegions):
        regions(module(nn.ReLU()), window=WINDOW, most_regions=3)
