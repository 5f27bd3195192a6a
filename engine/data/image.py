"""A picture's coordinates and gray values; the split into training and validation points."""

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


@dataclass(frozen=True)
class Picture:
    """A grayscale image: pixels (height, width), uint8.

    `notes` say what was left out of its file and what is doubtful about it, `kind` the file's format and mode.
    """

    pixels: NDArray[np.uint8]
    notes: tuple[str, ...] = ()
    kind: str = ""

    @property
    def width(self) -> int:
        """Pixels in a row."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])

    @cached_property
    def digest(self) -> str:
        """SHA-256 over size and pixels: equal where the content is, whatever the file format."""
        found = hashlib.sha256(f"{self.width}x{self.height}:".encode())
        found.update(np.ascontiguousarray(self.pixels).data)  # without a copy of them
        return found.hexdigest()

    def resized(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """The pixels at another size (width, height), smaller or the same."""
        if size == (self.width, self.height):
            return self.pixels
        return np.asarray(Image.fromarray(self.pixels).resize(size, Image.Resampling.BOX))


@dataclass(frozen=True)
class Split:
    """Which pixels, by raster index, train and validate; int64 tensors."""

    training: Tensor
    validation: Tensor


def split(picture: Picture, points: int, validation: int, generator: np.random.RandomState) -> Split:
    """Shuffles all pixels, takes the first `points` to train and the next `validation` to validate.

    Raises ConfigError where not one pixel would be left to validate.
    """
    pixels = picture.pixels.size
    if points >= pixels:
        raise ConfigError(
            f"--points was {points}, but the image has {picture.width} x {picture.height} = {pixels} "
            + ("pixel" if pixels == 1 else "pixels")
            + (
                f": give at most {pixels - 1}, since validation needs at least one"
                if pixels > 1
                else ": two are needed"
            )
        )
    # Shuffling rows or their indices draws the same numbers.
    chosen = torch.from_numpy(first_rows(generator, pixels, points + validation))
    return Split(chosen[:points].clone(), chosen[points:].clone())


def column_coordinates(width: int) -> Tensor:
    """Where each column stands, (width,) float32 in [0, 1)."""
    return (torch.arange(width, dtype=torch.float64) / width).float()


def samples(picture: Picture, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates (2, points) and gray values in [0, 1], (1, points), of pixels by raster index; float32."""
    columns = column_coordinates(picture.width)[indices % picture.width]
    rows = column_coordinates(picture.height)[indices // picture.width]
    values = torch.from_numpy(picture.pixels.reshape(-1)[indices.numpy()]).float() / 255
    return torch.stack((columns, rows)), values[None]
