"""A window of the plane as a network subdivides it: what every package's `subdivide` returns."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from draw_poly.kernels.spec.window import UNIT_SQUARE, Window

Numbers = NDArray[np.float64]
Indices = NDArray[np.int32]

MOST_REGIONS = 1_000_000  # unless told otherwise
OUTSIDE = -1  # the face around the window
NO_AREA = 1e-14  # of the window; of lengths in it, below which an edge has none
SIDES = ("below", "right", "above", "left")  # of labels -1 to -4


class TooManyRegions(Exception):
    """A window has more regions than were allowed."""


@dataclass(frozen=True)
class Subdivision:
    """The linear regions of a network of two inputs in a window, as half-edges; all in float64.

    A region is the set of points of the window that share one activation pattern (neurons with z > 0) and have area;
    it is convex, and the network is affine there.

    A half-edge runs from vertex `origin` along its cell's boundary, counterclockwise, to the origin of `following`;
    `twin` runs back along the same edge, and `face` is the cell on its left, or -1 outside the window. `label` is the
    edge's neuron, counted through all hidden layers, or -1 to -4 on the window's `SIDES`.

    Shapes: of vertices `places` (V, 2), and what the network is there, `outputs` (V, outputs); `origin`, `following`,
    `twin`, `face`, `label` (H,); of cells, `first` half-edge (F,), `patterns` (F, words) with a layer's neurons in
    words of 64 bits of its own, lowest first, `areas` (F,), `centres` of mass (F, 2), and `maps` (F, outputs, 3), found
    when first asked for.

    `undecided` counts signs of vertices that are within their own rounding bound of zero; `edges_contracted` and
    `cells_contracted` what had no area: edges shorter than `NO_AREA` of the window, cells narrower than that, or
    smaller.
    """

    widths: tuple[int, ...]
    window: Window
    places: Numbers
    outputs: Numbers
    origin: Indices
    following: Indices
    twin: Indices
    face: Indices
    label: Indices
    first: Indices
    patterns: NDArray[np.uint64]
    areas: Numbers
    centres: Numbers
    undecided: int
    edges_contracted: int
    cells_contracted: int
    find_maps: Callable[[], Numbers] = field(repr=False, compare=False)

    @property
    def cells(self) -> int:
        """How many regions it has."""
        return len(self.first)

    @cached_property
    def maps(self) -> Numbers:
        """The affine map of each cell, (F, outputs, 3): output = map @ (x, y, 1)."""
        return self.find_maps()

    @cached_property
    def edges(self) -> NDArray[np.int64]:
        """One half-edge of each edge, (E,): the one on whose left there is a cell."""
        found = np.arange(len(self.twin))
        inner = (self.face != OUTSIDE) & ((found < self.twin) | (self.face[self.twin] == OUTSIDE))
        chosen: NDArray[np.int64] = np.flatnonzero(inner)
        return chosen

    @cached_property
    def sides(self) -> NDArray[np.int64]:
        """How many edges each cell has, (F,)."""
        counted: NDArray[np.int64] = np.bincount(self.face[self.face >= 0], minlength=self.cells)
        return counted

    @cached_property
    def lengths(self) -> Numbers:
        """The length of each half-edge, (H,)."""
        apart = self.places[self.origin[self.following]] - self.places[self.origin]
        found: Numbers = np.hypot(apart[:, 0], apart[:, 1])
        return found

    def neuron(self, label: int) -> tuple[int, int]:
        """The (layer, neuron) of an edge's label, both from 0. Raises ValueError for a side of the window."""
        left = label
        for layer, width in enumerate(self.widths):
            if 0 <= left < width:
                return layer, left
            left -= width
        raise ValueError(f"label {label} is no neuron's: give one from 0 to {sum(self.widths) - 1}")

    @property
    def layers(self) -> NDArray[np.int64]:
        """The layer of each neuron, (neurons,): of an edge, by its label."""
        found: NDArray[np.int64] = np.repeat(np.arange(len(self.widths)), self.widths)
        return found

    @cached_property
    def rings(self) -> tuple[NDArray[np.int64], Indices]:
        """The half-edges of each cell in their order, (sides of all,), and where each cell's begin, (F + 1,)."""
        begins = np.concatenate(([0], np.cumsum(self.sides)))
        halves, here = np.empty(begins[-1], np.int32), self.first.copy()
        going = np.arange(self.cells)
        for step in range(int(self.sides.max())):
            halves[begins[going] + step] = here
            here = self.following[here]
            still = here != self.first[going]
            going, here = going[still], here[still]
        return begins, halves

    def polygon(self, cell: int) -> Numbers:
        """The corners of a cell, counterclockwise, (corners, 2)."""
        begins, halves = self.rings
        return self.places[self.origin[halves[begins[cell] : begins[cell + 1]]]]


def placed(found: Subdivision) -> Subdivision:
    """A subdivision of the unit square, as it is of its own window."""
    left, bottom, right, top = found.window
    if found.window == UNIT_SQUARE:
        return found
    corner, size = np.array([left, bottom]), np.array([right - left, top - bottom])
    places, centres = corner + found.places * size, corner + found.centres * size
    for axis, high in enumerate((right, top)):
        places[found.places[:, axis] == 1.0, axis] = high
    return replace(found, places=places, centres=centres, areas=found.areas * size.prod())
