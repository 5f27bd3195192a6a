"""An image file to a picture: all that can be read of it, and a word on what is left aside."""

import io
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from draw_poly.engine.config import Config, ConfigError
from draw_poly.engine.data.classes import classes_of, told
from draw_poly.engine.data.contrast import doubts
from draw_poly.engine.data.image import NO_CLASS, Picture
from draw_poly.engine.prepare import memory
from draw_poly.engine.task import TASKS, Task

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
# A colour image is told by that many pixels, whose channels differ by more than so many levels.
SAMPLE, COLOURED = 64, 16
TIFF_HEADERS = (b"II*\0", b"MM\0*")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


# A path, a task, the tolerance of classes, and whether transparent pixels are left out.
Asked = tuple[str, Task, int, bool]


@dataclass(frozen=True)
class _Read:
    """What was found in a file: `values` of 8 or 16 bits, its format and mode, notes on it.

    These are (height, width) of gray or, where colours were asked for and are there, (height, width, 3) of 8 bits.
    `opacity` is that of its most opaque pixel, from 0 to 255, None without transparency; `opaque` (height, width) are
    the pixels that are not wholly transparent, where that was asked for.
    """

    values: NDArray[np.uint8] | NDArray[np.uint16]
    kind: str
    opacity: int | None
    notes: list[str]
    has_colours: bool
    opaque: NDArray[np.bool_] | None = None


def asked(config: Config) -> Asked:
    """What `load` is asked for by a configuration."""
    return config.input, config.learnt, config.class_tolerance, config.ignore_transparent


def load_again(path: str, settings: Mapping[str, Any]) -> Picture:
    """Reads an image as a run with these settings did. Raises ConfigError as `load` does."""
    task = TASKS.get(str(settings.get("task")), TASKS["gray"])
    return load(path, task, int(settings.get("class_tolerance", 0)), bool(settings.get("ignore_transparent")))


def load(path: str, task: Task = TASKS["gray"], tolerance: int = 0, ignore_transparent: bool = False) -> Picture:
    """Reads an image file for a task, 8 bits a channel, the first frame of an animation.

    Alpha is ignored, unless pixels that are wholly transparent are to be; `tolerance` is that of classes. Raises
    ConfigError, naming the file, for anything that is not a whole image which fits in memory, and where nothing of it
    can be learnt.
    """
    if not os.path.exists(path):
        raise ConfigError(f"--input {path}: there is no such file")
    if not os.path.isfile(path):
        raise ConfigError(f"--input {path}: this is not a file")
    if os.path.getsize(path) == 0:
        raise ConfigError(f"--input {path}: the file is empty")
    with _settings_of_our_own():
        try:
            read = _read_or_repair(path, task.colour, ignore_transparent)
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
    notes = [*read.notes, *([] if task.classes else doubts(pixels, read.values, read.opacity))]
    return picture_of(pixels, task, tolerance, read.opaque, path, (*notes,), read.kind, read.has_colours)


def found(wanted: Asked, pixels: NDArray[np.uint8] | None) -> Picture:
    """The picture that was asked for: of these pixels, or of the file where there are none. Raises ConfigError."""
    return load(*wanted) if pixels is None else picture_of(pixels, wanted[1], wanted[2])


def picture_of(
    pixels: NDArray[np.uint8], task: Task = TASKS["gray"], tolerance: int = 0, opaque: NDArray[np.bool_] | None = None,
    name: str = "an array", notes: tuple[str, ...] = (), kind: str = "", has_colours: bool = False,
) -> Picture:  # fmt: skip
    """Pixels, gray (height, width) or colours (height, width, 3), as a task learns them.

    `opaque` (height, width) are those that may be points, all where it is None. Raises ConfigError where the task has
    nothing to learn, and for another shape.
    """
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and (pixels.shape[2] != 3 or not task.colour)):
        wanted = "(height, width)" + (" or (height, width, 3)" if task.colour else "")
        raise ConfigError(f"{name} has shape {pixels.shape}: give {wanted} for --task {task.name}")
    if task.colour and pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    pixels, classes, here = np.ascontiguousarray(pixels), None, opaque
    if task.classes:
        classes = classes_of(pixels, tolerance)
        notes = (*notes, *told(pixels, classes, tolerance, name))
        here = classes != NO_CLASS if here is None else here & (classes != NO_CLASS)
    if here is None or here.all():
        return Picture(pixels, notes, kind, classes=classes, has_colours=has_colours)
    if not here.any():
        raise ConfigError(f"--input {name}: no pixel of it is left to learn")
    return Picture(pixels, notes, kind, np.flatnonzero(here), classes, has_colours)


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


def _read_or_repair(path: str, colour: bool, ignore_transparent: bool) -> _Read:
    """Reads a file; a PNG that is damaged in what a picture does not need, without that."""
    try:
        with open(path, "rb") as file:
            return _read(file, path, colour, ignore_transparent)
    except ConfigError:
        raise
    except Exception:
        bare, left = _only_the_picture(path)
        if not left:
            raise
        read = _read(io.BytesIO(bare), path, colour, ignore_transparent)
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


def _read(file: BinaryIO, path: str, colour: bool, ignore_transparent: bool) -> _Read:
    notes = []
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", UserWarning)
        image = Image.open(file)
        width, height = image.size
        if width < 1 or height < 1:
            raise ConfigError(f"--input {path}: it has {width} x {height} pixels: one at least is needed")
        each = memory.BYTES_PER_PIXEL + colour * memory.BYTES_PER_COLOUR
        memory.require(width * height * each, f"--input {path}, {width} x {height} pixels,")
        image.load()
        upright, broken = _orientation(image)
    if broken:
        notes.append("its EXIF data cannot be read and is left aside")
    elif heard:
        notes.append(f"some of it cannot be read and is left aside: {_one_line(str(heard[0].message))}")
    turned = image if upright is None else image.transpose(upright)
    values = _values(turned, path, colour)
    if values.dtype == np.uint16:
        notes.append("its values are brought down to 8 bits")
    opacity, opaque = None, None
    if image.mode in TRANSPARENT or "transparency" in image.info:
        alpha = _alpha(turned)
        opacity = int(alpha.max())
        if ignore_transparent:
            opaque = alpha > 0
            notes.append(f"{opaque.size - np.count_nonzero(opaque)} of its pixels are transparent, and left out")
        else:
            notes.append("its transparency is ignored")
    # Counted last, since it reads on in the file.
    try:
        frames = getattr(image, "n_frames", 1)
    except Exception:  # the first is read
        notes.append("what comes after its first frame cannot be read and is left aside")
    else:
        if frames > 1:
            notes.append(f"the first of its {frames} frames is used")
    return _Read(values, f"{image.format}, {image.mode}", opacity, notes, _has_colours(image), opaque)


def _has_colours(image: Image.Image) -> bool:
    """Whether some pixels of an image that is read, spread over it, are not gray."""
    if image.mode in ("1", "L", "LA", "La", "I", "F", *SIXTEEN_BIT):
        return False
    few = np.asarray(image.resize((SAMPLE, SAMPLE), Image.Resampling.NEAREST).convert("RGB")).astype(np.int16)
    return bool((few.max(2) - few.min(2) > COLOURED).any())


def _orientation(image: Image.Image) -> tuple[Image.Transpose | None, bool]:
    """How to turn an image upright, and whether what would tell is broken."""
    try:
        upright = UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # a picture needs none
        return None, True
    # Of a JPEG, Pillow reads this when it opens the file, and no second time.
    block = image.info.get("exif", b"")
    return upright, bool(block) and block.removeprefix(b"Exif\0\0")[:4] not in TIFF_HEADERS


def _values(image: Image.Image, path: str, colour: bool) -> NDArray[np.uint8] | NDArray[np.uint16]:
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
    return np.asarray(image if image.mode == "L" or colour else image.convert("L"))


def _alpha(image: Image.Image) -> NDArray[np.uint8]:
    """How opaque each pixel is, (height, width), from 0 to 255."""
    alpha = image if image.mode in TRANSPARENT else image.convert("RGBA")
    return np.asarray(alpha.getchannel(len(alpha.getbands()) - 1))


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 160 else line[:159] + "…"


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "out of memory" if isinstance(error, MemoryError) else _one_line(str(error)) or type(error).__name__
