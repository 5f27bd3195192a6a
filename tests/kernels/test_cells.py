"""Numbers of whole subdivisions, against their definitions; patterns' hashes; cells as pixels."""

import numpy as np
import pytest

from draw_poly.kernels import cpu
from draw_poly.kernels.cpu.cells import Points, hashes, matched, totals
from draw_poly.kernels.cpu.subdivision.identity import hash_patterns
from draw_poly.kernels.picture.cells import fill_cells, stroke_edges
from draw_poly.kernels.spec import Network, leaky_relu
from draw_poly.kernels.spec.subdivision import Subdivision
from tests.conftest import slow
from tests.kernels.region_networks import KINDS, Numbers, draw
from tests.kernels.test_regions import forward, patterns


def some(seed: int = 3) -> tuple[Network, Numbers, Subdivision]:
    network, parameters = draw("generic", np.random.default_rng(seed), deepest=4)
    return network, parameters, cpu.subdivide(network, parameters)


def test_totals_are_what_they_are_called() -> None:
    network, parameters, found = some()
    got = totals(found)
    inner = found.edges[found.label[found.edges] >= 0]
    layers = found.layers[found.label[inner]]
    assert got.lengths == pytest.approx(np.bincount(layers, found.lengths[inner], len(found.widths)))
    assert got.met.tolist() == np.bincount(found.label[inner], minlength=sum(found.widths)).tolist()
    slopes = np.hypot(found.maps[:, 0, 0], found.maps[:, 0, 1])
    assert got.variation == pytest.approx((slopes * found.areas).sum())
    assert got.energy == pytest.approx((slopes**2 * found.areas).sum())
    corners = np.c_[found.places[found.origin], np.ones(len(found.origin))]
    sides = found.face >= 0
    there = np.einsum("hok,hk->ho", found.maps[found.face[sides]], corners[sides])
    assert found.outputs[found.origin[sides]] == pytest.approx(there, abs=1e-12)
    # An extremum of the exact vertices is one among points around it.
    outputs, _ = forward(network, parameters, found.places)
    on_rim = ((found.places == 0) | (found.places == 1)).any(1)
    turns = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    around = found.places[:, None] + 1e-7 * np.stack((np.cos(turns), np.sin(turns)), 1)
    beside = forward(network, parameters, around.reshape(-1, 2))[0].reshape(len(found.places), -1)
    middle = outputs[0][:, None]
    extreme = ((beside < middle).all(1) | (beside > middle).all(1)) & ~on_rim
    assert got.extrema == extreme.sum()


def test_what_is_flat_has_no_slope_at_all() -> None:
    network = Network((2, 5, 1), leaky_relu(0.0))
    parameters = np.concatenate((np.random.default_rng(2).normal(size=10), np.full(5, -0.1), np.zeros(5), [0.7]))
    got = totals(cpu.subdivide(network, parameters))
    assert (got.variation, got.energy, got.extrema) == (0, 0, 0)


def test_a_peak_is_an_extremum() -> None:
    # Two slopes each way: -|x - 0.5| - |y - 0.5| by four ReLU-like neurons of slope 0.01.
    weights = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], float)
    parameters = np.concatenate((weights.ravel(), [-0.5, 0.5, -0.5, 0.5], -np.ones(4), [0.0]))
    assert totals(cpu.subdivide(Network((2, 4, 1)), parameters)).extrema == 1


@pytest.mark.parametrize("seed", [3, 5])
def test_distances_are_those_to_the_nearest_zero_of_a_neuron(seed: int) -> None:
    network, parameters, found = some(seed)
    points = np.random.default_rng(1).random((2, 300))
    distances = Points(points).distances(found)
    cells = {pattern: cell for cell, pattern in enumerate(patterns(found))}
    _, of_points = forward(network, parameters, points.T)
    for point, pattern, distance in zip(points.T, of_points, distances, strict=True):
        image, place, nearest, left = np.eye(2, 3), 0, np.inf, list(pattern)
        for out, into in network.shapes[:-1]:
            weights = parameters[place : place + out * into].reshape(out, into)
            sums = weights @ image
            sums[:, 2] += parameters[place + out * into : place + out * (into + 1)]
            nearest = min(nearest, *(abs(sums @ (*point, 1)) / np.hypot(sums[:, 0], sums[:, 1])))
            bits, left = left[:out], left[out:]
            image = sums * np.where(bits, 1.0, network.slope)[:, None]
            place += out * (into + 1)
        # A zero of a neuron may lie past the window, where there is no cell.
        assert distance >= nearest - 1e-12
        walls = found.polygon(cells[pattern])
        along = np.roll(walls, -1, 0) - walls
        heights = np.abs(along[:, 0] * (point[1] - walls[:, 1]) - along[:, 1] * (point[0] - walls[:, 0]))
        inner = ~((walls == np.roll(walls, -1, 0)) & ((walls == 0) | (walls == 1))).any(1)
        assert distance == pytest.approx((heights / np.hypot(*along.T))[inner].min(), abs=1e-12)
    whole = cpu.subdivide(Network((2, 1)), np.zeros(3))
    assert np.isinf(Points(points).distances(whole)).all()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", KINDS)
def test_points_in_corners_and_on_walls_have_a_distance_of_one_of_their_cells(kind: str, seed: int) -> None:
    generator = np.random.default_rng(seed)
    network, parameters = draw(kind, generator)
    found = cpu.subdivide(network, parameters)
    ends = found.places[found.origin], found.places[found.origin[found.following]]
    at = np.concatenate((found.places, (ends[0] + ends[1]) / 2, generator.random((50, 2)))).clip(0, 1)
    distances = Points(at.T).distances(found)
    best = np.full(len(at), -np.inf)  # of the cells that have the point, up to rounding, the one where it is deepest
    for cell in range(found.cells):
        half, inside, least = found.first[cell], np.full(len(at), np.inf), np.full(len(at), np.inf)
        while True:
            (x, y), along = ends[0][half], ends[1][half] - ends[0][half]
            height = (along[0] * (at[:, 1] - y) - along[1] * (at[:, 0] - x)) / np.hypot(*along)
            inside = np.minimum(inside, height)
            if found.label[half] >= 0:
                least = np.minimum(least, height)
            if (half := found.following[half]) == found.first[cell]:
                break
        best = np.where(inside > -1e-12, np.maximum(best, least), best)
    assert np.nan_to_num(distances, posinf=9) == pytest.approx(np.nan_to_num(best, posinf=9), abs=1e-9)


@pytest.mark.parametrize("count", [10**5, slow(10**7)])
def test_hashes_of_patterns_do_not_collide(count: int) -> None:
    words = np.zeros((count, 2), np.uint64)
    words[:, 0] = np.arange(count) % 4096  # patterns that differ in few bits, as neighbours' do
    words[:, 1] = np.arange(count) // 4096
    made = np.empty((count, 2), np.uint64)
    hash_patterns(words, made)
    for lane in range(2):  # each half alone: of 64 bits, 10^7 collide with a chance of 3e-6
        assert len(np.unique(made[:, lane])) == count
    bits = np.unpackbits(made[:1000].view(np.uint8), axis=1).mean(0)
    assert 0.4 < bits.min() < bits.max() < 0.6


def test_a_pattern_is_found_again() -> None:
    _, _, found = some()
    all_of_them = hashes(found)
    generator = np.random.default_rng(2)
    order = generator.permutation(found.cells)
    assert matched(all_of_them[order], all_of_them)[order].tolist() == list(range(found.cells))
    assert (matched(all_of_them[:5], all_of_them)[5:] == -1).all()
    assert matched(all_of_them[:0], all_of_them).tolist() == [-1] * found.cells


def test_a_pixels_pattern_is_its_cells() -> None:
    network, parameters, found = some()
    height, width = 97, 131
    plane = np.full((height, width), -1, np.int32)
    fill_cells(found.places, found.origin, found.following, found.first, plane)
    assert plane.min() >= 0
    y, x = np.mgrid[:height, :width]
    _, of_pixels = forward(network, parameters, np.stack((x.ravel() / width, y.ravel() / height), 1))
    of_cells = patterns(found)
    differing = [pixel for pixel, cell in enumerate(plane.ravel()) if of_cells[cell] != of_pixels[pixel]]
    assert not differing


def test_a_line_is_dark_where_it_is_and_thin_cells_are_seen() -> None:
    # Two walls a tenth of a pixel apart, at x = 0.5.
    parameters = np.array([1.0, 0.0, 1.0, 0.0, -0.5, -0.5 - 1e-3, 1.0, 1.0, 0.0])
    found = cpu.subdivide(Network((2, 2, 1)), parameters)
    plane = np.zeros((10, 100), np.uint8)
    stroke_edges(found.places, found.origin, found.following, found.twin, found.label, 1.0, plane)
    assert (plane[:, 50] > 225).all()
    assert (plane[:, 51] > 20).all()
    assert not plane[:, :49].any()
    assert not plane[:, 53:].any()
