"""What a layer makes of every vertex: its pre-activations in float64, and one bit a neuron that is positive.

Vertices are taken by blocks, as columns beside each other, so that a core's vectors are full whatever the width. Blocks
share nothing and sums have one order: threads may take them as they like, and no bit depends on it.
"""

import numpy as np

from draw_poly.kernels.compiled import part

BLOCK = 64  # vertices
UNIT = 2.0**-53
MAGNITUDE = np.int64(2**63 - 1)  # all bits of a float64 but its sign


@part
def multiply(parameters, place, inputs, into, out, sums):  # type: ignore[no-untyped-def]
    """Sums (out, BLOCK) of a block's inputs (into, BLOCK), four inputs at a pass; weights begin at a place."""
    whole = into - into % 4
    for row in range(out):
        here, bias, w = sums[row], parameters[place + out * into + row], place + row * into
        for lane in range(BLOCK):
            here[lane] = bias
        for k in range(0, whole, 4):
            a, b, c, d = inputs[k], inputs[k + 1], inputs[k + 2], inputs[k + 3]
            wa, wb, wc, wd = parameters[w + k], parameters[w + k + 1], parameters[w + k + 2], parameters[w + k + 3]
            for lane in range(BLOCK):
                here[lane] += (wa * a[lane] + wb * b[lane]) + (wc * c[lane] + wd * d[lane])
        for k in range(whole, into):
            a, wa = inputs[k], parameters[w + k]
            for lane in range(BLOCK):
                here[lane] += wa * a[lane]


@part(allocates=True)
def doubtful(parameters, place, inputs, into, out, count, sums):  # type: ignore[no-untyped-def]
    """How many of a block's sums are below their own rounding bound, γ (|W| |a| + |b|)."""
    factor, found = (into + 2) * UNIT, 0
    largest, numbers = np.empty(into), inputs.view(np.int64)
    for k in range(into):
        top = np.int64(0)
        for lane in range(BLOCK):  # as whole numbers, magnitudes have the order of their bits, and are compared at once
            top = max(top, numbers[k, lane] & MAGNITUDE)
        largest.view(np.int64)[k] = top
    for row in range(out):
        w, bias = place + row * into, abs(parameters[place + out * into + row])
        most = bias
        for k in range(into):
            most += abs(parameters[w + k]) * largest[k]
        most *= factor
        near = 0
        for lane in range(BLOCK):
            near += abs(sums[row, lane]) <= most
        if near:
            for lane in range(count):
                bound = bias
                for k in range(into):
                    bound += abs(parameters[w + k]) * abs(inputs[k, lane])
                found += abs(sums[row, lane]) <= factor * bound
    return found


@part
def gather(sums, first, count, into, slope, inputs):  # type: ignore[no-untyped-def]
    """Inputs (into, BLOCK) of so many vertices from the first on: their sums, activated; the last one fills up."""
    for lane in range(BLOCK):
        vertex = first + min(lane, count - 1)
        for k in range(into):
            here = sums[vertex, k]
            inputs[k, lane] = here if here > 0.0 else slope * here


@part(allocates=True)
def sign_block(first, last, sums, signs, into, out, slope, parameters, place, inputs, results):  # type: ignore[no-untyped-def]
    """Takes vertices first to last, at most a BLOCK, through a layer; `sums` were the layer's before, or the places.

    `slope` is the activation's before the layer. Returns how many signs are undecided.
    """
    count = last - first
    gather(sums, first, count, into, slope, inputs)
    multiply(parameters, place, inputs, into, out, results)
    bits = np.empty(BLOCK, np.uint64)
    for begin in range(0, out, 64):
        bits[:] = 0
        for row in range(begin, min(begin + 64, out)):
            for lane in range(BLOCK):
                bits[lane] |= np.uint64(results[row, lane] > 0.0) << np.uint64(row & 63)
        for lane in range(count):
            signs[first + lane, begin >> 6] = bits[lane]
    for lane in range(count):
        for row in range(out):
            sums[first + lane, row] = results[row, lane]
    return doubtful(parameters, place, inputs, into, out, count, results)


@part
def see_patterns(mesh, words, done):  # type: ignore[no-untyped-def]
    """Gives each cell the signs of a layer: those of its neurons that are positive at one of its vertices."""
    patterns, face, origin, signs = mesh.patterns, mesh.face, mesh.origin, mesh.signs
    for cell in range(mesh.counts[2]):
        for word in range(words):
            patterns[cell, done + word] = 0
    for half in range(mesh.counts[1]):
        if face[half] >= 0:
            for word in range(words):
                patterns[face[half], done + word] |= signs[origin[half], word]
