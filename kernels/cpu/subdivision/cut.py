"""One layer's neurons, one after the other, cut every edge and every cell that their walls pass through.

A vertex's signs are decided once, and an edge's crossing is made once, so that neighbours cannot disagree. Zero counts
as not positive: coincident walls need no case of their own, and leave cells without area, which are contracted.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from draw_poly.kernels.compiled import part
from draw_poly.kernels.cpu.subdivision.mesh import (
    DONE,
    FACES,
    HALVES,
    NO_ROOM,
    SHORT,
    UNDECIDED,
    UNPAIRED,
    VERTICES,
)
from draw_poly.kernels.spec.subdivision import NO_AREA

ROUNDING = 2.0**-51  # of an interpolation, by the larger of its ends


@intrinsic
def lowest(typing: Any, word: Any) -> Any:
    """The number of the lowest bit of a word that is not zero."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        return builder.cttz(values[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


@part
def file_edge(signs, words, heads, links, half, u, v, after):  # type: ignore[no-untyped-def]
    """Puts an edge on the list of the first neuron after one by which its ends differ, if there is one."""
    start = (after + 1) >> 6
    for word in range(start, words):
        differing = signs[u, word] ^ signs[v, word]
        if word == start:
            differing &= ~np.uint64(0) << np.uint64((after + 1) & 63)
        if differing:
            neuron = 64 * word + lowest(differing)
            links[half] = heads[neuron]
            heads[neuron] = half
            return


@part
def new_vertex(mesh, width, words, neuron, u, v, n):  # type: ignore[no-untyped-def]
    """Vertex n, where a neuron is zero between u and v: its place, sums and signs."""
    places, sums, signs, counts = mesh.places, mesh.sums, mesh.signs, mesh.counts
    at_u, at_v = sums[u, neuron], sums[v, neuron]
    difference = at_u - at_v
    share = min(max(at_u / difference, 0.0), 1.0) if difference != 0.0 else 0.5
    rest = 1.0 - share
    for other in range(width):
        sums[n, other] = rest * sums[u, other] + share * sums[v, other]
    sums[n, neuron] = 0.0
    to_u, to_v = 0.0, 0.0
    for axis in range(2):
        here = rest * places[u, axis] + share * places[v, axis]
        to_u += abs(here - places[u, axis])
        to_v += abs(here - places[v, axis])
        places[n, axis] = here
    counts[SHORT] += min(to_u, to_v) <= NO_AREA
    for word in range(words):
        common, differing = signs[u, word] & signs[v, word], signs[u, word] ^ signs[v, word]
        if neuron >> 6 == word:
            differing &= ~(np.uint64(1) << np.uint64(neuron & 63))
        while differing:
            bit = lowest(differing)
            other = 64 * word + bit
            here = sums[n, other]
            if here > 0.0:
                common |= np.uint64(1) << np.uint64(bit)
            counts[UNDECIDED] += abs(here) <= ROUNDING * max(abs(sums[u, other]), abs(sums[v, other]))
            differing &= differing - np.uint64(1)
        signs[n, word] = common


@part
def split_edge(mesh, half, n, made):  # type: ignore[no-untyped-def]
    """Splits an edge at vertex n: its two half-edges end there, and two more, `made` and the next, go on."""
    origin, following, twin, face, label = mesh.origin, mesh.following, mesh.twin, mesh.face, mesh.label
    other = twin[half]
    for before, beyond in ((half, made), (other, made + 1)):
        origin[beyond], face[beyond], label[beyond] = n, face[before], label[before]
        following[beyond] = following[before]
        following[before] = beyond
    twin[half], twin[made + 1] = made + 1, half
    twin[other], twin[made] = made, other


@part
def split_face(mesh, a, b, words, label):  # type: ignore[no-untyped-def]
    """Cuts a cell by a chord between the ends of two of its half-edges; what comes after b and before a is new."""
    origin, following, face, counts = mesh.origin, mesh.following, mesh.face, mesh.counts
    old, new, chord = face[a], counts[FACES], counts[HALVES]
    back = chord + 1
    after_a, after_b = following[a], following[b]
    origin[chord], origin[back] = origin[after_a], origin[after_b]
    following[a], following[chord] = chord, after_b
    following[b], following[back] = back, after_a
    mesh.twin[chord], mesh.twin[back] = back, chord
    mesh.label[chord], mesh.label[back] = label, label
    face[chord] = old
    half = back
    while True:
        face[half] = new
        half = following[half]
        if half == back:
            break
    mesh.first[old], mesh.first[new] = chord, back
    for word in range(words):
        mesh.patterns[new, word] = mesh.patterns[old, word]
    counts[FACES], counts[HALVES] = new + 1, chord + 2


@part
def split_often(mesh, crossings, face, oldest, words, label):  # type: ignore[no-untyped-def]
    """Cuts a cell that rounding has a wall cross more than twice: runs of one sign come off, one after the other."""
    half, found = mesh.first[face], 0
    begin = half
    while True:
        if mesh.origin[mesh.following[half]] >= oldest:
            crossings[found] = half
            found += 1
        half = mesh.following[half]
        if half == begin:
            break
    mesh.counts[UNPAIRED] += found & 1
    for pair in range(0, found - 1, 2):
        split_face(mesh, crossings[pair], crossings[pair + 1], words, label)


@part
def cut(mesh, scratch, width, words, done, label):  # type: ignore[no-untyped-def]
    """Cuts by all neurons of a layer; `done` words are those of the layers before, `label` its first neuron's number.

    Returns DONE or NO_ROOM.
    """
    heads, links, mark, mark2, marked = scratch.heads, scratch.links, scratch.mark, scratch.mark2, scratch.marked
    origin, twin, face, counts, signs = mesh.origin, mesh.twin, mesh.face, mesh.counts, mesh.signs
    most_vertices, most_halves, most_faces = len(mesh.places), len(origin), len(mesh.first)
    heads[:width] = -1
    for half in range(0, counts[HALVES], 2):
        file_edge(signs, words, heads, links, half, origin[half], origin[twin[half]], -1)
    for neuron in range(width):
        oldest, touched, half = counts[VERTICES], 0, heads[neuron]
        while half >= 0:
            link, other, n, made = links[half], twin[half], counts[VERTICES], counts[HALVES]
            if n == most_vertices or made + 2 > most_halves:
                return NO_ROOM
            u, v = origin[half], origin[other]
            new_vertex(mesh, width, words, neuron, u, v, n)
            split_edge(mesh, half, n, made)
            counts[VERTICES], counts[HALVES] = n + 1, made + 2
            file_edge(signs, words, heads, links, half, u, n, neuron)
            file_edge(signs, words, heads, links, made, n, v, neuron)
            for side in (half, other):
                where = face[side]
                if where >= 0:
                    if mark[where] < 0:
                        mark[where] = side
                        marked[touched] = where
                        touched += 1
                    else:
                        mark2[where] = side if mark2[where] == -1 else -2
            half = link
        for place in range(touched):
            where = marked[place]
            a, b = mark[where], mark2[where]
            mark[where], mark2[where] = -1, -1
            chords = 1 if b >= 0 else counts[VERTICES] - oldest
            if counts[FACES] + chords > most_faces or counts[HALVES] + 2 * chords > most_halves:
                return NO_ROOM
            chord = counts[HALVES]
            if b >= 0:
                split_face(mesh, a, b, done, label + neuron)
            else:
                split_often(mesh, scratch.crossings, where, oldest, done, label + neuron)
            for new in range(chord, counts[HALVES], 2):
                file_edge(signs, words, heads, links, new, origin[new], origin[new + 1], neuron)
    return DONE
