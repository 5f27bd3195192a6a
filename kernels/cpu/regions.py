"""The exact subdivision of a window by a network of two inputs, layer by layer, in float64.

The structure is that of half-edges; see "Regions" in `kernels/README.md`. What is computed does not depend on threads.
"""

from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from draw_poly.kernels.compiled import kernel
from draw_poly.kernels.cpu.runtime.task_counter import claim, finish, wait
from draw_poly.kernels.cpu.runtime.threads import Team, threads_for
from draw_poly.kernels.cpu.subdivision.cells import find_maps, find_outputs, measure_areas
from draw_poly.kernels.cpu.subdivision.contract import contract
from draw_poly.kernels.cpu.subdivision.cut import cut
from draw_poly.kernels.cpu.subdivision.mesh import (
    CELLS_CONTRACTED,
    DONE,
    EDGES_CONTRACTED,
    FACES,
    HALVES,
    NO_ROOM,
    SHORT,
    TOO_MANY,
    UNDECIDED,
    UNPAIRED,
    VERTICES,
    begin,
    room,
)
from draw_poly.kernels.cpu.subdivision.signs import BLOCK, see_patterns, sign_block
from draw_poly.kernels.spec import Network
from draw_poly.kernels.spec.subdivision import MOST_REGIONS, NO_AREA, Subdivision, TooManyRegions, placed
from draw_poly.kernels.spec.window import UNIT_SQUARE, Window
from draw_poly.kernels.window import prepared

LEAST_ROOM = 4096  # cells
WIDE = 32  # from this width on threads share the vertices
TASK = 8 * BLOCK  # vertices of a task


@kernel
def work(counter, scratch, vertices, sums, signs, into, out, slope, parameters, place, undecided):  # type: ignore[no-untyped-def]
    """What one thread does of a layer's signs: takes vertices, TASK by TASK, until there are none."""
    half = len(scratch) // 2
    inputs = scratch[:half].view(np.float64).reshape((-1, BLOCK))
    results = scratch[half:].view(np.float64).reshape((-1, BLOCK))
    while True:
        task = claim(counter)
        if task >= len(undecided):
            wait(counter, 0, len(undecided))
            return
        found = 0
        for first in range(task * TASK, min((task + 1) * TASK, vertices), BLOCK):
            last = min(first + BLOCK, vertices)
            found += sign_block(first, last, sums, signs, into, out, slope, parameters, place, inputs, results)
        undecided[task] = found
        finish(counter, 0)


@kernel
def cut_layers(mesh, scratch, parameters, dims, places, slope, first, last, signed, most):  # type: ignore[no-untyped-def]
    """Cuts by layers first to last, and contracts what has no area. Returns what it came to.

    `places` (layers, 3) are where a layer's parameters, its words and its neurons begin. Whether it is `signed`: the
    layer's signs are there.
    """
    counts = mesh.counts
    for layer in range(first, last):
        into, out = dims[layer], dims[layer + 1]
        place, done, label = places[layer, 0], places[layer, 1], places[layer, 2]
        words = (out + 63) >> 6
        if not signed:
            before = slope if layer else 1.0
            for vertex in range(0, counts[VERTICES], BLOCK):
                counts[UNDECIDED] += sign_block(
                    vertex, min(vertex + BLOCK, counts[VERTICES]), mesh.sums, mesh.signs, into, out, before, parameters,
                    place, scratch.inputs, scratch.results,
                )  # fmt: skip
        counts[SHORT] = 0
        if cut(mesh, scratch, out, words, done, label) == NO_ROOM:
            return NO_ROOM
        see_patterns(mesh, words, done)
        if counts[SHORT]:
            contract(mesh, out, words, done + words, 0.0)
        if counts[FACES] > most:
            return TOO_MANY
    return DONE


@kernel
def finish_cells(mesh, scratch, parameters, dims, slope, areas, centres, outputs):  # type: ignore[no-untyped-def]
    """Areas and centres of the cells that have area, once the others are contracted; the outputs at vertices."""
    width = dims[-2]
    if measure_areas(mesh, areas, centres) <= NO_AREA:
        contract(mesh, width, mesh.signs.shape[1], mesh.patterns.shape[1], NO_AREA)
        measure_areas(mesh, areas, centres)
    before = slope if len(dims) > 2 else 1.0
    find_outputs(mesh, parameters, width, before, scratch.inputs, scratch.results, outputs)


@kernel(allocates=True)
def taken(mesh, areas, centres, outputs):  # type: ignore[no-untyped-def]
    """Copies of what a mesh has come to, in the order of a `Subdivision`."""
    vertices, halves, cells = mesh.counts[VERTICES], mesh.counts[HALVES], mesh.counts[FACES]
    return (
        mesh.places[:vertices].copy(), outputs[:vertices].copy(), mesh.origin[:halves].copy(),
        mesh.following[:halves].copy(), mesh.twin[:halves].copy(), mesh.face[:halves].copy(),
        mesh.label[:halves].copy(), mesh.first[:cells].copy(), mesh.patterns[:cells].copy(), areas[:cells].copy(),
        centres[:cells].copy(),
    )  # fmt: skip


@kernel(allocates=True)
def build(mesh, scratch, parameters, dims, places, slope, most, areas, centres, outputs):  # type: ignore[no-untyped-def]
    """The whole subdivision by one thread: as `cut_layers`, `finish_cells` and `taken`. Returns what it came to, too.

    One call, and copies made in it: a call that gives Python's lock away may wait for it.
    """
    begin(mesh)
    came_to = cut_layers(mesh, scratch, parameters, dims, places, slope, 0, len(dims) - 2, False, most)
    if came_to == DONE:
        finish_cells(mesh, scratch, parameters, dims, slope, areas, centres, outputs)
    return came_to, taken(mesh, areas, centres, outputs)


def affine_maps(network: Network, parameters: NDArray[np.float64], patterns: NDArray[np.uint64]) -> NDArray[np.float64]:
    """The affine map (F, outputs, 3) of each cell, by parameters (P,) and patterns (F, words)."""
    found = np.empty((len(patterns), network.dims[-1], 3))
    gradient, results = np.empty((2, max(network.dims), BLOCK))
    find_maps(patterns, parameters, np.array(network.dims), network.slope, gradient, results, found)
    return found


def subdivide(network: Network, parameters: ArrayLike, window: Window = UNIT_SQUARE) -> Subdivision:
    """The subdivision of a window by a network with these parameters (P,): see `Regions.subdivide`."""
    return Regions(network).subdivide(parameters, window)


class Regions:
    """Subdivides windows by a network, again and again: its memory is kept from one to the next, and grows.

    One thread's at a time. Raises ValueError for a network that has other than two inputs, or an activation that is
    not piecewise affine.
    """

    def __init__(self, network: Network, most: int = MOST_REGIONS) -> None:
        self._network, self._most = network, most
        self._dims = np.array(network.dims)
        hidden = network.dims[1:-1]
        words = [(width + 63) // 64 for width in hidden]
        self._layer_words, self._words = max(words, default=1), sum(words)
        begins = [(0, *accumulate(sizes)) for sizes in (words, hidden)]
        self._places = np.array(list(zip(network.offsets, *begins, strict=True)))
        self._width = max(network.dims)
        self._team = Team(2 * 2 * BLOCK * max(network.dims))
        self._make_room(LEAST_ROOM)

    def subdivide(self, parameters: ArrayLike, window: Window = UNIT_SQUARE) -> Subdivision:
        """The subdivision of a window by these parameters (P,).

        Raises ValueError for parameters that are not finite or not of this network and for a degenerate window, and
        TooManyRegions.
        """
        numbers, moved, window = prepared(self._network, parameters, window)
        while True:
            came_to, found = self._build(moved)
            if came_to != NO_ROOM:
                break
            self._make_room(2 * len(self._mesh.first))
        if came_to == TOO_MANY:
            raise TooManyRegions(f"the window has more than {self._most} regions")
        places, outputs, origin, following, twin, face, label, first, patterns, areas, centres = found
        counts, own = self._mesh.counts, numbers.copy()  # which their owner may go on to train
        return placed(
            Subdivision(
                self._network.dims[1:-1], window, places, outputs, origin, following, twin, face, label, first,
                patterns, areas, centres, int(counts[UNDECIDED]), int(counts[EDGES_CONTRACTED]),
                int(counts[CELLS_CONTRACTED]), partial(affine_maps, self._network, own, patterns),
            )
        )  # fmt: skip

    @property
    def unpaired(self) -> int:
        """Crossings of the last subdivision that found no second one in their cell: a fault of arithmetic, if any."""
        return int(self._mesh.counts[UNPAIRED])

    def _make_room(self, cells: int) -> None:
        self._mesh, self._scratch = room(cells, self._width, self._layer_words, self._words, BLOCK)
        self._areas, self._centres = np.empty(cells), np.empty((cells, 2))
        self._outputs = np.empty((len(self._mesh.places), self._network.dims[-1]))

    def _build(self, parameters: NDArray[np.float64]) -> tuple[int, Any]:
        """What it came to, and what was `taken`."""
        mesh, scratch, dims, places, slope = self._mesh, self._scratch, self._dims, self._places, self._network.slope
        told = self._areas, self._centres, self._outputs
        if self._width < WIDE:
            came_to, found = build(mesh, scratch, parameters, dims, places, slope, self._most, *told)
            return came_to, found
        begin(mesh)
        for layer in range(len(dims) - 2):
            vertices, into, out = int(mesh.counts[VERTICES]), *self._network.dims[layer : layer + 2]
            undecided = np.zeros(-(-vertices // TASK), np.int64)
            operations = 2.0 * out * into * vertices
            self._team.run(
                threads_for(operations), operations, work, vertices, mesh.sums, mesh.signs, into, out,
                slope if layer else 1.0, parameters, int(places[layer, 0]), undecided,
            )  # fmt: skip
            mesh.counts[UNDECIDED] += undecided.sum()
            came_to = cut_layers(mesh, scratch, parameters, dims, places, slope, layer, layer + 1, True, self._most)
            if came_to != DONE:
                return came_to, ()
        finish_cells(mesh, scratch, parameters, dims, slope, *told)
        return DONE, taken(mesh, *told)
