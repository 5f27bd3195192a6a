"""The subdivision while it is built: half-edges, and of each vertex its place, pre-activations and signs."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from draw_poly.kernels.compiled import kernel
from draw_poly.kernels.spec.subdivision import OUTSIDE, Indices, Numbers

Words = NDArray[np.uint64]

# Places in `counts`.
VERTICES, HALVES, FACES, UNDECIDED, EDGES_CONTRACTED, CELLS_CONTRACTED, UNPAIRED, SHORT = range(8)
COUNTS = 8
# What a build comes to.
DONE, NO_ROOM, TOO_MANY = range(3)


class Mesh(NamedTuple):
    """Half-edges: of each edge one has an even number, and the other an odd one.

    One runs from `origin`, along its cell's boundary, counterclockwise, to `following`'s origin.

    `places` (V, 2) in the window; `sums` (V, width) pre-activations of the layer at hand; `signs` (V, words) bits of
    its neurons that are positive there. `origin`, `following`, `twin`, `face`, `label` (H,); a label is the number of
    the neuron whose wall the edge is, or -1 to -4 on the window's sides. `first` (F,) is one half-edge of each cell,
    `patterns` (F, words of all layers) are its neurons that are positive.
    """

    places: Numbers
    sums: Numbers
    signs: Words
    origin: Indices
    following: Indices
    twin: Indices
    face: Indices
    label: Indices
    first: Indices
    patterns: Words
    counts: NDArray[np.int64]


class Scratch(NamedTuple):
    """What a cut needs besides: lists of edges by neuron (width,), links (H,), marks of cells (F,), and blocks."""

    heads: Indices
    links: Indices
    mark: Indices
    mark2: Indices
    marked: Indices
    crossings: Indices
    inputs: Numbers
    results: Numbers


def room(faces: int, width: int, layer_words: int, all_words: int, block: int) -> tuple[Mesh, Scratch]:
    """An empty mesh for so many cells."""
    vertices, halves = faces + 16, 4 * faces + 64

    def indices(count: int) -> Indices:
        return np.empty(count, np.int32)

    mesh = Mesh(
        np.empty((vertices, 2)), np.empty((vertices, width)), np.empty((vertices, layer_words), np.uint64),
        indices(halves), indices(halves), indices(halves), indices(halves), indices(halves), indices(faces),
        np.empty((faces, all_words), np.uint64), np.zeros(COUNTS, np.int64),
    )  # fmt: skip
    scratch = Scratch(
        indices(width), indices(halves), np.full(faces, -1, np.int32), np.full(faces, -1, np.int32), indices(faces),
        indices(halves), np.empty((width, block)), np.empty((width, block)),
    )  # fmt: skip
    return mesh, scratch


@kernel
def begin(mesh):  # type: ignore[no-untyped-def]
    """Makes it the window alone: one cell."""
    counts = mesh.counts
    for place in range(COUNTS):
        counts[place] = 0
    counts[VERTICES], counts[HALVES], counts[FACES] = 4, 8, 1
    mesh.first[0] = 0
    for side in range(4):
        after, before = (side + 1) % 4, (side + 3) % 4
        mesh.places[side, 0], mesh.places[side, 1] = np.float64(side in (1, 2)), np.float64(side > 1)
        mesh.sums[side, 0], mesh.sums[side, 1] = mesh.places[side, 0], mesh.places[side, 1]
        inner, outer = 2 * side, 2 * side + 1
        mesh.origin[inner], mesh.origin[outer] = side, after
        mesh.following[inner], mesh.following[outer] = 2 * after, 2 * before + 1
        mesh.twin[inner], mesh.twin[outer] = outer, inner
        mesh.face[inner], mesh.face[outer] = 0, OUTSIDE
        mesh.label[inner], mesh.label[outer] = -1 - side, -1 - side
