"""An image file to a picture: all that can be read of it, and a word on what is left aside."""

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from draw_poly.engine.config import ConfigError
from draw_poly.engine.data.contrast import doubts
from draw_poly.engine.data.image import Picture
from draw_poly.engine.prepare import memory

SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I;16N")
TRANSPARENT = ("LA", "RGBA", "PA", "La", "RGBa")
ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
TIFF_HEADERS = (b"II*\0", b"MM\0*")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class _Read:
    """What was found in a file: `values` (height, width) of 8 or 16 bits, its format and mode, notes on it.

    `opacity` is that of its most opaque pixel, from 0 to 255, None without transparency.
    """

    values: NDArray[np.uint8] | NDArray[np.uint16]
    kind: str
    opacity: int | None
    notes: list[str]


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
    with _settings_of_our_own():
        try:
            read = _read_or_repair(path)
        except ConfigError:
            raise
        except UnidentifiedImageError as error:
            raise ConfigError(
                f"--input {path}: this is not an image that can be read, such as a PNG or JPEG"
            ) from error
        except Exception as error:  # each decoder has its own for a damaged file
            raise ConfigError(f"--input {path}: the image cannot be read ({_sentence(error)})") from error
    deep = read.values.dtype == np.uint16
    pixels: NDArray[np.uint8] = np.ascontiguousarray(read.values >> 8 if deep else read.values, np.uint8)
    return Picture(pixels, (*read.notes, *doubts(pixels, read.values, read.opacity)), read.kind)


@contextmanager
def _settings_of_our_own() -> Iterator[None]:
    """Pillow as it comes but for its limit of pixels, for which memory's own is asked; whatever was set before."""
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = None, False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before


def _read_or_repair(path: str) -> _Read:
    """Reads a file; a PNG that is damaged in what a picture does not need, without that."""
    try:
        with open(path, "rb") as file:
            return _read(file, path)
    except ConfigError:
        raise
    except Exception:
        bare, left = _only_the_picture(path)
        if not left:
            raise
        read = _read(io.BytesIO(bare), path)
    read.notes.append(f"it can be read only without its chunks {', '.join(left)}, which are left aside")
    return read


def _only_the_picture(path: str) -> tuple[bytes, list[str]]:
    """A PNG without the chunks that it can do without, and their names; no names where it is none."""
    kept, left, at = [PNG_SIGNATURE], set[str](), 0
    with open(path, "rb") as file:
        data = file.read() if file.read(len(PNG_SIGNATURE)) == PNG_SIGNATURE else b""
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        if kind[0] & 0x20:  # a small letter: ancillary
            left.add(kind.decode("ascii", "backslashreplace"))
        else:
            kept.append(data[at:end])
        at = end
    return b"".join(kept), sorted(left)


def _read(file: BinaryIO, path: str) -> _Read:
    notes = []
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", UserWarning)
        image = Image.open(file)
        width, height = image.size
        if width < 1 or height < 1:
            raise ConfigError(f"--input {path}: it has {width} x {height} pixels: one at least is needed")
        memory.require(width * height * memory.BYTES_PER_PIXEL, f"--input {path}, {width} x {height} pixels,")
        image.load()
        upright, broken = _orientation(image)
    if broken:
        notes.append("its EXIF data cannot be read and is left aside")
    elif heard:
        notes.append(f"some of it cannot be read and is left aside: {_one_line(str(heard[0].message))}")
    values = _values(image if upright is None else image.transpose(upright), path)
    if values.dtype == np.uint16:
        notes.append("its values are brought down to 8 bits")
    opacity = None
    if image.mode in TRANSPARENT or "transparency" in image.info:
        notes.append("its transparency is ignored")
        opacity = _opacity(image)
    # Counted last, since it reads on in the file.
    try:
        frames = getattr(image, "n_frames", 1)
    except Exception:  # the first is read
        notes.append("what comes after its first frame cannot be read and is left aside")
    else:
        if frames > 1:
            notes.append(f"the first of its {frames} frames is used")
    return _Read(values, f"{image.format}, {image.mode}", opacity, notes)


def _orientation(image: Image.Image) -> tuple[Image.Transpose | None, bool]:
    """How to turn an image upright, and whether what would tell is broken."""
    try:
        upright = UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # a picture needs none
        return None, True
    # Of a JPEG, Pillow reads this when it opens the file, and no second time.
    block = image.info.get("exif", b"")
    return upright, bool(block) and block.removeprefix(b"Exif\0\0")[:4] not in TIFF_HEADERS


def _values(image: Image.Image, path: str) -> NDArray[np.uint8] | NDArray[np.uint16]:
    if image.mode in SIXTEEN_BIT or image.mode == "I":
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise ConfigError(
                f"--input {path}: its values go from {values.min()} to {values.max()}; 8 or 16 bits are allowed, "
                "values from 0 to 65535"
            )
        return values.astype(np.uint16)
    if image.mode == "F":
        raise ConfigError(f"--input {path}: it has floating-point pixels; 8 or 16 bits are allowed")
    if image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode in ("1", "LA", "La") else "RGB")
    return np.asarray(image if image.mode == "L" else image.convert("L"))


def _opacity(image: Image.Image) -> int:
    """Of the most opaque pixel, from 0 to 255."""
    alpha = image if image.mode in TRANSPARENT else image.convert("RGBA")
    return int(np.asarray(alpha.getchannel(len(alpha.getbands()) - 1)).max())


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 160 else line[:159] + "…"


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "out of memory" if isinstance(error, MemoryError) else _one_line(str(error)) or type(error).__name__
