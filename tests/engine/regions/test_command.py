"""`draw-poly regions`: every file it makes is read back, and says what the subdivision says."""

import csv
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import av
import numpy as np
import pytest
import torch
from PIL import Image

from draw_poly import cli
from draw_poly.engine.regions.creases import creases
from draw_poly.engine.regions.dive import windows
from draw_poly.engine.regions.options import RegionsOptions
from draw_poly.engine.regions.source import load
from draw_poly.kernels import cpu
from draw_poly.kernels.spec import Network
from tests.conftest import Program

WINDOW = (0.25, 0.5, 0.75, 0.875)


@pytest.fixture
def sketches() -> None:
    """Plots are drawn here."""


@pytest.fixture
def trained(program: Program, tmp_path: Path) -> Path:
    assert program("--seed", 1, "--no-film", "--save-interval", 4, "--checkpoint-interval", 2).status == 0
    return tmp_path / "out" / "results"


def regions(*words: object) -> int:
    try:
        return cli.main(["regions", *map(str, words)])
    except SystemExit as stop:
        return int(stop.code or 0)


def test_every_format_tells_the_same(trained: Path, tmp_path: Path) -> None:
    place = tmp_path / "made"
    words = ("--window", ",".join(map(str, WINDOW)), "--formats", "svg", "npz", "geojson", "csv", "--creases")
    assert regions(trained, "-o", place, *words) == 0
    source = load(str(trained))
    assert source.epoch == 4  # the newest of a folder
    found = cpu.subdivide(source.network, source.parameters, WINDOW)
    made = {path.suffix: path for path in place.iterdir() if "creases" not in path.name}

    arrays = np.load(made[".npz"])
    assert set(arrays) >= {"places", "origin", "following", "twin", "face", "label", "first", "patterns", "window"}
    for name in set(arrays) - {"window", "widths"}:
        assert np.array_equal(arrays[name], getattr(found, name))
    assert arrays["window"].tolist() == list(WINDOW)

    rows = list(csv.DictReader(io.StringIO(made[".csv"].read_text())))
    assert [float(row["area"]) for row in rows] == found.areas.tolist()
    assert [int(row["sides"]) for row in rows] == found.sides.tolist()
    assert len({row["pattern"] for row in rows}) == found.cells

    features = json.loads(made[".geojson"].read_text())["features"]
    for cell, one in enumerate(features):
        (ring,) = one["geometry"]["coordinates"]
        assert ring[0] == ring[-1]
        assert np.array_equal(ring[:-1], found.polygon(cell))
        assert one["properties"]["area"] == found.areas[cell]

    tree = ElementTree.parse(made[".svg"]).getroot()
    space = "{http://www.w3.org/2000/svg}"
    groups = {group.get("id"): group for group in tree.findall(f"{space}g")}
    assert list(groups) == ["cells", "layer-1", "layer-2", "layer-3"]
    assert len(groups["cells"]) == found.cells
    label = "{http://www.inkscape.org/namespaces/inkscape}groupmode"
    assert all(group.get(label) == "layer" for group in groups.values())
    drawn = sum(path.get("d", "").count("M") for name in list(groups)[1:] for path in groups[name])
    assert drawn == (found.label[found.edges] >= 0).sum()
    assert "non-scaling-stroke" in made[".svg"].read_text()
    first = next(iter(groups["cells"])).get("d", "")[1:-1].split()
    corner = np.array([tuple(map(float, pair.split(","))) for pair in first]) / 2000 + WINDOW[:2]
    assert corner == pytest.approx(found.polygon(0), abs=1e-9)

    assert Image.open(next(place.glob("*creases.png"))).size[0] > 100
    lines = list(csv.DictReader(next(place.glob("*creases.csv")).open()))
    assert len(lines) == 5


@pytest.mark.parametrize(
    ("weights", "angle", "offset"), [((0, 2), np.pi / 2, 0.25), ((0, -2), np.pi / 2, -0.25), ((-1, 0), 0, -0.5)]
)
def test_a_crease_is_its_neurons_line(weights: tuple[float, float], angle: float, offset: float) -> None:
    found = creases(Network((2, 1, 1)), np.array([*weights, -0.5, 1, 0], float))
    assert found.angle[0] == pytest.approx(angle)
    assert found.offset[0] == pytest.approx(offset)
    assert found.norm[0] == np.hypot(*weights)
    point = np.array([np.cos(angle), np.sin(angle)]) * offset  # is on the line
    assert point @ weights - 0.5 == pytest.approx(0)


def test_a_neuron_without_weights_has_no_crease() -> None:
    found = creases(Network((2, 1, 1)), np.array([0, 0, 1, 1, 0], float))
    assert np.isnan(found.angle[0])
    assert np.isnan(found.offset[0])


def test_a_dive_ends_in_the_window_that_was_asked_for(trained: Path, tmp_path: Path) -> None:
    words = ("--animate", "0.3,0.7", "--frames", 5, "--depth", "1e-4", "--size", 65)
    assert regions(trained, "-o", tmp_path / "made", *words) == 0
    (film,) = (tmp_path / "made").glob("*-dive.mp4")
    with av.open(str(film)) as content:
        frames = [frame.to_ndarray(format="rgb24") for frame in content.decode(video=0)]
    assert len(frames) == 5
    assert frames[0].shape == (66, 66, 3)
    seen = windows(RegionsOptions("x", animate=(0.3, 0.7), frames=5, depth=1e-4))
    assert seen[0] == pytest.approx((0, 0, 1, 1))
    assert seen[-1] == pytest.approx((0.29995, 0.69995, 0.30005, 0.70005))
    for left, bottom, right, top in seen:
        assert left < 0.3 < right
        assert bottom < 0.7 < top


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere",), "no checkpoint"),
        (("{}", "--window", "0,0,0,1"), "degenerate"),
        (("{}", "--window", "0,0,1"), "four finite numbers"),
        (("{}", "--window", "a"), "numbers with commas between"),
        (("{}", "--formats", "pdf"), "svg, npz, geojson, csv"),
        (("{}", "--most-regions", 1), "more than 1 regions"),
        (("{}", "--animate", "1"), "two numbers"),
        ((), "required"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[object, ...], said: str
) -> None:
    capsys.readouterr()
    given = [str(word).format(trained) for word in words]
    assert regions(*given, "-o", tmp_path / "made") == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1


def test_parameters_that_are_not_finite_are_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = trained.glob("*_epoch_000003.pt")
    content = torch.load(path, weights_only=False)
    content["model_state_dict"]["network.0.weight"][0, 0] = float("nan")
    torch.save(content, path)
    capsys.readouterr()
    assert regions(path, "-o", tmp_path / "made") == 2
    assert "not finite" in capsys.readouterr().err
