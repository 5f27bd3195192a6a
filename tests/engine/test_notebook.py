"""Ten lines of Python: what they train is what the command line does, what they save is gone on with, and is shown."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import nn

import draw_poly
from draw_poly.engine.code.codec import decode
from draw_poly.engine.config import ConfigError
from draw_poly.engine.record.checkpoint_file import CheckpointError
from draw_poly.kernels.regions import Subdivision
from tests.conftest import GOLDEN, Program, untimed
from tests.processes import ROOT

FLAGS: dict[str, Any] = {"points": 100, "batch_size": 32, "seed": 1, "device": "cpu"}
SHAPE = "[5]*3"


def opened(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def test_rows_are_those_of_the_command_line(program: Program, tmp_path: Path, small_image: Path) -> None:
    assert program("--seed", 1, "--no-film", "--save-interval", 100).status == 0
    (path,) = (tmp_path / "out" / "results").glob("*/metrics.csv")
    run = draw_poly.train(small_image, SHAPE, 4, **FLAGS)
    rows = list(run)
    assert rows == run.rows
    assert run.epoch == 4
    assert run.stopped is None
    for row, written in zip(rows, untimed(path), strict=True):
        for name in ("epoch", "task", "validation", "combined"):
            assert float(f"{row[name]:.9g}") == float(written[name])
    (weights,) = (tmp_path / "out" / "results").glob("weights*.txt")
    assert np.loadtxt(weights, dtype=np.float32).tobytes() == run.parameters.tobytes()
    assert not list(tmp_path.glob("*.pt"))


def test_a_path_an_array_and_an_image_are_the_same(small_image: Path) -> None:
    image = Image.open(small_image)
    gray = np.asarray(image)
    given: list[Any] = [small_image, str(small_image), gray, np.repeat(gray[..., None], 3, 2), gray[::-1][::-1], image]
    given.append(image.convert("RGBA"))
    found = [draw_poly.train(one, SHAPE, 2, **FLAGS) for one in given]
    rows = [[{**row, "seconds": 0} for row in run] for run in found]
    assert rows == [rows[0]] * len(given)


@pytest.mark.parametrize(
    "image", [np.zeros((20, 20)), np.zeros((20, 20, 2), np.uint8), np.zeros(400, np.uint8), Image.new("F", (20, 20))]
)
def test_what_is_no_image_is_refused_in_a_sentence(image: Any) -> None:
    with pytest.raises(ConfigError, match="was given: give") as raised:
        draw_poly.train(image, SHAPE, 2, **FLAGS)
    assert "\n" not in str(raised.value)


def test_what_it_saves_goes_on_on_the_command_line(program: Program, tmp_path: Path, small_image: Path) -> None:
    run = draw_poly.train(small_image, SHAPE, 4, **FLAGS)
    for row in run:
        if row["epoch"] == 2:
            break
    place = tmp_path / "out" / "results"
    place.mkdir(parents=True)
    path = run.save(place)
    assert path.name.endswith("_epoch_000001.pt")
    assert [row["epoch"] for row in run] == [3, 4]  # it goes on
    words = ("--seed", 1, "--no-film", "--save-interval", 100)
    outcome = program(*words, "--resume", path)
    assert outcome.status == 0, outcome.log
    assert program(*words, folder="straight").status == 0
    tables = [untimed(next((tmp_path / name / "results").glob("*/metrics.csv"))) for name in ("out", "straight")]
    assert tables[0] == tables[1]
    assert [row["epoch"] for row in tables[0]] == list("1234")
    named = run.save(tmp_path / "mine.pt")
    assert draw_poly.load(named).parameters.tobytes() == run.parameters.tobytes()


def test_a_checkpoint_is_shown_as_its_run(program: Program, tmp_path: Path, small_image: Path) -> None:
    assert program("--seed", 1, "--no-film", "--save-interval", 4, "--regions", "off").status == 0
    frame = np.asarray(
        Image.open(tmp_path / "out" / "snapshots" / "small.png_WzVdKjNfMTAwXzMyXzAuMDAxX2FkYW0=_1_epoch_000004.png")
    )
    run = draw_poly.train(small_image, SHAPE, 4, **FLAGS)
    list(run)
    loaded = draw_poly.load(tmp_path / "out" / "results")
    assert loaded.epoch == 4
    assert loaded.size == (23, 17)
    assert loaded.network == run.network
    for one in (loaded, run):
        coloured, gray = one.picture(boundaries=True), one.picture()
        assert (coloured == frame[:, :23]).all()
        assert (gray == frame[:, 23:46, 0]).all()
        assert (opened(one._repr_png_()) == frame[:, :46]).all()
    assert run.picture(size=(50, 40)).shape == (40, 50)


def test_a_picture_is_of_the_last_finished_epoch_and_changes_nothing(small_image: Path) -> None:
    watched, alone = (draw_poly.train(small_image, SHAPE, 5, **FLAGS) for _ in range(2))
    seen = [watched.picture().tobytes()]
    for _ in watched:
        watched.regions()
        seen.append(watched.picture(boundaries=True).tobytes())
    assert len(set(seen)) == 6
    list(alone)
    assert watched.parameters.tobytes() == alone.parameters.tobytes()


def test_a_term_and_its_code(small_image: Path, tmp_path: Path) -> None:
    from draw_poly.engine.code.source import load

    flags = FLAGS | {"kolmogorov_shape": "[4]", "kolmogorov_weight": 0.01, "kolmogorov_bins": 20}
    run = draw_poly.train(small_image, SHAPE, 3, **flags)
    assert all(row["kolmogorov"] > 0 for row in run)
    source = load(run.save(tmp_path / "a.pt"), None)
    code = source.weights.code()
    assert decode(code.content, "x").network == run.network
    assert run.picture().shape == (17, 23)


def test_regions_are_the_librarys_and_are_drawn(monkeypatch: pytest.MonkeyPatch, small_image: Path) -> None:
    run = draw_poly.train(small_image, SHAPE, 1, **FLAGS)
    found, same = run.regions(), draw_poly.regions(run.network, run.parameters)
    assert isinstance(found, Subdivision)
    assert np.array_equal(found.places, same.places)
    assert found.areas.sum() == pytest.approx(1)
    drawing = found._repr_html_()
    assert drawing.count("<path fill=") == found.cells
    assert "<?xml" not in drawing
    window = run.regions(window=(0.2, 0.2, 0.4, 0.5))
    assert window.areas.sum() == pytest.approx(0.06)
    module = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    assert draw_poly.regions(module, window=(-1, -1, 1, 1)).areas.sum() == pytest.approx(4)
    monkeypatch.setattr("draw_poly.engine.shown.MOST_DRAWN", 1)
    assert "<svg" not in found._repr_html_()


def test_an_originals_checkpoint_is_loaded_too() -> None:
    found = draw_poly.load(GOLDEN / "original_adam_epoch_000009.pt")
    assert found.size == (256, 256)
    assert found.epoch == 10
    assert found.picture().shape == (256, 256)
    with pytest.raises(CheckpointError):
        draw_poly.load("nowhere")


def test_to_import_it_loads_nothing() -> None:
    code = (
        "import sys; before = set(sys.modules); import draw_poly; "
        "assert not {'torch', 'numpy', 'draw_poly.engine'} & (set(sys.modules) - before); "
        "assert {'train', 'load', 'regions', 'sweep'} <= set(dir(draw_poly)); "
        "import draw_poly.cli; assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT.parent, check=False).returncode == 0


def test_names_are_what_they_say() -> None:
    from draw_poly.engine.sweep.notebook import sweep

    assert draw_poly.sweep is sweep
    for name in draw_poly.__all__:
        assert callable(getattr(draw_poly, name))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        draw_poly.nothing  # noqa: B018
