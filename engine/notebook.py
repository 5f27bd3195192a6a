"""Training in a few lines of Python, without files but those that are asked for; and a checkpoint looked at."""

import dataclasses
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from draw_poly.engine.backends import select as backend
from draw_poly.engine.code.source import load as load_source
from draw_poly.engine.config import Config, ConfigError
from draw_poly.engine.data import image_file
from draw_poly.engine.data.image import Picture
from draw_poly.engine.files import Files
from draw_poly.engine.model.state import State
from draw_poly.engine.pictures.drawing import Pixels
from draw_poly.engine.prepare.prepare import beginning
from draw_poly.engine.record import checkpoint, checkpoint_file
from draw_poly.engine.record.measures import Row, of_epoch
from draw_poly.engine.record.picture_file import png_of
from draw_poly.engine.record.table import row_of
from draw_poly.engine.shown import RegionSet, beside, pictures, regions
from draw_poly.engine.training.fresh import fresh
from draw_poly.engine.training.setup import Setup
from draw_poly.engine.training.torch_state import on_device, own_torch_state
from draw_poly.engine.training.training import Training
from draw_poly.kernels.spec import Network
from draw_poly.kernels.spec.subdivision import MOST_REGIONS
from draw_poly.kernels.spec.window import UNIT_SQUARE, Window

ARRAY = "an array"  # in place of a file's name
SHOWN = 512  # longest side of what a notebook shows


class Trained:
    """A network after `epoch` epochs, of a run that goes on or of a checkpoint. A notebook shows its picture.

    `size` is the width and height of its picture.
    """

    def __init__(self, config: Config, size: tuple[int, int], state: State) -> None:
        self.config, self.size = config, size
        self._state = state

    @property
    def state(self) -> State:
        """All that training changes: parameters, moments, predictor, generator."""
        return self._state

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return self.state.epoch

    @property
    def network(self) -> Network:
        """Its widths and activation."""
        return self.config.network

    @property
    def parameters(self) -> NDArray[np.float32]:
        """A copy of its parameters (P,): per layer the weight matrix row by row, then the bias."""
        copy: NDArray[np.float32] = self.state.main.parameters[0].cpu().numpy().copy()
        return copy

    def picture(self, boundaries: bool = False, size: tuple[int, int] | None = None) -> Pixels:
        """What it draws: gray (height, width), or colours or those of classes (height, width, 3).

        With the boundaries of its polytopes it is in colour.
        """
        return pictures(self.state, self.config, size or self.size)[boundaries]

    def regions(self, window: Window = UNIT_SQUARE, most_regions: int = MOST_REGIONS) -> RegionSet:
        """Its exact linear regions in a window (x0, y0, x1, y1); the image is the unit square, y downwards.

        Raises ValueError and TooManyRegions, as `draw_poly.kernels.regions.regions` does.
        """
        return regions(self.network, self.parameters, window, most_regions=most_regions)

    def _repr_png_(self) -> bytes:
        width, height = self.size
        scale = min(1.0, SHOWN / max(width, height))
        return png_of(
            beside(*pictures(self.state, self.config, (max(1, round(width * scale)), max(1, round(height * scale)))))
        )


class Run(Trained):
    """A run that trains while it is iterated over; a row of an epoch's measures, by their names, comes of each.

    `rows` are those until now, `stopped` says why it ended before its last epoch. To iterate again goes on.
    """

    def __init__(self, config: Config, picture: Picture) -> None:
        self._picture = picture
        with own_torch_state():
            self._draw = draw = fresh(config, picture)
            device, chosen, _ = backend.found(config)
            with on_device(device):
                self._training = Training(Setup.of(config, draw.state, picture, draw.split), device, chosen)
        super().__init__(config, (picture.width, picture.height), self._training.state)
        self.rows: list[Row] = []

    @property
    def state(self) -> State:
        """See `Trained`."""
        return self._training.state

    @property
    def stopped(self) -> str | None:
        """Why it ended before its last epoch, where a watch stopped it."""
        return self._training.stopped

    def __iter__(self) -> Iterator[Row]:
        for finished in self._training:
            self.rows.append(of_epoch(finished.number, finished.epoch))
            yield self.rows[-1]

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes a checkpoint, to this file or by its own name into this folder; returns its path.

        `--resume`, `draw-poly regions`, `draw-poly code` and `load` read it. Raises OSError.
        """
        place = Files.of(self.config)
        found = Path(path)
        found = found / place.checkpoint(self.epoch).name if found.is_dir() else found
        begun = beginning(self._draw, self.config, place, self._picture).checkpoint
        rows = [row_of(row) for row in self.rows]
        content = dataclasses.replace(begun, state=self.state, watch=self._training.watch, rows=rows)
        checkpoint.save(found, content)
        return found


def train(image: "str | os.PathLike[str] | NDArray[Any] | Image.Image", shape: str, epochs: int, **flags: Any) -> Run:
    """A run that is about to train a network of this shape, such as `[10]*8`, on an image: to be iterated over.

    The image is a path, an array of gray values (height, width) or colours (height, width, 3), uint8, or an image of
    Pillow's. Flags are those of the command line, with `_` for `-`: `seed=1`, `learning_rate=3e-3`. Nothing is written,
    and the losses are those of the command line. Raises ConfigError for what cannot be done.
    """
    path = os.fspath(image) if isinstance(image, str | os.PathLike) else getattr(image, "filename", "") or ARRAY
    config = Config(path, shape, epochs, **flags)
    return Run(config, image_file.found(image_file.asked(config), _pixels(image, config)))


def load(path: str | os.PathLike[str]) -> Trained:
    """The network of a checkpoint, or of the newest in a folder. Raises CheckpointError where there is none.

    Where its image is not found any more, its picture is a square of 256 pixels unless a size is given.
    """
    found = checkpoint_file.newest(os.fspath(path))
    stored = checkpoint.load(found)
    picture = load_source(found, None).picture
    size = (picture.width, picture.height) if picture else (256, 256)
    names = ("task", "final_activation", "activation", "slope", "seed")
    known: Mapping[str, Any] = {name: stored.settings[name] for name in names if stored.settings.get(name) is not None}
    config = Config(str(stored.image or ARRAY), str(stored.settings["shape"]), max(1, stored.state.epoch), **known)
    return Trained(config, size, stored.state)


def _pixels(image: "str | os.PathLike[str] | NDArray[Any] | Image.Image", config: Config) -> NDArray[np.uint8] | None:
    """An image's pixels as its task learns them; None of a file."""
    if isinstance(image, str | os.PathLike):
        return None
    mode = "RGB" if config.learnt.colour else "L"
    if isinstance(image, Image.Image):
        if image.mode in (*image_file.SIXTEEN_BIT, "I", "F"):
            raise ConfigError(f"an image of mode {image.mode} was given: give its path, or an array of 8 bits")
        return np.asarray(image.convert(mode))
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))):
        shape = " x ".join(map(str, pixels.shape))
        raise ConfigError(
            f"an array {shape} of {pixels.dtype} was given: give gray values (height, width) or colours "
            "(height, width, 3), of uint8"
        )
    return pixels if pixels.ndim == 2 else np.asarray(Image.fromarray(pixels).convert(mode))
