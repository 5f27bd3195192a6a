"""An epoch with a frame, as a file and in the film; the network has been trained until its boundaries are many."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from benches.conftest import Entry
from benches.contender import CHUNK, Contender, in_chunks
from benches.contenders import ORIGINAL, Original, Ours, WrongAnswer
from benches.entries import entries
from benches.job import Job
from benches.method import Variant
from benches.suite import Group, Suite
from draw_poly.engine.pictures.caption import LossCurves, caption
from draw_poly.engine.pictures.frame import Panels, film_canvas
from draw_poly.engine.pictures.select import rasterizer_for
from draw_poly.engine.record.encoder import Frame, FrameWriter
from draw_poly.engine.record.film import Film, count_frames
from draw_poly.engine.record.ledger import Due
from draw_poly.engine.record.picture_file import PictureWriter
from draw_poly.kernels import reference

TRAINED = Job(trained=2000)
NAMES = (ORIGINAL, "eager", "cpu", "triton")
# Enough to fill the queues: a turn is then the pace at which frames leave.
FRAMES = 16
SHARE = 0.3  # of a run's turns


def folder(suite: Suite) -> Path:
    """A folder that lasts as long as the suite's run."""
    return Path(suite.resources.enter_context(tempfile.TemporaryDirectory()))


@dataclass(frozen=True)
class Pictures:
    """Epochs with a frame each, as a file of a format or none, and in the film or not."""

    format: str
    film: bool

    def __call__(self, suite: Suite, job: Job, name: str) -> Variant:
        """A contender's variant; the original writes PNG files alone."""
        made, place = suite.contender(job, name), folder(suite)
        if isinstance(made, Original):
            return original(made, place / "frame.png")
        assert isinstance(made, Ours)
        check_ours(made, place)
        artist = Artist(made, self.format, place / "film.mp4" if self.film else None)
        suite.resources.callback(artist.close)

        def work() -> None:
            for number in range(FRAMES):
                made.epoch()
                artist.put(place / f"{number}.{self.format}")
            artist.drain()

        return Variant(work, made.threads, FRAMES, calls=1)


def original(made: Original, path: Path) -> Variant:
    """The original's frames, on the training path."""
    made.baseline.frame(made.job.picture.pixels, path)
    check_prediction(made, path)

    def work() -> None:
        made.epoch()
        made.baseline.frame(made.job.picture.pixels, path)

    return Variant(work, made.threads)


def check_ours(made: Ours, place: Path) -> None:
    """Raises WrongAnswer where a frame's file or a film of two is wrong."""
    artist, paths = Artist(made, "png", place / "checked.mp4"), [place / f"checked{number}.png" for number in (1, 2)]
    for path in paths:
        artist.put(path)
    artist.close()
    for path in paths:
        check_prediction(made, path)
    if count_frames(place / "checked.mp4") != 2:
        raise WrongAnswer("a film of two frames has another number of them")


class Artist:
    """Draws a contender's network and hands frames over, as a run does."""

    def __init__(self, made: Ours, format: str, film: Path | None) -> None:
        job = made.job
        size = job.picture.width, job.picture.height
        shared = Panels.of(job.picture, job.split, size)
        self._made, self._config = made, job.config
        self._rasterizer = rasterizer_for(made.backend, *size, job.config.chunk_size)
        self._curves = LossCurves(size[0], job.config)
        self._writer = FrameWriter(
            shared, format, job.config.jpeg_quality, Film(film, *film_canvas(*size)) if film else None
        )
        self.drain, self.close = self._writer.drain, self._writer.close

    def put(self, path: Path) -> None:
        """A frame of the network as it is."""
        epoch = self._made.backend.state.epoch
        values = {"epoch": epoch, "combined": 0.1, "validation": 0.1}
        self._curves.add(epoch, 0.1, 0.1)
        due = Due(epoch, self._made.backend.state.main.parameters[0].clone(), values)
        self._writer.ledger.add(due)
        with torch.inference_mode():
            drawing = self._rasterizer.draw()
        self._writer.put(Frame(drawing, caption(self._config, values, self._curves), path, due))


def check_prediction(made: Contender, path: Path) -> None:
    """Raises WrongAnswer unless a frame's middle panel is the network in float64, to a level of gray."""
    network, flat, width, height = (
        made.job.config.network,
        made.parameters().double(),
        *made.job.picture.pixels.shape[::-1],
    )
    y, x = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing="ij")
    stack = reference.layers(flat, network)
    outputs, _ = in_chunks(
        lambda part: reference.evaluate_one(stack, made.job.state().coefficients[0], part, network.activation),
        torch.stack((x.reshape(-1), y.reshape(-1))).double(), CHUNK,
    )  # fmt: skip
    exact = (255 * outputs).clamp(0, 255).view(height, width).numpy()
    found = np.asarray(Image.open(path).convert("RGB"))[:, width : 2 * width].astype(np.float64)
    off = np.abs(found - np.floor(exact)[:, :, None]).max()
    if off > 1:
        raise WrongAnswer(f"a pixel of the prediction is {off:.0f} levels of gray off")


def picture_alone(format: str) -> Callable[[Suite, Job], Variant]:
    """A frame that is there, encoded and written, on one core."""

    def make(suite: Suite, job: Job) -> Variant:
        pixels, writer, path = still(job), PictureWriter(format, job.config.jpeg_quality), folder(suite) / "frame"
        return Variant(lambda: writer.write(path, pixels))

    return make


def film_alone(suite: Suite, job: Job) -> Variant:
    """A frame that is there, put into a film."""
    pixels = still(job)
    film = Film(folder(suite) / "alone.mp4", pixels.shape[1], pixels.shape[0])
    suite.resources.callback(film.close)
    return Variant(lambda: film.append(pixels), calls=FRAMES)


def still(job: Job) -> NDArray[np.uint8]:
    """A frame of three targets."""
    return np.ascontiguousarray(np.repeat(np.tile(job.picture.pixels, (1, 3))[:, :, None], 3, axis=2))


GROUPS = [
    Group("epoch with a frame as PNG", TRAINED, NAMES, Pictures("png", False), limit=picture_alone("png"), turns=SHARE),
    Group(
        "epoch with a frame as JPEG", TRAINED, NAMES, Pictures("jpg", False), limit=picture_alone("jpg"), turns=SHARE
    ),
    Group("epoch with a frame in the film", TRAINED, NAMES, Pictures("none", True), limit=film_alone, turns=SHARE),
    Group(
        "epoch with a frame as PNG and in the film",
        TRAINED,
        NAMES,
        Pictures("png", True),
        limit=film_alone,
        turns=SHARE,
        quick=False,
    ),
]


@pytest.mark.parametrize(("group", "name"), entries(GROUPS))
def bench_pictures(entry: Entry, group: Group, name: str) -> None:
    """A contender's turns."""
    entry(group, name)
