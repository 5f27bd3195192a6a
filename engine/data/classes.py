"""Classes of pixels: pure red, green and blue ones, or those that are near."""

import numpy as np
from numpy.typing import NDArray

from draw_poly.engine.config import ConfigError
from draw_poly.engine.data.image import NO_CLASS
from draw_poly.engine.task import CLASS_COLOURS, CLASS_NAMES

NEAR = 60  # levels from a pure colour that a picture's file format may be to blame for


def classes_of(pixels: NDArray[np.uint8], tolerance: int = 0) -> NDArray[np.uint8]:
    """The class of each pixel (height, width, 3): its colour's place among `CLASS_COLOURS`, or `NO_CLASS`.

    A channel may be off by as many levels as the tolerance, which is less than half of them.
    """
    found = np.full(pixels.shape[:2], NO_CLASS, np.uint8)
    for index, colour in enumerate(CLASS_COLOURS):
        near = np.ones(pixels.shape[:2], np.bool_)
        for channel, level in enumerate(colour):
            values = pixels[:, :, channel]
            near &= values <= tolerance if level == 0 else values >= level - tolerance
        found[near] = index
    return found


def told(pixels: NDArray[np.uint8], classes: NDArray[np.uint8], tolerance: int, name: str) -> list[str]:
    """What is doubtful about the classes of an image of this name, sentences.

    Raises ConfigError where no pixel has one.
    """
    counts = np.bincount(classes.reshape(-1), minlength=256)[: len(CLASS_NAMES)]
    wider = classes_of(pixels, NEAR) if tolerance < NEAR else classes
    near = int((wider != NO_CLASS).sum()) - int(counts.sum())
    hint = f"{near} more are within {NEAR} levels of those: --class-tolerance {NEAR} takes them" if near > 0 else ""
    if not counts.any():
        pure = f"within {tolerance} levels of pure" if tolerance else "pure"
        raise ConfigError(
            f"--input {name}: it has no pixel that is {pure} red, green or blue, and --task classes learns those alone"
            + (f"; {hint}" if hint else "")
        )
    found = []
    if (counts > 0).sum() == 1:
        found.append(f"all its pixels with a class are {CLASS_NAMES[int(counts.argmax())]}: there is nothing to learn")
    if hint:
        found.append(f"{counts.sum()} of its pixels have a class, and {hint}")
    return found
