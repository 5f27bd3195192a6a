"""What is asked of a whole subdivision, in calls of compiled code: numbers, hashes, matches, points' distances."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from draw_poly.kernels.cpu.runtime.vector import DOUBLE_LANES
from draw_poly.kernels.cpu.subdivision.distances import find_distances
from draw_poly.kernels.cpu.subdivision.identity import compare, hash_patterns, match
from draw_poly.kernels.cpu.subdivision.measures import measure
from draw_poly.kernels.spec.subdivision import Subdivision

Numbers = NDArray[np.float64]
Hashes = NDArray[np.uint64]
A_SQUARE = 2  # points, of the grid by which they are found


class Totals(NamedTuple):
    """Lengths of walls by layer (layers,), edges by neuron (neurons,), and numbers of the first output.

    `variation` is the integral of its gradient's length, `energy` that of the length's square, `extrema` are vertices
    inside of the window above or below all their neighbours; `sides` are those of all cells.
    """

    lengths: Numbers
    met: NDArray[np.int64]
    variation: float
    energy: float
    extrema: int
    sides: int


def totals(found: Subdivision) -> Totals:
    """Those of a subdivision."""
    lengths, met = np.empty(len(found.widths)), np.empty(sum(found.widths), np.int64)
    state, slopes = np.empty(len(found.places), np.int8), np.empty((found.cells, 2))
    numbers = measure(
        found.places, found.window[0], found.window[1], found.origin, found.following, found.twin, found.face,
        found.label, found.areas, found.outputs, found.layers, lengths, met, state, slopes,
    )  # fmt: skip
    return Totals(lengths, met, *numbers)


def hashes(found: Subdivision) -> Hashes:
    """128 bits a cell that its pattern decides, (F, 2)."""
    made = np.empty((found.cells, 2), np.uint64)
    hash_patterns(found.patterns, made)
    return made


def matched(before: Hashes, now: Hashes) -> NDArray[np.int32]:
    """Where each of `now` stands among those `before`, (F,); -1 where it does not."""
    found = np.empty(len(now), np.int32)
    match(before, now, _table(before), found)
    return found


def _table(hashes: Hashes) -> NDArray[np.int32]:
    """Scratch to look so many hashes up."""
    return np.empty(1 << (2 * len(hashes) + 1).bit_length(), np.int32)


class Fate(NamedTuple):
    """What became of the cells of one subdivision in another: see `fate`."""

    born: NDArray[np.int64]
    gone: NDArray[np.bool_]
    kept: int
    kept_area: float
    apart: float
    aged: float


def fate(
    before: Hashes, born: NDArray[np.int64], areas_before: Numbers, now: Hashes, areas: Numbers, epoch: int
) -> Fate:
    """What became of cells (F',) `born` at an epoch each, where at this `epoch` there are those of `now` (F,).

    When each of these was born (F,), who of the others is gone (F',), how many live on and with what area, the sum of
    what areas differ by, births and deaths included, and that of area times age.
    """
    since, gone = np.empty(len(now), np.int64), np.empty(len(before), np.bool_)
    told = compare(before, born, areas_before, now, areas, epoch, _table(before), since, gone)
    return Fate(since, gone, *told)


class Points:
    """Points (2, n) of a window, whose distances to walls are asked again and again."""

    def __init__(self, coordinates: Numbers) -> None:
        points = np.asarray(coordinates, np.float64)
        self._low, reach = points.min(1), np.ptp(points, 1)
        side = max(1, int(np.sqrt(points.shape[1] / A_SQUARE)))
        self._scale = np.divide(side, reach, out=np.zeros(2), where=reach > 0)
        column, row = np.minimum((points - self._low[:, None]) * self._scale[:, None], side - 1).astype(np.int64)
        square = row * side + column
        self._order = np.argsort(square, kind="stable")
        begins = np.searchsorted(square[self._order], np.arange(side * side + 1))
        self._begins = begins[np.arange(side)[:, None] * side + np.arange(side + 1)]
        self._x, self._y = (np.pad(axis[self._order], (0, DOUBLE_LANES)) for axis in points)

    def distances(self, found: Subdivision) -> Numbers:
        """The distance of each point to the nearest wall of its cell, (n,); infinite where its cell has none."""
        distances = np.empty(len(self._order))
        distances[self._order] = self._in_order(found)
        return distances

    def sorted_distances(self, found: Subdivision) -> Numbers:
        """These, the least first."""
        return np.sort(self._in_order(found))

    def _in_order(self, found: Subdivision) -> Numbers:
        distances = np.empty(len(self._x))
        find_distances(
            found.places, found.origin, found.following, found.label, found.first, self._x, self._y, self._begins,
            self._low, self._scale, distances,
        )  # fmt: skip
        return distances[: len(self._order)]
