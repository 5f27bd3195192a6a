"""What has no area is contracted: edges without length, cells without width.

No vertex moves by more than a few times the tolerance, and no cell gives more area away than it; V - E + F stays.
"""

import numpy as np

from draw_poly.kernels.compiled import part
from draw_poly.kernels.cpu.subdivision.mesh import (
    CELLS_CONTRACTED,
    EDGES_CONTRACTED,
    FACES,
    HALVES,
    VERTICES,
)
from draw_poly.kernels.spec.subdivision import NO_AREA, OUTSIDE

GONE = -2


@part
def root(parent, vertex):  # type: ignore[no-untyped-def]
    """The oldest of the vertices that are one with this one."""
    while parent[vertex] != vertex:
        parent[vertex] = parent[parent[vertex]]
        vertex = parent[vertex]
    return vertex


@part(allocates=True)
def join_vertices(mesh):  # type: ignore[no-untyped-def]
    """Makes the ends of short edges one vertex, and drops the edges between them. Returns how many edges."""
    places, origin, following, twin, face, counts = (
        mesh.places, mesh.origin, mesh.following, mesh.twin, mesh.face, mesh.counts,
    )  # fmt: skip
    parent = np.empty(counts[VERTICES], np.int32)
    for vertex in range(counts[VERTICES]):
        parent[vertex] = vertex
    for half in range(counts[HALVES]):
        if half < twin[half]:
            u, v = origin[half], origin[twin[half]]
            apart = abs(places[u, 0] - places[v, 0]) + abs(places[u, 1] - places[v, 1])
            if apart <= NO_AREA:
                u, v = root(parent, u), root(parent, v)
                parent[max(u, v)] = min(u, v)
    for half in range(counts[HALVES]):
        origin[half] = root(parent, origin[half])
    dropped = 0
    for half in range(counts[HALVES]):
        if origin[half] == origin[twin[half]]:
            face[half] = GONE
            dropped += 1
    for half in range(counts[HALVES]):
        if face[half] != GONE:
            after = following[half]
            while face[after] == GONE:
                after = following[after]
            following[half] = after
    return dropped // 2


@part
def close_digon(mesh, half):  # type: ignore[no-untyped-def]
    """Makes the two sides of a cell of two sides one edge."""
    twin, face, label = mesh.twin, mesh.face, mesh.label
    other = mesh.following[half]
    a, b = twin[half], twin[other]
    face[half], face[other] = GONE, GONE
    twin[a], twin[b] = b, a
    label[a] = label[b] = min(label[half], label[other])


@part
def drop_spikes(mesh, half):  # type: ignore[no-untyped-def]
    """Drops edges that end in a cell, going back from the end of a half-edge. Returns what is left in its place."""
    following, twin, face = mesh.following, mesh.twin, mesh.face
    while following[half] == twin[half]:
        back = twin[half]
        before = following[back]
        while following[before] != half:
            before = following[before]
        if before == back:
            return half
        following[before] = following[back]
        face[half], face[back] = GONE, GONE
        half = before
    return half


@part
def merge(mesh, half):  # type: ignore[no-untyped-def]
    """Drops an edge: the cell on its left becomes part of that on its right."""
    following, twin, face, first = mesh.following, mesh.twin, mesh.face, mesh.first
    other = twin[half]
    old, new = face[half], face[other]
    before = half
    while following[before] != half:
        before = following[before]
        face[before] = new
    before_other = other
    while following[before_other] != other:
        before_other = following[before_other]
    following[before], following[before_other] = following[other], following[half]
    face[half], face[other] = GONE, GONE
    left = drop_spikes(mesh, before)
    if face[before_other] != GONE:
        left = drop_spikes(mesh, before_other)
    first[old], first[new] = GONE, left


@part
def slender(mesh, begin, least):  # type: ignore[no-untyped-def]
    """Tells whether a cell has a width or an area below what counts, and its longest edge that has a cell beyond."""
    places, origin, following = mesh.places, mesh.origin, mesh.following
    base, half, area, longest, longest_inner, found = origin[begin], begin, 0.0, 0.0, -1.0, -1
    while True:
        u, v = origin[half], origin[following[half]]
        dx, dy = places[v, 0] - places[u, 0], places[v, 1] - places[u, 1]
        area += (places[u, 0] - places[base, 0]) * dy - (places[u, 1] - places[base, 1]) * dx
        length = dx * dx + dy * dy
        longest = max(longest, length)
        beyond = mesh.face[mesh.twin[half]]
        if length > longest_inner and beyond != OUTSIDE and beyond != mesh.face[half]:
            longest_inner, found = length, half
        half = following[half]
        if half == begin:
            break
    return area <= NO_AREA * np.sqrt(longest) or area <= 2.0 * least, found


@part
def contract(mesh, width, words, all_words, least):  # type: ignore[no-untyped-def]
    """Contracts edges shorter than the tolerance, cells narrower than it, and cells whose area is below `least`."""
    following, face, first, counts = mesh.following, mesh.face, mesh.first, mesh.counts
    edges, cells = join_vertices(mesh), 0
    for cell in range(counts[FACES]):
        first[cell] = GONE
    for half in range(counts[HALVES]):
        if face[half] >= 0:
            first[face[half]] = half
    for cell in range(counts[FACES]):
        half = first[cell]
        if half == GONE:
            cells += 1
            continue
        if following[following[half]] == half:
            close_digon(mesh, half)
            first[cell] = GONE
            cells += 1
    for cell in range(counts[FACES]):
        if first[cell] != GONE and counts[FACES] - cells > 1:
            thin, edge = slender(mesh, first[cell], least)
            if thin and edge >= 0:
                if following[following[edge]] == edge:  # its neighbour was merged with another
                    close_digon(mesh, edge)
                    first[cell] = GONE
                else:
                    merge(mesh, edge)
                cells += 1
    if edges or cells:
        counts[EDGES_CONTRACTED] += edges
        counts[CELLS_CONTRACTED] += cells
        pack(mesh, width, words, all_words)


@part(allocates=True)
def pack(mesh, width, words, all_words):  # type: ignore[no-untyped-def]
    """Closes the gaps that are left in the lists, in their order."""
    origin, following, twin, face, first, counts = (
        mesh.origin, mesh.following, mesh.twin, mesh.face, mesh.first, mesh.counts,
    )  # fmt: skip
    halves = np.empty(counts[HALVES], np.int32)
    vertices, cells = np.empty(counts[VERTICES], np.int32), np.empty(counts[FACES], np.int32)
    for vertex in range(counts[VERTICES]):
        vertices[vertex] = GONE
    for cell in range(counts[FACES]):
        cells[cell] = GONE
    live = 0
    for half in range(counts[HALVES]):
        if face[half] != GONE:
            if half < twin[half]:
                halves[half], halves[twin[half]] = live, live + 1
                live += 2
            vertices[origin[half]] = 0
            if face[half] >= 0:
                cells[face[half]] = half
    kept = 0
    for vertex in range(counts[VERTICES]):
        if vertices[vertex] != GONE:
            vertices[vertex] = kept
            for axis in range(2):
                mesh.places[kept, axis] = mesh.places[vertex, axis]
            for neuron in range(width):
                mesh.sums[kept, neuron] = mesh.sums[vertex, neuron]
            for word in range(words):
                mesh.signs[kept, word] = mesh.signs[vertex, word]
            kept += 1
    counts[VERTICES] = kept
    kept = 0
    for cell in range(counts[FACES]):
        if cells[cell] != GONE:
            first[kept] = halves[cells[cell]]
            cells[cell] = kept
            for word in range(all_words):
                mesh.patterns[kept, word] = mesh.patterns[cell, word]
            kept += 1
    counts[FACES] = kept
    old = (origin.copy(), following.copy(), twin.copy(), face.copy(), mesh.label.copy())
    for half in range(counts[HALVES]):
        was = old[3][half]
        if was != GONE:
            to = halves[half]
            origin[to], following[to], twin[to] = vertices[old[0][half]], halves[old[1][half]], halves[old[2][half]]
            face[to] = OUTSIDE if was == OUTSIDE else cells[was]
            mesh.label[to] = old[4][half]
    counts[HALVES] = live
