"""Whether a picture shows anything: what one should know before a network learns it."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# A span of gray levels that shows little, and one that is less than a deeper image holds, as of 12 bits in 16.
FEW_LEVELS, FEW_OF_MANY = 16, 64
# The share of pixels that does not count.
OUTLIERS = 0.001
STRETCH = "stretch them first, such as by ImageMagick's -auto-level"
FLATTEN = "flatten it onto a background first, such as by ImageMagick's -flatten"


def doubts(pixels: NDArray[np.uint8], values: NDArray[np.uint8] | NDArray[np.uint16], opacity: int | None) -> list[str]:
    """Why `pixels` (height, width) may show less than the file does, and what to do; empty where there is no doubt.

    Colours are (height, width, 3): what is said is of the channel that shows most. `values` are what they were made
    from, `opacity` is that of the file's most opaque pixel, None without transparency.
    """
    found = []
    what = "gray values"
    if pixels.ndim == 3:
        what, spans = "levels", [int(np.ptp(pixels[:, :, channel])) for channel in range(3)]
        pixels = np.ascontiguousarray(pixels[:, :, int(np.argmax(spans))])
    if opacity == 0:
        found.append(f"every pixel of it is transparent, and what is learnt lies unseen beneath: {FLATTEN}")
    counts = histogram(pixels)
    levels = np.flatnonzero(counts)
    lowest, highest = int(levels[0]), int(levels[-1])
    span = highest - lowest + 1
    if values.dtype == np.uint16 and span < FEW_OF_MANY:
        found.append(
            f"its values go from {values.min()} to {values.max()} of 65535, which leaves {span} of 256 gray levels: "
            f"{STRETCH}"
        )
    elif span == 1:
        constant = f"every pixel of it has the {what[:-1]} {lowest}"
        found.append(f"{constant}: there is nothing to learn" if opacity is None else f"{constant}: {FLATTEN}")
    elif span < FEW_LEVELS:
        found.append(f"its {what} go from {lowest} to {highest} of 255: {STRETCH}")
    else:
        lowest, highest = _bulk(counts)
        if highest - lowest + 1 < FEW_LEVELS:
            found.append(
                f"{1 - OUTLIERS:.1%} of its pixels have {what} from {lowest} to {highest} of 255, and few points "
                "will show another: crop it, stretch its values, or give more --points"
            )
    return found


def _bulk(counts: NDArray[np.int64]) -> tuple[int, int]:
    """The lowest and highest value that is counted, half the outliers on either side apart."""
    aside = OUTLIERS / 2 * counts.sum()
    below, above = np.cumsum(counts), np.cumsum(counts[::-1])
    return int(np.argmax(below > aside)), 255 - int(np.argmax(above > aside))


def histogram(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How many pixels have each gray value, (256,)."""
    return np.array(Image.fromarray(pixels).histogram(), np.int64)  # a quarter of the time of NumPy's, and no memory
