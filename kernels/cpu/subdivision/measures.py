"""What can be said of a whole subdivision: lengths of walls, variation, extrema; and points' distances to walls."""

import numpy as np

from draw_poly.kernels.compiled import kernel

BINS = 64  # of points, to a side of the square
SLANTED = 6  # bins of a cell's box from which on its parts are looked at row by row
MARGIN = 1e-9


@kernel
def measure(places, origin, following, twin, face, label, areas, maps, layers, lengths, met, values, state):  # type: ignore[no-untyped-def]
    """Fills lengths of walls by layer (layers,) and edges by neuron, `met` (neurons,).

    Returns the total variation of the first output, the integral of its gradient's square, and how many vertices
    inside of the window are local extrema. Scratches `values` and `state` (V,).
    """
    for neuron in range(len(met)):
        met[neuron] = 0
    for layer in range(len(lengths)):
        lengths[layer] = 0.0
    for vertex in range(len(places)):
        state[vertex] = 3  # may be a maximum, may be a minimum
    for half in range(len(origin)):
        if face[half] >= 0:
            cell, vertex = face[half], origin[half]
            values[vertex] = (
                maps[cell, 0, 0] * places[vertex, 0] + maps[cell, 0, 1] * places[vertex, 1] + maps[cell, 0, 2]
            )
    for half in range(len(origin)):
        u, v = origin[half], origin[following[half]]
        if face[half] < 0:
            state[u] = 0
        if values[v] >= values[u]:
            state[u] &= 2
        if values[v] <= values[u]:
            state[u] &= 1
        if half < twin[half] and label[half] >= 0:
            dx, dy = places[v, 0] - places[u, 0], places[v, 1] - places[u, 1]
            lengths[layers[label[half]]] += np.sqrt(dx * dx + dy * dy)
            met[label[half]] += 1
    variation, energy, extrema = 0.0, 0.0, 0
    for cell in range(len(areas)):
        square = maps[cell, 0, 0] * maps[cell, 0, 0] + maps[cell, 0, 1] * maps[cell, 0, 1]
        variation += areas[cell] * np.sqrt(square)
        energy += areas[cell] * square
    for vertex in range(len(places)):
        extrema += state[vertex] != 0
    return variation, energy, extrema


@kernel
def find_distances(places, origin, following, label, first, points, begins, lines, distances):  # type: ignore[no-untyped-def]
    """The distance of each point (n, 2) of the unit square to the nearest wall of its cell, (n,).

    Points are sorted by bins, row by row, and `begins` (BINS² + 1,) says where each bin's begin. Scratch `lines`
    (most sides, 4). A cell without walls leaves infinity.
    """
    for point in range(len(points)):
        distances[point] = np.inf
    for cell in range(len(first)):
        half, sides = first[cell], 0
        left, right, low, high = np.inf, -np.inf, np.inf, -np.inf
        while True:
            u, v = origin[half], origin[following[half]]
            x, y = places[u, 0], places[u, 1]
            left, right, low, high = min(left, x), max(right, x), min(low, y), max(high, y)
            dx, dy = places[v, 0] - x, places[v, 1] - y
            length = np.sqrt(dx * dx + dy * dy)
            lines[sides, 0], lines[sides, 1] = -dy / length, dx / length
            lines[sides, 2] = (dy * x - dx * y) / length
            lines[sides, 3] = np.inf if label[half] < 0 else 0.0
            sides += 1
            half = following[half]
            if half == first[cell]:
                break
        begin, end = int(left * BINS), min(int(right * BINS), BINS - 1)
        top, bottom = int(low * BINS), min(int(high * BINS), BINS - 1)
        slanted = (end - begin) * (bottom - top) > SLANTED
        for row in range(top, bottom + 1):
            if slanted:  # only the part of the box where the cell is
                left, right = np.inf, -np.inf
                while True:
                    u, v = origin[half], origin[following[half]]
                    x, y, dx, dy = places[u, 0], places[u, 1], places[v, 0], places[v, 1]
                    dx, dy = dx - x, dy - y
                    above, below = row / BINS - y, (row + 1) / BINS - y
                    if min(0.0, dy) <= below and max(0.0, dy) >= above:
                        if dy == 0.0:
                            enter, leave = 0.0, 1.0
                        else:
                            enter, leave = above / dy, below / dy
                            enter, leave = max(min(enter, leave), 0.0), min(max(enter, leave), 1.0)
                        left = min(left, x + min(enter * dx, leave * dx))
                        right = max(right, x + max(enter * dx, leave * dx))
                    half = following[half]
                    if half == first[cell]:
                        break
                if left > right:
                    continue
                # A bin more than rounding asks for.
                begin = max(int((left - MARGIN) * BINS), 0)
                end = min(int((right + MARGIN) * BINS), BINS - 1)
            for point in range(begins[row * BINS + begin], begins[row * BINS + end + 1]):
                least = np.inf
                for side in range(sides):
                    inside = lines[side, 0] * points[point, 0] + lines[side, 1] * points[point, 1] + lines[side, 2]
                    if inside < 0.0:
                        least = -1.0
                        break
                    least = min(least, inside + lines[side, 3])
                if least >= 0.0:
                    distances[point] = min(distances[point], least)
