"""A colour a cell: by its pattern, which it keeps while the pattern lives, or by a number that is read on a scale."""

import numpy as np
from numpy.typing import NDArray

from draw_poly.kernels.spec.subdivision import Subdivision

Colours = NDArray[np.uint8]
# Anchors of a scale from dark to light that is even to the eye and to a printer (viridis at five places).
SCALE = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], float)
HUES = 0.35  # from gray to full: pale enough for lines upon it


def colours(found: Subdivision, kind: str, born: NDArray[np.int64] | None = None) -> Colours:
    """The colours (F, 3) of cells by `pattern`, `area`, `gradient`, `output` at their centre, or `age`.

    `born` (F,) are the epochs at which their patterns were first seen, which the age is told by.
    """
    if kind == "pattern":
        return by_pattern(found)
    if kind == "output":
        return gray(found)
    if kind == "area":
        values = np.log(found.areas)
    elif kind == "gradient":
        values = np.log(np.maximum(np.hypot(found.maps[:, 0, 0], found.maps[:, 0, 1]), 1e-12))
    else:
        values = np.zeros(found.cells) if born is None else -np.log1p(born.max() - born)
    return on_scale(values)


def by_pattern(found: Subdivision) -> Colours:
    """Hues that hang on the pattern alone."""
    mixed = np.zeros(found.cells, np.uint64)
    for column in range(found.patterns.shape[1]):
        mixed = (mixed ^ found.patterns[:, column]) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    hue = (mixed >> np.uint64(40)).astype(float) / 2**24
    waves = np.cos(2 * np.pi * (hue[:, None] - np.array([0, 1 / 3, 2 / 3])))
    shade: Colours = (255 * (1 - HUES * (0.5 - 0.5 * waves))).astype(np.uint8)
    return shade


def gray(found: Subdivision) -> Colours:
    """What the network draws at each centre, as a frame shows it."""
    values = found.maps[:, 0, :2] * found.centres
    output = values.sum(1) + found.maps[:, 0, 2]
    level = np.clip(255 * output, 0, 255).astype(np.uint8)
    shade: Colours = np.repeat(level[:, None], 3, 1)
    return shade


def on_scale(values: NDArray[np.float64]) -> Colours:
    """Numbers as colours, the least dark and the largest light."""
    low, high = float(values.min()), float(values.max())
    share = (values - low) / (high - low) if high > low else np.zeros(len(values))
    places = np.linspace(0, 1, len(SCALE))
    shade: Colours = np.stack([np.interp(share, places, SCALE[:, band]) for band in range(3)], 1).astype(np.uint8)
    return shade
