"""What can be said of a whole subdivision: lengths of walls, variation, extrema; and points' distances to walls."""

import numpy as np

from draw_poly.kernels.compiled import kernel


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
def find_distances(places, origin, following, twin, face, label, first, centres, points, distances):  # type: ignore[no-untyped-def]
    """The distance of each point (n, 2) of the window to the nearest wall of its cell, (n,).

    Walks to each from the one before, straight through the cells between, so points that follow each other should be
    near each other. A cell without walls leaves infinity.
    """
    cell, from_x, from_y = 0, centres[0, 0], centres[0, 1]
    for point in range(len(points)):
        x, y, by = points[point, 0], points[point, 1], -1
        for _ in range(len(first)):  # no straight way enters a cell twice, but rounding may lead it around a corner
            leaving, soonest, least = -1, np.inf, np.inf
            half = first[cell]
            left, low = places[origin[half], 0], places[origin[half], 1]
            while True:
                after = following[half]
                right, high = places[origin[after], 0], places[origin[after], 1]
                if label[half] >= 0:
                    dx, dy = right - left, high - low
                    inside = dx * (y - low) - dy * (x - left)
                    if inside >= 0.0 or half == by:  # by which it came it does not leave, for rounding's sake
                        least = min(least, max(inside, 0.0) ** 2 / (dx * dx + dy * dy))
                    else:
                        was = max(dx * (from_y - low) - dy * (from_x - left), 0.0)
                        if was < soonest * (was - inside):
                            leaving, soonest = half, was / (was - inside)
                half, left, low = after, right, high
                if half == first[cell]:
                    break
            if leaving < 0:
                break
            by = twin[leaving]
            cell = face[by]
        distances[point] = np.sqrt(least)
        from_x, from_y = x, y
