"""Runs that the tests of the explorer look at: trained once; who changes one takes a copy."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bokeh.document import Document
from PIL import Image

from draw_poly import cli
from draw_poly.engine.view.catalogue import Catalogue, RunFiles
from draw_poly.engine.view.explored import Explored
from tests.cheaper import PLOTS, sketch

EPOCHS = [0, 2, 3, 4, 6]  # frames every second epoch, checkpoints every third


def train(place: Path, image: Path, *words: object) -> Path:
    """A small run; the folder of its results."""
    base = ["-i", image, "-s", "[6]*3", "-p", 100, "-b", 32, "-e", 6, "--seed", 1, "--device", "cpu", "--quiet"]
    base += ["-o", place / "results", "--snapshot-dir", place / "snapshots", "--no-film", "--snapshot-format", "jpg"]
    with pytest.MonkeyPatch.context() as patch:
        for name in PLOTS:
            patch.setattr(name, sketch)
        assert cli.main([str(word) for word in (*base, *words)]) == 0
    return place / "results"


def draw_image(path: Path) -> Path:
    """An image of 30 x 20 pixels."""
    y, x = np.mgrid[:20, :30]
    Image.fromarray(((x * 11 + y * 5) % 256).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a run with frames, checkpoints and regions; to be read alone."""
    place = tmp_path_factory.mktemp("view")
    return train(place, draw_image(place / "small.png"), "--save-interval", 2, "--checkpoint-interval", 3)


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(trained, tmp_path / "copied"))


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep of four members."""
    place = tmp_path_factory.mktemp("sweep")
    words = ("--vary", "seed=1,2", "--vary", "learning-rate=0.001,0.01")
    (folder,) = train(place, draw_image(place / "small.png"), *words).glob("sweep_*")
    return folder


def run_in(folder: Path) -> RunFiles:
    """The only run in a folder of results."""
    (run,) = Catalogue.of(folder).runs.values()
    return run


def explored(folder: Path) -> Explored:
    """That run, with the ages of its regions."""
    run = Explored(run_in(folder))
    run.ages.follow(run.history)
    run.ages.wait()
    return run


def tick(document: Document) -> None:
    """Has a document without a server do what it has put off, and what it does from time to time."""
    periodic = [one for one in document.session_callbacks if hasattr(one, "period")]
    for one in periodic:
        one.callback()
    for one in document.session_callbacks:
        if one not in periodic:
            document.remove_next_tick_callback(one)
            one.callback()


Tick = Callable[[Document], None]
