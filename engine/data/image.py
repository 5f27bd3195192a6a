"""A picture's coordinates and what is learnt of it; the split into training and validation points."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from draw_poly.engine.config import ConfigError
from draw_poly.kernels.shuffle import first_rows

NO_CLASS = 255
# Of a chequerboard: two shades of gray, and pixels of a field.
CHEQUERS, CHEQUER = np.array((102, 153), np.uint8), 8


@dataclass(frozen=True)
class Picture:
    """An image: `pixels` (height, width) of gray, or (height, width, 3) of red, green and blue; uint8.

    `notes` say what was left out of its file and what is doubtful about it, `kind` the file's format and mode. Where
    not every pixel is a point, `points` are those that may be, by raster index. `classes` (height, width) are the
    pixels', where those are what is learnt, `NO_CLASS` of those that have none. `has_colours` tells of the file.
    """

    pixels: NDArray[np.uint8]
    notes: tuple[str, ...] = ()
    kind: str = ""
    points: NDArray[np.int64] | None = None
    classes: NDArray[np.uint8] | None = None
    has_colours: bool = False

    @property
    def width(self) -> int:
        """Pixels in a row."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])

    @property
    def size(self) -> int:
        """How many pixels it has."""
        return self.width * self.height

    @property
    def available(self) -> int:
        """How many of them may be points."""
        return self.size if self.points is None else len(self.points)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over size, pixels and points: equal where the content is, whatever the file format."""
        found = hashlib.sha256(f"{self.width}x{self.height}:".encode())
        found.update(np.ascontiguousarray(self.pixels).data)  # without a copy of them
        for part in (self.points, self.classes):
            if part is not None:
                found.update(np.ascontiguousarray(part).data)
        return found.hexdigest()

    def resized(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """The pixels at another size (width, height), smaller or the same."""
        if size == (self.width, self.height):
            return self.pixels
        return np.asarray(Image.fromarray(self.pixels).resize(size, Image.Resampling.BOX))

    def coloured(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """The same as red, green and blue, (height, width, 3), holes as a chequerboard; a copy."""
        pixels = self.resized(size)
        made = pixels.copy() if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)
        if (holes := self.holes(size)) is not None:
            rows, columns = np.nonzero(holes)
            made[rows, columns] = CHEQUERS[(rows // CHEQUER + columns // CHEQUER) % 2, None]
        return made

    def holes(self, size: tuple[int, int]) -> NDArray[np.bool_] | None:
        """Pixels that were left out though they could be learnt, at a size (width, height); None where there are none.

        So not those of no class.
        """
        if self.points is None:
            return None
        found = np.ones((self.height, self.width), np.bool_)
        found.reshape(-1)[self.points] = False
        if self.classes is not None:
            found &= self.classes != NO_CLASS
        if not found.any():
            return None
        return np.asarray(Image.fromarray(found).resize(size, Image.Resampling.NEAREST))


@dataclass(frozen=True)
class Split:
    """Which pixels, by raster index, train and validate; int64 tensors."""

    training: Tensor
    validation: Tensor


def split(picture: Picture, points: int, validation: int, generator: np.random.RandomState) -> Split:
    """Shuffles all pixels that may be points, takes the first `points` to train and the next `validation` to validate.

    Raises ConfigError where not one pixel would be left to validate.
    """
    pixels = picture.available
    if points >= pixels:
        kind = "pixel" if picture.size == 1 else "pixels"
        has = f"{picture.width} x {picture.height} = {picture.size} {kind}"
        if picture.points is not None:
            has += f", of which {pixels} may be points"
        enough = (
            f": give at most {pixels - 1}, since validation needs at least one" if pixels > 1 else ": two are needed"
        )
        raise ConfigError(f"--points was {points}, but the image has {has}{enough}")
    # Shuffling rows or their indices draws the same numbers.
    chosen = first_rows(generator, pixels, points + validation)
    placed = torch.from_numpy(chosen if picture.points is None else picture.points[chosen])
    return Split(placed[:points].clone(), placed[points:].clone())


def column_coordinates(width: int) -> Tensor:
    """Where each column stands, (width,) float32 in [0, 1)."""
    return (torch.arange(width, dtype=torch.float64) / width).float()


def samples(picture: Picture, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates (2, points) of pixels by raster index, and targets (targets, points), float32.

    These are gray values or colours in [0, 1], or classes.
    """
    columns = column_coordinates(picture.width)[indices % picture.width]
    rows = column_coordinates(picture.height)[indices // picture.width]
    return torch.stack((columns, rows)), targets(picture, indices)


def targets(picture: Picture, indices: Tensor) -> Tensor:
    """See `samples`."""
    if picture.classes is not None:
        return torch.from_numpy(picture.classes.reshape(-1)[indices.numpy()]).float()[None]
    values = torch.from_numpy(picture.pixels.reshape(picture.size, -1)[indices.numpy()]).float() / 255
    return values.t().contiguous()
