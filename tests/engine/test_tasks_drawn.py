"""Pictures of every task: drawn in every way, of a sweep's members, on a device, in a film."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from draw_poly.engine.config import Config
from draw_poly.engine.training.training import Training
from tests.conftest import INTERPRETED, Program, untimed
from tests.engine.test_tasks import frame, table

if TYPE_CHECKING:
    from tests.simulated import Machine


def test_members_of_every_task_are_the_runs_of_their_flags(program: Program, tmp_path: Path, pure: Path) -> None:
    words = ["-i", pure, "--seed", 1, "-e", 4]
    done = program(*words, "--vary", "task=gray,rgb,classes", "--vary", "learning-rate=0.001,0.01")
    assert done.status == 0, done.log
    [folder] = (tmp_path / "out" / "results").glob("sweep_*")
    for number, task in ((1, "gray"), (3, "rgb"), (5, "classes")):
        [member] = folder.glob(f"{number:04d}_*")
        assert program(*words, "--task", task, "--learning-rate", 0.001, folder=task).status == 0
        tables = [next(place.glob("*/metrics.csv")) for place in (member, tmp_path / task / "results")]
        losses = [[(row["task"], row["validation"]) for row in untimed(path)] for path in tables]
        assert losses[0] == losses[1]
        assert tables[0].read_text().splitlines()[0] == tables[1].read_text().splitlines()[0]
    sheet = np.asarray(Image.open(folder / "sheet.png")).astype(int)
    assert (np.ptp(sheet, axis=2) > 60).mean() > 0.05  # tiles in colour


@pytest.mark.parametrize("task", ["rgb", "classes"])
def test_members_have_frames_in_colour(program: Program, tmp_path: Path, pure: Path, task: str) -> None:
    words = ["-i", pure, "--task", task, "--seed", 1, "-e", 2, "--save-interval", 2]
    done = program(*words, "--vary", "learning-rate=0.001,0.01", "--member-frames")
    assert done.status == 0, done.log
    assert program(*words, "--learning-rate", 0.01, folder="alone").status == 0
    [member] = (tmp_path / "out" / "results").glob("sweep_*/0002_*")
    [path] = (member / "snapshots").glob("*_epoch_000002.png")
    theirs = frame(tmp_path / "alone", 2)
    ours = np.asarray(Image.open(path))
    assert ours.shape == theirs.shape
    assert (ours == theirs).mean() > 0.8  # a run's own boundaries are exact, and so are a member's


@pytest.mark.parametrize("task", ["rgb", "classes"])
def test_the_film_is_the_frames(program: Program, tmp_path: Path, pure: Path, task: str) -> None:
    import av

    assert program("-i", pure, "--task", task, "--seed", 1, "-e", 2).status == 0
    [film] = (tmp_path / "out" / "results").glob("*.mp4")
    with av.open(str(film)) as opened:
        frames = [one.to_ndarray(format="rgb24") for one in opened.decode(video=0)]
    assert len(frames) == 3
    expected = frame(tmp_path / "out", 2)
    assert frames[-1].shape == expected.shape
    # Colour differences are of four pixels each, and there are points of one.
    assert np.abs(frames[-1].astype(int) - expected)[: expected.shape[0] // 2, :80].mean() < 16


@INTERPRETED
@pytest.mark.parametrize("task", ["rgb", "classes"])
def test_a_device_learns_and_draws_as_the_cpu_does(
    program: Program, cuda: "Machine", tmp_path: Path, pure: Path, task: str
) -> None:
    words = ["-i", pure, "--task", task, "-s", "[4]*2", "-p", 40, "-b", 16, "-e", 3, "--seed", 1, "--regions", "off"]
    found = []
    for name, rest in (("device", ["--device", "auto"]), ("host", ["--backend", "eager"])):
        done = program(*words, *rest, folder=name)
        assert done.status == 0, done.log
        found.append(table(tmp_path / name)[-1])
    assert "gradient_kernel" in cuda.launches
    for name in ("task", "validation"):
        assert float(found[0][name]) == pytest.approx(float(found[1][name]), rel=1e-4)
    drawn = [frame(tmp_path / name, 3).astype(int) for name in ("device", "host")]
    assert (np.abs(drawn[0] - drawn[1]) <= 1).mean() > 0.99


@pytest.mark.parametrize("backend", ["cpu", "eager"])
@pytest.mark.parametrize("task", ["rgb", "classes"])
def test_every_way_to_draw_gives_the_same_picture(
    program: Program, tmp_path: Path, pure: Path, task: str, backend: str
) -> None:
    """Tiles told by their corners, and every pixel evaluated, which a picture smaller than a tile is."""
    from draw_poly.engine.backends import select
    from draw_poly.engine.pictures.drawing import AdaptiveRasterizer
    from draw_poly.engine.pictures.select import rasterizer_for

    config = Config("x", "[9]*3", 3, task=task, points=500, batch_size=100, seed=1, backend=backend, device="cpu")
    training = Training.fresh(config, np.asarray(Image.open(pure)))
    list(training)
    kind = select.choose(config, torch.device("cpu"))[0]
    made = kind(training.backend.state, config)
    with torch.inference_mode():
        tiled = rasterizer_for(made, 90, 70, 1000).draw()
        whole = AdaptiveRasterizer(made, 90, 70, 1000, tile=1).draw()
    assert np.abs(tiled.levels.astype(int) - whole.levels).max() <= 1
    assert tiled.polytopes == whole.polytopes
    if task == "classes":
        assert tiled.classes is not None
        assert whole.classes is not None
        assert (tiled.classes != whole.classes).mean() < 0.001
        assert (tiled.lowest, tiled.highest) == (whole.classes.min(), whole.classes.max())
