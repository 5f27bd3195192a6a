"""Frames whose boundaries come from exact regions: lines where walls are, gray as ever, colours that tell a number."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from draw_poly.engine.pictures.region_drawing import walls
from draw_poly.engine.regions.colours import colours, levels, scale
from draw_poly.engine.regions.source import load
from draw_poly.kernels import cpu
from draw_poly.kernels.spec import Network
from tests.conftest import Program

FEW = ("--seed", 1, "--no-film", "--save-interval", 4)


def frames(place: Path) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    return [np.asarray(Image.open(path)) for path in sorted((place / "snapshots").iterdir())]


def test_a_frames_lines_are_the_walls(program: Program, tmp_path: Path) -> None:
    assert program(*FEW, "--regions", "frames").status == 0
    assert program(*FEW, "--regions", "off", folder="pixels").status == 0
    exact, pixels = frames(tmp_path / "out")[-1], frames(tmp_path / "pixels")[-1]
    height, width = 17, 23
    assert np.array_equal(exact[:, width : 2 * width], pixels[:, width : 2 * width])
    source = load(str(tmp_path / "out" / "results"))
    covered = walls(cpu.subdivide(source.network, source.parameters), width, height).astype(int)
    gray = exact[:, width : 2 * width].astype(int)
    red = np.array([255, 0, 0])
    assert np.array_equal(exact[:, :width], gray + ((red - gray) * covered[..., None] >> 8))
    assert covered.max() > 150
    assert (covered == 0).any()


@pytest.mark.parametrize("kind", ["age", "area", "gradient", "output"])
def test_a_regions_colour_tells_what_was_asked_for(program: Program, tmp_path: Path, kind: str) -> None:
    assert program(*FEW, folder="plain").status == 0
    assert program(*FEW, "--regions", 4, "--colour-regions", kind).status == 0
    plain, coloured = (frames(tmp_path / name)[-1] for name in ("plain", "out"))
    assert not np.array_equal(plain[:, :23], coloured[:, :23])
    assert np.array_equal(plain[:, 23:46], coloured[:, 23:46])


def test_colours_that_need_regions_are_refused_without(program: Program) -> None:
    outcome = program("--colour-regions", "area", "--regions", "off")
    assert outcome.status == 2
    assert "--regions" in outcome.log


def test_a_network_too_wide_goes_on_without_and_says_so(program: Program, tmp_path: Path) -> None:
    words = [*FEW, "-s", "[257]", "-e", 1]
    outcome = program(*words)
    assert outcome.status == 0
    assert outcome.log.count("WARNING - Exact regions are not found: layer width 257 is above 256") == 1
    assert not list(tmp_path.rglob("regions.csv"))
    assert program(*words, "--regions", "off", folder="off").status == 0
    assert np.array_equal(frames(tmp_path / "out")[-1], frames(tmp_path / "off")[-1])
    refused = program(*words, "--colour-regions", "area", folder="colours")
    assert refused.status == 2
    assert "--colour-regions area is of exact regions, but layer width 257 is above 256" in refused.log


def test_ages_go_on_over_a_resume(program: Program, tmp_path: Path) -> None:
    words = [*FEW, "--save-interval", 1, "--colour-regions", "age"]
    assert program(*words, "-e", 6, folder="straight").status == 0
    assert program(*words, "-e", 3, folder="resumed").status == 0
    assert program(*words, "-e", 6, "--resume", tmp_path / "resumed" / "results", folder="resumed").status == 0
    ours, theirs = (frames(tmp_path / name) for name in ("resumed", "straight"))
    assert len(ours) == len(theirs) == 7
    panel = slice(0, ours[0].shape[1] // 3)
    assert all(np.array_equal(a[:, panel], b[:, panel]) for a, b in zip(ours, theirs, strict=True))
    assert len({one[:, panel].tobytes() for one in ours}) > 3


def test_past_the_limit_lines_are_drawn_by_pixels(program: Program, tmp_path: Path) -> None:
    assert program(*FEW, "--regions", "frames", "--most-regions", 1).status == 0
    assert program(*FEW, "--regions", "off", folder="pixels").status == 0
    assert np.array_equal(frames(tmp_path / "out")[-1], frames(tmp_path / "pixels")[-1])


def test_levels_are_in_the_order_of_their_numbers() -> None:
    generator = np.random.default_rng(2)
    network = Network((2, 7, 5, 1))
    found = cpu.subdivide(network, generator.normal(size=network.size))
    steep = np.hypot(*found.maps[:, 0, :2].T)
    for kind, values in (("area", found.areas), ("gradient", steep), ("output", None)):
        level = levels(found, kind)
        if values is not None:
            assert (np.diff(level[np.argsort(values)].astype(int)) >= 0).all()
            assert (level.min(), level.max()) == (0, 255)
        assert colours(found, kind).shape == (found.cells, 3)
    born = np.arange(found.cells)
    assert (np.diff(levels(found, "age", born).astype(int)) <= 0).all()
    assert (np.diff(scale().astype(int).sum(1)) >= -1).all()  # dark to light
