"""A colour a cell: by its pattern, which it keeps while the pattern lives, or by a number that is read on a scale."""

import numpy as np
from numpy.typing import NDArray

from draw_poly.kernels.spec.subdivision import Subdivision

Colours = NDArray[np.uint8]
# Anchors of a scale from dark to light that is even to the eye and to a printer (viridis at five places).
ANCHORS = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], float)
PALE = 0.35  # how much of a hue is seen: lines are drawn upon it
LEAST_GRADIENT = 1e-12


def colours(found: Subdivision, kind: str) -> Colours:
    """The colours (F, 3) of cells by `pattern`, by `area`, `gradient`, or `output` at their centre."""
    if kind == "pattern":
        return by_pattern(found)
    if kind == "output":
        return np.repeat(levels(found, kind)[:, None], 3, 1)
    shades: Colours = scale()[levels(found, kind)]
    return shades


def levels(found: Subdivision, kind: str, born: NDArray[np.int64] | None = None) -> Colours:
    """A number from 0 to 255 a cell (F,): its place between the least and the greatest.

    Areas and gradients are told by their logarithms, `output` by the gray that a frame shows. `born` (F,) are the
    epochs that saw a pattern first, for `age`.
    """
    if kind == "output":
        output = (found.maps[:, 0, :2] * found.centres).sum(1) + found.maps[:, 0, 2]
        gray: Colours = np.clip(255 * output, 0, 255).astype(np.uint8)
        return gray
    if kind == "area":
        values = np.log(found.areas)
    elif kind == "gradient":
        values = np.log(np.maximum(np.hypot(found.maps[:, 0, 0], found.maps[:, 0, 1]), LEAST_GRADIENT))
    else:
        values = np.zeros(found.cells) if born is None else np.log1p(born.max() - born)
    low, high = float(values.min()), float(values.max())
    share = (values - low) / (high - low) if high > low else np.zeros(len(values))
    places: Colours = (255 * share).astype(np.uint8)
    return places


def scale() -> Colours:
    """The 256 colours of a scale, (256, 3), dark to light."""
    places = np.linspace(0, 255, len(ANCHORS))
    bands = [np.interp(np.arange(256), places, ANCHORS[:, band]) for band in range(3)]
    found: Colours = np.rint(np.stack(bands, 1)).astype(np.uint8)
    return found


def by_pattern(found: Subdivision) -> Colours:
    """Hues that hang on the pattern alone."""
    mixed = np.zeros(found.cells, np.uint64)
    for column in range(found.patterns.shape[1]):
        mixed = (mixed ^ found.patterns[:, column]) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return tints((mixed >> np.uint64(40)).astype(float) / 2**24)


def tints(hue: NDArray[np.float64]) -> Colours:
    """Pale colours (n, 3) of hues from 0 to 1."""
    waves = np.cos(2 * np.pi * (hue[:, None] - np.array([0, 1 / 3, 2 / 3])))
    shades: Colours = (255 * (1 - PALE * (0.5 - 0.5 * waves))).astype(np.uint8)
    return shades
