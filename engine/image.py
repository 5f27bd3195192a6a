"""Image file to coordinates and gray values; the split into training and validation points."""

import hashlib
import os
import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from engine import memory
from engine.config import ConfigError

SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I;16N")


@dataclass(frozen=True)
class Picture:
    """A grayscale image: pixels (height, width), uint8. `notes` say what was left out of the file."""

    pixels: NDArray[np.uint8]
    notes: tuple[str, ...] = ()

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
        size = f"{self.width}x{self.height}:".encode()
        return hashlib.sha256(size + self.pixels.tobytes()).hexdigest()

    def resized(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """The pixels at another size (width, height), smaller or the same."""
        if size == (self.width, self.height):
            return self.pixels
        return np.asarray(Image.fromarray(self.pixels).resize(size, Image.Resampling.BOX))


def load(path: str) -> Picture:
    """Reads an image file as 8-bit grayscale, the first frame of an animation, alpha ignored.

    Raises ConfigError, naming the file, for anything that is not a whole image which fits in memory.
    """
    if not os.path.exists(path):
        raise ConfigError(f"--input {path}: there is no such file")
    if not os.path.isfile(path):
        raise ConfigError(f"--input {path}: this is not a file")
    if os.path.getsize(path) == 0:
        raise ConfigError(f"--input {path}: the file is empty")
    try:
        with warnings.catch_warnings():
            # The memory check below takes the place of Pillow's limit.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return _read(path)
    except (UnidentifiedImageError, SyntaxError) as error:
        raise ConfigError(f"--input {path}: this is not an image that can be read, such as a PNG or JPEG") from error
    except (OSError, EOFError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"--input {path}: the image cannot be read ({error})") from error


def _read(path: str) -> Picture:
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(path) as image:
            width, height = image.size
            memory.require(width * height * memory.BYTES_PER_PIXEL, f"--input {path}, {width} x {height} pixels,")
            notes = []
            if getattr(image, "n_frames", 1) > 1:
                notes.append(f"the first of its {image.n_frames} frames is used")
            if image.mode in ("LA", "RGBA", "PA", "La", "RGBa") or "transparency" in image.info:
                notes.append("its transparency is ignored")
            if image.mode in SIXTEEN_BIT or image.mode in ("I", "F"):
                notes.append("its values are brought down to 8 bits")
            return Picture(_gray(ImageOps.exif_transpose(image), path), tuple(notes))
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _gray(image: Image.Image, path: str) -> NDArray[np.uint8]:
    if image.mode in SIXTEEN_BIT or image.mode == "I":
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise ConfigError(f"--input {path}: it has 32 bits a pixel; 8 or 16 are allowed")
        return (values >> 8).astype(np.uint8)
    if image.mode == "F":
        raise ConfigError(f"--input {path}: it has floating-point pixels; 8 or 16 bits are allowed")
    if image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode in ("1", "LA", "La") else "RGB")
    return np.ascontiguousarray(np.asarray(image.convert("L")))


@dataclass(frozen=True)
class Split:
    """Which pixels, by raster index, train and validate; int64 tensors."""

    training: Tensor
    validation: Tensor


def split(picture: Picture, points: int, validation: int, draws: np.random.RandomState) -> Split:
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
    order = np.arange(pixels, dtype=np.int32 if pixels < 2**31 else np.int64)
    # Shuffling rows or their indices draws the same numbers.
    draws.shuffle(order)
    chosen = torch.from_numpy(order[: points + validation].astype(np.int64))
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
