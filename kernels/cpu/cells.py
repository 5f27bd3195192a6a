"""What is asked of a whole subdivision, in calls of compiled code: numbers, hashes, matches, points' distances."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from draw_poly.kernels.cpu.subdivision.identity import compare, hash_patterns, match
from draw_poly.kernels.cpu.subdivision.measures import find_distances, measure
from draw_poly.kernels.spec.subdivision import Subdivision

Numbers = NDArray[np.float64]
Hashes = NDArray[np.uint64]


class Totals(NamedTuple):
    """Lengths of walls by layer (layers,), edges by neuron (neurons,), and numbers of the first output.

    `variation` is the integral of its gradient's length, `energy` that of the length's square, `extrema` are vertices
    inside of the window above or below all their neighbours.
    """

    lengths: Numbers
    met: NDArray[np.int64]
    variation: float
    energy: float
    extrema: int


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
    table = np.empty(1 << (2 * len(before) + 1).bit_length(), np.int32)
    match(before, now, table, found)
    return found


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
    return Fate(since, gone, *compare(matched(before, now), born, areas_before, areas, epoch, since, gone))


class Points:
    """Points (2, n) of a window, whose distances to walls are asked again and again."""

    def __init__(self, coordinates: Numbers) -> None:
        points = np.ascontiguousarray(coordinates.T, np.float64)
        rows = np.floor(points[:, 1] * max(1.0, np.sqrt(len(points)) / 2))
        # To and fro, row after row: each is near the one before.
        self._order = np.lexsort((np.where(rows % 2, -points[:, 0], points[:, 0]), rows))
        self._points = points[self._order]

    def distances(self, found: Subdivision) -> Numbers:
        """The distance of each point to the nearest wall of its cell, (n,); infinite where its cell has none."""
        sorted_ones = np.empty(len(self._points))
        find_distances(
            found.places, found.origin, found.following, found.twin, found.face, found.label, found.first,
            found.centres, self._points, sorted_ones,
        )  # fmt: skip
        distances = np.empty_like(sorted_ones)
        distances[self._order] = sorted_ones
        return distances
