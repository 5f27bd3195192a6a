"""The subdivision while it is built: half-edges, and of each vertex its place, pre-activations and signs."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Indices = NDArray[np.int32]
Words = NDArray[np.uint64]

# Places in `counts`.
VERTICES, HALVES, FACES, UNDECIDED, EDGES_CONTRACTED, CELLS_CONTRACTED, UNPAIRED, SHORT = range(8)
COUNTS = 8
# What a build comes to.
DONE, NO_ROOM, TOO_MANY = range(3)
OUTSIDE = -1  # the face around the window
TOLERANCE = 1e-14  # of lengths in windows, and of cells' shares of them: what is below has no area
CORNERS = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))


class Mesh(NamedTuple):
    """A half-edge runs from `origin`, along its cell's boundary, counterclockwise, to `following`'s origin.

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


def begin(mesh: Mesh) -> None:
    """Makes it the window alone: one cell."""
    mesh.counts[:] = 0
    mesh.counts[[VERTICES, HALVES, FACES]] = 4, 8, 1
    mesh.places[:4] = CORNERS
    mesh.sums[:4, :2] = CORNERS
    sides = np.arange(4)
    mesh.origin[:8] = [*sides, *((sides + 1) % 4)]
    mesh.following[:8] = [*((sides + 1) % 4), *(4 + (sides - 1) % 4)]
    mesh.twin[:8] = [*(sides + 4), *sides]
    mesh.face[:4], mesh.face[4:8] = 0, OUTSIDE
    mesh.label[:8] = [*(-1 - sides), *(-1 - sides)]
    mesh.first[0] = 0
