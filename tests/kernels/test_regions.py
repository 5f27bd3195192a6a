"""Exact subdivisions: against rational numbers, clipping, points at random, and what holds of any planar map."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from draw_poly.kernels import cpu, reference
from draw_poly.kernels.cpu import regions as module
from draw_poly.kernels.cpu.regions import Regions
from draw_poly.kernels.spec import Activation, Network, leaky_relu
from draw_poly.kernels.spec.subdivision import Subdivision, TooManyRegions
from tests.conftest import slow
from tests.kernels.planar import check
from tests.kernels.region_networks import KINDS, Numbers, draw, exact_regions

Pattern = tuple[bool, ...]


def patterns(found: Subdivision) -> list[Pattern]:
    bits, word = [], 0
    for width in found.widths:
        for neuron in range(width):
            bits.append(found.patterns[:, word + neuron // 64] >> np.uint64(neuron % 64) & np.uint64(1))
        word += (width + 63) // 64
    return [tuple(map(bool, row)) for row in np.array(bits).T.reshape(found.cells, -1).tolist()]


def forward(network: Network, parameters: Numbers, points: Numbers) -> tuple[Numbers, list[Pattern]]:
    """Outputs and patterns of points (points, 2), in float64."""
    hidden, bits = points.T, []
    for weight, bias in reference.layers(torch.from_numpy(parameters), network):
        sums = weight.numpy() @ hidden + bias.numpy()
        hidden = np.where(sums > 0, sums, network.slope * sums)
        bits.append(sums > 0)
    return sums, [tuple(row) for row in np.concatenate(bits[:-1]).T.tolist()]


def inside(found: Subdivision, cell: int, points: Numbers) -> Numbers:
    """How far points (points, 2) are inside of a cell: the least distance to its sides, below 0 outside."""
    corners = found.polygon(cell)
    along = np.roll(corners, -1, 0) - corners
    apart = points[:, None] - corners
    cross = along[:, 0] * apart[..., 1] - along[:, 1] * apart[..., 0]
    least: Numbers = (cross / np.hypot(*along.T)).min(1)
    return least


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [4, slow(500)])
def test_a_subdivision_is_a_planar_map_that_fills_the_window(kind: str, count: int) -> None:
    generator = np.random.default_rng(KINDS.index(kind))
    for _ in range(count):
        network, parameters = draw(kind, generator)
        builder = Regions(network)
        check(builder.subdivide(parameters))
        assert builder.unpaired == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, slow(12)])
def test_the_cells_are_those_of_rational_arithmetic(kind: str, count: int) -> None:
    generator = np.random.default_rng(100 + KINDS.index(kind))
    for _ in range(count):
        network, parameters = draw(kind, generator, deepest=3, widest=6)
        found = cpu.subdivide(network, parameters)
        exact = exact_regions(network, parameters)
        areas = dict(zip(patterns(found), found.areas.tolist(), strict=True))
        there = {pattern: float(area) for pattern, area in exact.items()}
        for pattern in areas.keys() | there.keys():  # those of one alone are too small to count
            assert abs(areas.get(pattern, 0.0) - there.get(pattern, 0.0)) < 2e-14


@pytest.mark.parametrize("kind", ["generic", "no biases"])
@pytest.mark.parametrize("window", [(0.0, 0.0, 1.0, 1.0), (-1.5, 0.25, 2.0, 0.75)])
def test_the_reference_finds_the_same(kind: str, window: tuple[float, float, float, float]) -> None:
    network, parameters = draw(kind, np.random.default_rng(3), deepest=3)
    found, plain = cpu.subdivide(network, parameters, window), reference.subdivide(network, parameters, window)
    check(found, (window[2] - window[0]) * (window[3] - window[1]))
    ours = {pattern: cell for cell, pattern in enumerate(patterns(found))}
    theirs = {cell.pattern: cell for cell in plain}
    assert ours.keys() == theirs.keys()
    for pattern, cell in ours.items():
        assert found.areas[cell] == pytest.approx(theirs[pattern].area, abs=1e-12)
        assert found.maps[cell] == pytest.approx(theirs[pattern].map, abs=1e-12)


@pytest.mark.parametrize(
    ("widths", "points"), [((7, 130, 5), 20_000), slow((10,) * 8, 1_000_000), slow((256, 70), 20_000)]
)
def test_a_points_pattern_and_output_are_its_cells(widths: tuple[int, ...], points: int) -> None:
    generator = np.random.default_rng(8)
    network = Network((2, *widths, 2))
    parameters = np.concatenate(
        [part for out, into in network.shapes for part in
         (generator.normal(size=out * into) * (2 / into) ** 0.5, generator.normal(size=out) * 0.1)]
    )  # fmt: skip
    found = cpu.subdivide(network, parameters)
    check(found)
    places = generator.random((points, 2))
    outputs, of_points = forward(network, parameters, places)
    cells = {pattern: cell for cell, pattern in enumerate(patterns(found))}
    mine = np.array([cells.get(pattern, -1) for pattern in of_points])
    assert (mine < 0).sum() <= points * 1e-4  # cells of no area have points within rounding of a wall
    assert (mine < 0).sum() == 0 or found.cells_contracted
    there = np.flatnonzero(mine >= 0)
    maps = found.maps[mine[there]]
    values = np.einsum("pok,pk->op", maps, np.c_[places[there], np.ones(len(there))])
    assert np.abs(values - outputs[:, there]).max() < 1e-12
    for cell in generator.choice(found.cells, 20):
        of_cell = places[mine == cell]
        if len(of_cell):
            assert inside(found, cell, of_cell).min() > -1e-12
    # A centre lies in its own cell.
    big = found.areas > 1e-9
    _, of_centres = forward(network, parameters, found.centres)
    assert [cells[pattern] for pattern, there in zip(of_centres, big, strict=True) if there] == np.flatnonzero(
        big
    ).tolist()


def test_labels_name_the_neuron_whose_wall_an_edge_is() -> None:
    network, parameters = draw("generic", np.random.default_rng(11), deepest=3)
    found = cpu.subdivide(network, parameters)
    signs = np.array(patterns(found))
    inner = found.edges[found.label[found.edges] >= 0]
    left, right = found.face[inner], found.face[found.twin[inner]]
    differing = signs[left] != signs[right]
    for row, label in zip(differing, found.label[inner], strict=True):
        assert row.nonzero()[0].tolist() == [label]
        layer, neuron = found.neuron(int(label))
        assert sum(found.widths[:layer]) + neuron == label
    outer = found.edges[found.label[found.edges] < 0]
    assert (found.face[found.twin[outer]] == -1).all()
    middles = (found.places[found.origin[outer]] + found.places[found.origin[found.following[outer]]]) / 2
    for label, (x, y) in zip(found.label[outer], middles, strict=True):
        assert [y == 0, x == 1, y == 1, x == 0][-1 - label]


def test_windows_that_tile_the_square_add_up() -> None:
    network, parameters = draw("generic", np.random.default_rng(4), deepest=4)
    whole = cpu.subdivide(network, parameters)
    together: dict[Pattern, float] = {}
    cuts = [0.0, 0.3, 0.71, 1.0]
    for left, right in pairwise(cuts):
        for bottom, top in pairwise(cuts):
            part = cpu.subdivide(network, parameters, (left, bottom, right, top))
            check(part, (right - left) * (top - bottom))
            for pattern, area in zip(patterns(part), part.areas.tolist(), strict=True):
                together[pattern] = together.get(pattern, 0.0) + area
    for pattern, area in zip(patterns(whole), whole.areas.tolist(), strict=True):
        assert together.pop(pattern, 0.0) == pytest.approx(area, abs=1e-13)
    assert sum(together.values()) < 1e-12


def test_a_window_of_any_size_shows_the_same_corner() -> None:
    """Where the walls of a first layer cross, they do so in any window around, as sharply."""
    network = Network((2, 2, 1))
    x, y = 0.3, 0.7
    parameters = np.array([1.0, 2.0, 3.0, -1.0, -x - 2 * y, y - 3 * x, 1.0, 1.0, 0.0])
    for size in (1e-1, 1e-5, 1e-9, 1e-13):
        found = cpu.subdivide(network, parameters, (x - size, y - size, x + size, y + size))
        assert found.cells == 4
        assert found.areas.sum() == pytest.approx(4 * size**2, rel=1e-2 if size < 1e-12 else 1e-6)


def test_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(5)
    network = Network((2, 48, 48, 48, 1))
    parameters = generator.normal(size=network.size) * 0.3
    monkeypatch.setattr(module, "threads_for", lambda operations: 1)
    alone = cpu.subdivide(network, parameters)
    monkeypatch.setattr(module, "threads_for", lambda operations: 3)
    together = cpu.subdivide(network, parameters)
    monkeypatch.setattr(module, "WIDE", 1000)
    narrow = cpu.subdivide(network, parameters)
    assert alone.cells > 1000
    for other in (together, narrow):
        for name in ("places", "origin", "following", "twin", "face", "label", "patterns", "areas", "maps"):
            assert np.array_equal(getattr(alone, name), getattr(other, name)), name
        assert alone.undecided == other.undecided


def test_room_grows_and_is_kept_and_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    network, parameters = draw("generic", np.random.default_rng(6), deepest=4)
    whole = cpu.subdivide(network, parameters)
    monkeypatch.setattr(module, "LEAST_ROOM", 4)
    grown = Regions(network)
    for _ in range(2):
        assert np.array_equal(grown.subdivide(parameters).areas, whole.areas)
    with pytest.raises(TooManyRegions, match=f"more than {whole.cells - 1} regions"):
        Regions(network, most=whole.cells - 1).subdivide(parameters)


def test_undecided_signs_are_counted() -> None:
    network = Network((2, 1, 1, 1))
    # The second neuron is the first's wall once more: its sign there is rounding's.
    parameters = np.array([1.0, 1.0, -1 / 3, 1.0, 0.0, 1.0, 0.0])
    found = cpu.subdivide(network, parameters)
    assert found.undecided > 0
    assert found.cells == 2
    assert cpu.subdivide(network, parameters + 0.1).undecided == 0


@pytest.mark.parametrize(
    ("network", "parameters", "window", "words"),
    [
        (Network((3, 2, 1)), np.zeros(11), (0, 0, 1, 1), "networks of 2 inputs, and this one has 3"),
        (Network((2, 1, 1), Activation("relu2", 0.0, True, False)), np.zeros(5), (0, 0, 1, 1), "not piecewise affine"),
        (Network((2, 1, 1)), np.array([1, 1, np.nan, 1, 1]), (0, 0, 1, 1), "not finite"),
        (Network((2, 1, 1)), np.zeros(4), (0, 0, 1, 1), r"shape \(4,\)"),
        (Network((2, 1, 1, 1)), np.full(7, 1e200), (0, 0, 1, 1), "overflow"),
        (Network((2, 1, 1)), np.zeros(5), (0, 0, 0, 1), "degenerate"),
        (Network((2, 1, 1)), np.zeros(5), (0, 0, np.inf, 1), "finite"),
        (Network((2, 1, 1)), np.zeros(5), (1, 1, 1 + 1e-15, 2), "tells no points apart"),
    ],
)  # fmt: skip
def test_what_has_no_regions_is_refused(network, parameters, window, words) -> None:  # type: ignore[no-untyped-def]
    for package in (cpu, reference):
        with pytest.raises(ValueError, match=words):
            package.subdivide(network, parameters, window)


@pytest.mark.parametrize("widths", [(), (3,)])
def test_a_network_without_walls_is_one_cell(widths: tuple[int, ...]) -> None:
    network = Network((2, *widths, 1), leaky_relu(0.0))
    found = cpu.subdivide(network, np.ones(network.size))
    assert (found.cells, found.areas.tolist()) == (1, [1.0])
    assert patterns(found) == [(True,) * len(widths and range(3))]
