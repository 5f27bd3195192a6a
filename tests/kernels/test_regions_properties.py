"""What holds of any subdivision, whatever shape, scale and steps the weights have: examples are searched for."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from draw_poly.kernels import cpu
from draw_poly.kernels.cpu.cells import hashes
from draw_poly.kernels.cpu.regions import Regions
from draw_poly.kernels.spec import Network, leaky_relu
from tests.kernels.planar import check
from tests.kernels.region_networks import Numbers
from tests.kernels.test_regions import forward, patterns

WIDTHS = st.lists(st.integers(1, 9), min_size=1, max_size=4)
SLOPES = st.sampled_from([0.0, 2.0**-7, 0.01, 0.5, 1.0])
# Weights in steps of a power of two meet exactly; their scale moves walls out of the window, or all into one corner.
STEPS, SCALES = st.sampled_from([1.0, 0.5, 0.25, 2.0**-6, 0.0]), st.sampled_from([1.0, 2.0**-20, 2.0**12, 3e-5, 7e4])
CORNERS = st.tuples(*[st.floats(-2, 2, width=32)] * 2, *[st.floats(2.0**-10, 2, width=32)] * 2)
SEARCH = settings(max_examples=60, deadline=None, derandomize=True, database=None)


@st.composite
def networks(draw: st.DrawFn) -> tuple[Network, Numbers]:
    """A network and its parameters (P,)."""
    network = Network((2, *draw(WIDTHS), draw(st.integers(1, 3))), leaky_relu(draw(SLOPES)))
    step, scale = draw(STEPS), draw(SCALES)
    numbers = draw(arrays(np.float64, network.size, elements=st.floats(-2, 2, width=32)))
    return network, (np.round(numbers / step) * step if step else numbers) * scale


@SEARCH
@given(networks(), CORNERS)
def test_a_subdivision_is_a_planar_map(
    drawn: tuple[Network, Numbers], corner: tuple[float, float, float, float]
) -> None:
    network, parameters = drawn
    left, bottom, width, height = corner
    window = left, bottom, left + width, bottom + height
    builder = Regions(network)
    found = builder.subdivide(parameters, window)
    check(found, (window[2] - window[0]) * (window[3] - window[1]))
    assert builder.unpaired == 0
    assert len(np.unique(hashes(found), axis=0)) == found.cells


@SEARCH
@given(networks(), st.integers(0, 2**32 - 1))
def test_a_points_cell_has_its_pattern_and_its_output(drawn: tuple[Network, Numbers], seed: int) -> None:
    network, parameters = drawn
    found = cpu.subdivide(network, parameters)
    points = np.random.default_rng(seed).random((200, 2))
    outputs, of_points = forward(network, parameters, points)
    cells = {pattern: cell for cell, pattern in enumerate(patterns(found))}
    mine = np.array([cells.get(pattern, -1) for pattern in of_points])
    there = mine >= 0
    # A point whose pattern has no cell lies in one without area, or its signs are within rounding of none.
    assert there.all() or found.cells_contracted or found.undecided
    assert there.sum() >= 150
    values = np.einsum("pok,pk->op", found.maps[mine[there]], np.c_[points[there], np.ones(there.sum())])
    size = 1.0  # of what is added up: outputs may cancel
    for weight, bias in _layers(network, parameters):
        size = np.abs(weight).sum(1).max() * size + np.abs(bias).max()
    assert np.abs(values - outputs[:, there]).max() <= 1e-12 * size


def _layers(network: Network, parameters: Numbers) -> list[tuple[Numbers, Numbers]]:
    found, place = [], 0
    for out, into in network.shapes:
        end = place + out * into
        found.append((parameters[place:end].reshape(out, into), parameters[end : end + out]))
        place = end + out
    return found
