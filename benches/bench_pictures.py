"""An epoch with a frame, and with a frame and the film; the network has been trained until its boundaries are many."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benches.conftest import Entry
from benches.contenders import CHUNK, ORIGINAL, Contender, Original, Ours, WrongAnswer, in_chunks
from benches.entries import entries
from benches.job import Job
from benches.method import Variant
from benches.suite import Group, Suite
from engine import frame
from engine.encoder import FrameWriter, PictureEncoder
from engine.film import Film, count_frames
from kernels import reference

TRAINED = Job(trained=2000)
NAMES = (ORIGINAL, "eager", "cpu", "triton")
# Enough to fill the queues: a turn is then the pace at which frames leave.
FRAMES = 8


def folder(suite: Suite) -> Path:
    """A folder that lasts as long as the suite's run."""
    return Path(suite.resources.enter_context(tempfile.TemporaryDirectory()))


def pictures(suite: Suite, job: Job, name: str, film: bool = False) -> Variant:
    """Epochs with a frame each."""
    made, place = suite.contender(job, name), folder(suite)
    if isinstance(made, Original):
        baseline, pixels, path = made.baseline, job.picture.pixels, place / "frame.png"
        baseline.frame(pixels, path)
        check_prediction(made, path)

        def originals() -> None:
            made.epoch()
            baseline.frame(pixels, path)

        return Variant(originals, made.threads)
    assert isinstance(made, Ours)
    path = place / "checked.png"
    checked = writer(job, place / "checked.mp4")
    put(made, checked, path)
    put(made, checked, path)
    checked.close()
    check_prediction(made, path)
    if count_frames(place / "checked.mp4") != 2:
        raise WrongAnswer("a film of two frames has another number of them")
    out = writer(job, place / "film.mp4" if film else None)
    suite.resources.callback(out.close)

    def ours() -> None:
        for number in range(FRAMES):
            made.epoch()
            put(made, out, place / f"{number}.png")
        out.drain()

    return Variant(ours, made.threads, FRAMES, calls=1)


def filmed(suite: Suite, job: Job, name: str) -> Variant:
    """Epochs with a frame each, which the film takes too."""
    return pictures(suite, job, name, film=True)


def writer(job: Job, film: Path | None) -> FrameWriter:
    """What a run of ours hands its frames to."""
    size = 3 * job.picture.width, job.picture.height
    composer = frame.Composer(job.picture, job.split)
    return FrameWriter(composer, PictureEncoder("png"), Film(film, *size) if film else None)


def put(made: Ours, out: FrameWriter, path: Path) -> None:
    """Draws a frame and hands it over."""
    picture, config = made.job.picture, made.job.config
    with torch.inference_mode():
        drawing = frame.draw(made.backend, picture.width, picture.height, config.chunk_size)
    out.put(drawing, frame.caption(config, made.backend.state.epoch, (0.1, 0.1)), path)


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
        lambda part: reference.evaluate(stack, made.job.state().coefficients, part, network.slope),
        torch.stack((x.reshape(-1), y.reshape(-1))).double(), CHUNK,
    )  # fmt: skip
    exact = (255 * outputs).clamp(0, 255).view(height, width).numpy()
    found = np.asarray(Image.open(path).convert("RGB"))[:, width : 2 * width].astype(np.float64)
    off = np.abs(found - np.floor(exact)[:, :, None]).max()
    if off > 1:
        raise WrongAnswer(f"a pixel of the prediction is {off:.0f} levels of gray off")


def picture_alone(suite: Suite, job: Job) -> Variant:
    """The PNG encoder on a frame that is there."""
    pixels, encoder = still(job), PictureEncoder("png")
    return Variant(lambda: encoder.encode(pixels))


def film_alone(suite: Suite, job: Job) -> Variant:
    """The film's encoder on a frame that is there."""
    pixels, film = still(job), Film(folder(suite) / "alone.mp4", 3 * job.picture.width, job.picture.height)
    suite.resources.callback(film.close)
    return Variant(lambda: film.append(pixels), calls=FRAMES)


def still(job: Job) -> np.ndarray:  # type: ignore[type-arg]
    """A frame of three targets."""
    return np.ascontiguousarray(np.repeat(np.tile(job.picture.pixels, (1, 3))[:, :, None], 3, axis=2))


GROUPS = [
    Group("epoch with a frame", TRAINED, NAMES, pictures, limit=picture_alone, turns=0.4),
    Group("epoch with a frame and the film", TRAINED, NAMES, filmed, limit=film_alone, turns=0.4),
]


@pytest.mark.parametrize(("group", "name"), entries(GROUPS))
def bench_pictures(entry: Entry, group: Group, name: str) -> None:
    """A contender's turns."""
    entry(group, name)
