"""What others make of the same weights, and of the image at the same error: bits to hold a code's against."""

import io
import lzma
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from draw_poly.engine.code.grid import Symbols
from draw_poly.engine.code.picture import Error, Pixels, error

QUALITIES = 100
FORMATS = {"JPEG": {"optimize": True}, "WebP": {}}
SMALLER = (32, 16, 8, 4, 2, 1)  # how many pixels of the image are one of what is stored, each way


def weights(symbols: Symbols, bins: int) -> dict[str, int]:
    """Bits of the numbers of bins by general compressors, and of as many weights in float16."""
    numbers = symbols.astype(np.uint8 if bins <= 256 else "<u2").tobytes()
    return {
        "lzma of the bins": 8 * len(lzma.compress(numbers, lzma.FORMAT_ALONE, preset=9)),
        "zlib of the bins": 8 * len(zlib.compress(numbers, 9)),
        "float16": 16 * symbols.size,
    }


def png(pixels: Pixels) -> int:
    """Bits of a picture as PNG."""
    return 8 * len(_saved(pixels, "PNG", optimize=True))


def lossy(image: Pixels, most: Error) -> dict[str, tuple[int, Error]]:
    """Bits and error of an image as JPEG and as WebP: the fewest bits whose error is at most this one.

    Each is tried at every quality and, since even the least may be better than was asked for, scaled down and up again.
    What cannot be had is left out: an error that no quality reaches, a format that this Pillow or size does not allow.
    """
    found = {}
    for name in FORMATS:
        try:
            if one := _fewest(image, name, most):
                found[name] = one
        except (OSError, KeyError, ValueError):
            continue
    return found


def _fewest(image: Pixels, name: str, most: Error) -> tuple[int, Error] | None:
    """From the smallest scale on, which takes the least time, until the least quality of one takes more bits."""
    found: tuple[int, Error] | None = None
    for smaller in SMALLER:
        tried = partial(_tried, image, name, smaller)
        if found and tried(0)[0] >= found[0]:
            break
        one = _least(tried, most)
        if one and (found is None or one[0] < found[0]):
            found = one
    return found


def _least(tried: Callable[[int], tuple[int, Error]], most: Error) -> tuple[int, Error] | None:
    """What the least quality whose error is small enough comes to: by halves, as errors fall where quality rises."""
    low, high, found = 0, QUALITIES, None
    while low <= high:
        quality = (low + high) // 2
        bits, missed = tried(quality)
        if missed.squared <= most.squared:
            found, high = (bits, missed), quality - 1
        else:
            low = quality + 1
    return found


def _tried(image: Pixels, name: str, smaller: int, quality: int) -> tuple[int, Error]:
    height, width = image.shape[:2]
    size = max(1, width // smaller), max(1, height // smaller)
    reduced = image if smaller == 1 else np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))
    content = _saved(reduced, name, quality=quality, **FORMATS[name])
    with Image.open(io.BytesIO(content)) as file:
        read = file.convert("L" if image.ndim == 2 else "RGB")
        pixels: Pixels = np.asarray(read if smaller == 1 else read.resize((width, height), Image.Resampling.BICUBIC))
    return 8 * len(content), error(pixels, image)


def _saved(pixels: Pixels, name: str, **settings: Any) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, name, **settings)
    return content.getvalue()
