"""What can be said of each cell once the subdivision stands: area, centre, and the affine map of the network there."""

import numpy as np

from draw_poly.kernels.compiled import kernel, part
from draw_poly.kernels.cpu.subdivision.mesh import VERTICES
from draw_poly.kernels.cpu.subdivision.signs import BLOCK, gather, multiply


@part
def measure_areas(mesh, areas, centres):  # type: ignore[no-untyped-def]
    """Areas (F,) and centres of mass (F, 2), as shares of the window and in it. Returns the least area."""
    places, origin, following = mesh.places, mesh.origin, mesh.following
    least = np.inf
    for cell in range(mesh.counts[2]):
        begin = mesh.first[cell]
        x, y = places[origin[begin], 0], places[origin[begin], 1]
        half = following[begin]
        px, py = places[origin[half], 0] - x, places[origin[half], 1] - y
        area, at_x, at_y = 0.0, 0.0, 0.0
        half = following[half]
        while half != begin:
            qx, qy = places[origin[half], 0] - x, places[origin[half], 1] - y
            twice = px * qy - py * qx
            area += twice
            at_x += twice * (px + qx)
            at_y += twice * (py + qy)
            px, py = qx, qy
            half = following[half]
        areas[cell] = 0.5 * area
        if area > 0.0:
            at_x, at_y = at_x / (3.0 * area), at_y / (3.0 * area)
        centres[cell, 0], centres[cell, 1] = x + at_x, y + at_y
        least = min(least, 0.5 * area)
    return least


@part
def find_outputs(mesh, parameters, into, slope, inputs, results, outputs):  # type: ignore[no-untyped-def]
    """What the network is at each vertex (V, outputs), by its last hidden layer's sums there, `into` of them."""
    sums, out, vertices = mesh.sums, outputs.shape[1], mesh.counts[VERTICES]
    place = len(parameters) - out * (into + 1)
    for first in range(0, vertices, BLOCK):
        count = min(BLOCK, vertices - first)
        gather(sums, first, count, into, slope, inputs)
        multiply(parameters, place, inputs, into, out, results)
        for lane in range(count):
            for row in range(out):
                outputs[first + lane, row] = results[row, lane]


@part
def take_back(parameters, place, into, out, gradient, results):  # type: ignore[no-untyped-def]
    """The transposed product: results (into, BLOCK) of gradients (out, BLOCK); weights begin at a place."""
    whole = out - out % 4
    for column in range(into):
        here = results[column]
        for lane in range(BLOCK):
            here[lane] = 0.0
        for k in range(0, whole, 4):
            a, b, c, d = gradient[k], gradient[k + 1], gradient[k + 2], gradient[k + 3]
            w = place + k * into + column
            wa, wb, wc, wd = parameters[w], parameters[w + into], parameters[w + 2 * into], parameters[w + 3 * into]
            for lane in range(BLOCK):
                here[lane] += (wa * a[lane] + wb * b[lane]) + (wc * c[lane] + wd * d[lane])
        for k in range(whole, out):
            a, wa = gradient[k], parameters[place + k * into + column]
            for lane in range(BLOCK):
                here[lane] += wa * a[lane]


@kernel(allocates=True)
def find_maps(patterns, parameters, dims, slope, gradient, results, maps):  # type: ignore[no-untyped-def]
    """The affine map of each cell, (F, outputs, 3): what it makes of x, of y, and of one.

    Backpropagation through the cell's own pattern, BLOCK cells beside each other; scratches (width, BLOCK).
    """
    layers, cells = len(dims) - 1, len(maps)
    offset, words = np.empty(BLOCK), np.zeros(BLOCK, np.uint64)
    for first in range(0, cells, BLOCK):
        count = min(BLOCK, cells - first)
        for output in range(dims[layers]):
            for lane in range(BLOCK):
                offset[lane] = 0.0
                for row in range(dims[layers]):
                    gradient[row, lane] = np.float64(row == output)
            place, word = len(parameters), patterns.shape[1]
            for layer in range(layers - 1, -1, -1):
                into, out = dims[layer], dims[layer + 1]
                place -= out * (into + 1)
                if layer < layers - 1:
                    word -= (out + 63) >> 6
                    for row in range(out):
                        here, bit = gradient[row], np.uint64(row & 63)
                        if not bit:
                            for lane in range(count):
                                words[lane] = patterns[first + lane, word + (row >> 6)]
                        for lane in range(BLOCK):
                            here[lane] *= 1.0 if words[lane] >> bit & np.uint64(1) else slope
                for row in range(out):
                    bias, here = parameters[place + out * into + row], gradient[row]
                    for lane in range(BLOCK):
                        offset[lane] += bias * here[lane]
                take_back(parameters, place, into, out, gradient, results)
                gradient, results = results, gradient
            for lane in range(count):
                maps[first + lane, output, 0] = gradient[0, lane]
                maps[first + lane, output, 1] = gradient[1, lane]
                maps[first + lane, output, 2] = offset[lane]
