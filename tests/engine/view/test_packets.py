"""What pages are drawn from: a window's arrays, the ages of its regions, and a file's small form of them."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from draw_poly.engine.regions.lives import Lives
from draw_poly.engine.view.ages import UNKNOWN, Ages
from draw_poly.engine.view.compact import FAR, compact, compressed
from draw_poly.engine.view.history import State
from draw_poly.engine.view.packet import Arrays, Target, of_window, packed
from draw_poly.kernels.cpu.regions import Regions
from tests.engine.view.conftest import EPOCHS, explored
from tests.kernels.region_networks import KINDS, draw

WINDOW = (0.25, 0.5, 0.5, 0.625)


def unpacked(block: bytes) -> Arrays:
    """What `scene.js` reads of a block."""
    length = int.from_bytes(block[:4], "little")
    place, found = 4 + length, {}
    for name, kind, count in json.loads(block[4:place]):
        place += -place % 8
        found[name] = np.frombuffer(block, kind, count, place)
        place += found[name].nbytes
    assert place == len(block)
    return found


def rejoined(it: Arrays) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The corners and labels that `restored.js` finds."""
    turns, far = iter(it["turns"].tolist()), iter(it["far"].tolist())
    edges: list[list[int]] = [[] for _ in range(len(it["places"]) // 2)]
    corners: list[int] = []
    labels: list[int] = []
    known = 0
    of: dict[tuple[int, int], int] = {}
    for count in it["sides"].tolist():
        ring: list[int] = []
        for place in range(count):
            turn = next(turns) if place else FAR
            step = next(far) if turn == FAR else 0
            if turn not in (0, FAR):
                ring.append(edges[ring[-1]][-turn])
            elif step:
                ring.append(known - step)
            else:
                ring.append(known)
                known += 1
        for before, here in zip([ring[-1], *ring], ring, strict=False):
            if here in edges[before]:
                edges[before].remove(here)
            else:
                edges[here].append(before)
        for place, here in enumerate(ring):
            after = ring[(place + 1) % count]
            of[here, after] = of.get((after, here), it["labels"][len(labels)])
            labels.append(of[here, after])
        corners += ring
    return np.array(corners), np.array(labels)


def test_a_block_is_read_back() -> None:
    arrays: Arrays = {"a": np.arange(3, dtype=np.uint8), "b": np.array([0.5, 1e-300]), "none": np.empty(0, np.uint16)}
    found = unpacked(packed(arrays))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)


@pytest.mark.parametrize("window", [(0.0, 0.0, 1.0, 1.0), WINDOW, (0.3, 0.4, 0.3 + 1e-12, 0.4 + 1e-12)])
def test_a_window_is_that_of_its_network(trained: Path, window: tuple[float, float, float, float]) -> None:
    run = explored(trained)
    state = run.history.state(6)
    found = Regions(state.network).subdivide(state.parameters, window)
    it = unpacked(run.packet(6, window))
    assert it["sides"].tolist() == found.sides.tolist()
    left, top, right, bottom = it["window"]
    places = it["places"].reshape(-1, 2) * (right - left, bottom - top) + (left, top)
    begins = np.concatenate(([0], np.cumsum(it["sides"].astype(int))))
    for cell in range(found.cells):
        ring = places[it["corners"][begins[cell] : begins[cell + 1]]]
        assert ring == pytest.approx(found.polygon(cell), abs=1e-15)
    _, halves = found.rings
    assert np.array_equal(it["labels"], found.label[halves])
    assert np.array_equal(it["maps"].reshape(found.maps.shape), found.maps)
    assert np.array_equal(it["patterns"].view(np.uint64).reshape(found.patterns.shape), found.patterns)


def test_the_image_is_sampled_at_its_pixels_own_places() -> None:
    target = Target(np.arange(6, dtype=np.uint8).reshape(2, 3))
    whole = target.sampled((0.0, 0.0, 1.0, 1.0))
    assert whole.shape == (171, 256)
    # Pixel (1, 1) stands at (1/3, 1/2), and is the nearest for half a pixel around it.
    assert set(target.sampled((0.17, 0.26, 0.49, 0.74)).ravel().tolist()) == {4}
    coloured = Target(np.zeros((2, 3, 3), np.uint8)).sampled(WINDOW)
    assert coloured.shape[2] == 3


def test_ages_are_those_of_lives_that_are_followed(trained: Path) -> None:
    run = explored(trained)
    lives = None
    for epoch in EPOCHS:
        state = run.history.state(epoch)
        found = Regions(state.network).subdivide(state.parameters)
        lives = Lives.begin(found, epoch) if lives is None else lives.follow(Lives.begin(found, epoch))[0]
        assert np.array_equal(run.ages.born(epoch, found), lives.born)
        part = Regions(state.network).subdivide(state.parameters, WINDOW)
        by_pattern = {row.tobytes(): born for row, born in zip(found.patterns, lives.born.tolist(), strict=True)}
        expected = [by_pattern.get(row.tobytes(), UNKNOWN) for row in part.patterns]
        assert run.ages.born(epoch, part).tolist() == expected


def test_an_age_that_was_not_yet_found_is_not_known(trained: Path) -> None:
    run = explored(trained)
    state = run.history.state(6)
    found = Regions(state.network).subdivide(state.parameters)
    assert set(Ages(1000).born(6, found).tolist()) == {UNKNOWN}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(5))
def test_a_small_form_holds_the_same_cells(kind: str, seed: int) -> None:
    network, parameters = draw(kind, np.random.default_rng(seed))
    state = State(7, network, parameters)
    found = Regions(network).subdivide(parameters)
    it = compact(found, state, np.arange(found.cells, dtype=np.int32))
    corners, labels = rejoined(it)
    places = it["places"].reshape(-1, 2)
    begins = np.concatenate(([0], np.cumsum(it["sides"].astype(int))))
    cells = it["born"]  # says here which cell it is
    assert sorted(cells.tolist()) == list(range(found.cells))
    own, halves = found.rings
    for place, cell in enumerate(cells.tolist()):
        ring = corners[begins[place] : begins[place + 1]]
        expected = found.polygon(cell)
        turn = int(np.abs(expected - places[ring[0]]).sum(1).argmin())
        assert places[ring] == pytest.approx(np.roll(expected, -turn, 0), abs=1e-7)
        sides = found.label[halves[own[cell] : own[cell + 1]]]
        assert labels[begins[place] : begins[place + 1]].tolist() == np.roll(sides, -turn).tolist()


def test_a_compressed_block_is_the_packed_one_with_its_bytes_in_planes() -> None:
    arrays: Arrays = {"a": np.array([0x0102, 0x0304], np.uint16), "b": np.array([1.5])}
    found = unpacked(zlib.decompress(compressed(arrays)))
    assert found["a"].tobytes() == bytes([2, 4, 1, 3])
    assert np.array_equal(found["b"], arrays["b"])


def test_a_window_without_an_image_has_none(trained: Path) -> None:
    run = explored(trained)
    state = run.history.state(6)
    assert of_window(Regions(state.network), state, WINDOW, None, None)["target"].size == 0
