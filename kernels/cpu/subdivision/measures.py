"""What can be said of a whole subdivision: lengths of walls, variation, extrema; and points' distances to walls."""

import numpy as np

from draw_poly.kernels.compiled import kernel, part


@kernel
def measure(  # type: ignore[no-untyped-def]
    places, left, low, origin, following, twin, face, label, areas, outputs, layers, lengths, met, state, slopes
):
    """Fills lengths of walls by layer (layers,) and edges by neuron, `met` (neurons,).

    Returns the total variation of the first output, the integral of its gradient's square, and how many vertices
    inside of the window are local extrema. A cell's area times its gradient is Green's integral of the outputs (V, k)
    around it: exactly 0 where they are constant. Scratches `state` (V,) and `slopes` (F, 2).
    """
    for neuron in range(len(met)):
        met[neuron] = 0
    for layer in range(len(lengths)):
        lengths[layer] = 0.0
    for vertex in range(len(places)):
        state[vertex] = 3  # may be a maximum, may be a minimum
    for cell in range(len(areas)):
        slopes[cell, 0], slopes[cell, 1] = 0.0, 0.0
    for half in range(len(origin)):
        u, v, cell = origin[half], origin[following[half]], face[half]
        rise = outputs[v, 0] - outputs[u, 0]
        if cell < 0:
            state[u] = 0
        else:
            slopes[cell, 0] -= 0.5 * ((places[u, 1] - low) + (places[v, 1] - low)) * rise
            slopes[cell, 1] += 0.5 * ((places[u, 0] - left) + (places[v, 0] - left)) * rise
        state[u] &= 2 * (rise > 0.0) | (rise < 0.0)
        if half < twin[half] and label[half] >= 0:
            dx, dy = places[v, 0] - places[u, 0], places[v, 1] - places[u, 1]
            lengths[layers[label[half]]] += np.sqrt(dx * dx + dy * dy)
            met[label[half]] += 1
    variation, energy, extrema = 0.0, 0.0, 0
    for cell in range(len(areas)):
        square = slopes[cell, 0] * slopes[cell, 0] + slopes[cell, 1] * slopes[cell, 1]
        variation += np.sqrt(square)
        energy += square / areas[cell]
    for vertex in range(len(places)):
        extrema += state[vertex] != 0
    return variation, energy, extrema


@part
def by_cell(places, origin, following, twin, face, label, first):  # type: ignore[no-untyped-def]
    """The edges of each cell beside each other, for who asks of them again and again.

    Where each cell's begin (F + 1,); of each edge (S, 6) its start, its direction, one over its length's square and 0,
    or on a side of the window 0 and infinity; the edge's twin in this order, and the cell there, (S,).
    """
    begins, place = np.empty(len(first) + 1, np.int32), np.empty(len(origin), np.int32)
    edges, halves = np.empty((len(origin), 6)), np.empty(len(origin), np.int32)
    count = 0
    for cell in range(len(first)):
        begins[cell], half = count, first[cell]
        left, low = places[origin[half], 0], places[origin[half], 1]
        while True:
            after = following[half]
            right, high = places[origin[after], 0], places[origin[after], 1]
            here, dx, dy = edges[count], right - left, high - low
            here[0], here[1], here[2], here[3] = left, low, dx, dy
            here[4], here[5] = (1.0 / (dx * dx + dy * dy), 0.0) if label[half] >= 0 else (0.0, np.inf)
            halves[count], place[half] = half, count
            count += 1
            half, left, low = after, right, high
            if half == first[cell]:
                break
    begins[len(first)] = count
    twins, beyond = np.empty(count, np.int32), np.empty(count, np.int32)
    for edge in range(count):
        back = twin[halves[edge]]
        beyond[edge] = face[back]
        twins[edge] = place[back] if face[back] >= 0 else -1
    return begins, edges[:count], twins, beyond


@kernel
def find_distances(places, origin, following, twin, face, label, first, centres, points, distances):  # type: ignore[no-untyped-def]
    """The distance of each point (n, 2) of the window to the nearest wall of its cell, (n,).

    Walks to each from the one before, straight through the cells between, so points that follow each other should be
    near each other. A cell without walls leaves infinity.
    """
    begins, edges, twins, beyond = by_cell(places, origin, following, twin, face, label, first)
    cell, from_x, from_y = 0, centres[0, 0], centres[0, 1]
    for point in range(len(points)):
        x, y, by, least = points[point, 0], points[point, 1], -1, np.inf
        for _ in range(len(first)):  # no straight way enters a cell twice, but rounding may lead it around a corner
            leaving, soonest, least = -1, np.inf, np.inf
            for edge in range(begins[cell], begins[cell + 1]):
                here = edges[edge]
                inside = here[2] * (y - here[1]) - here[3] * (x - here[0])
                if inside < 0.0 and edge != by and beyond[edge] >= 0:  # by which it came it does not leave
                    was = max(here[2] * (from_y - here[1]) - here[3] * (from_x - here[0]), 0.0)
                    if was < soonest * (was - inside):
                        leaving, soonest = edge, was / (was - inside)
                inside = max(inside, 0.0)
                least = min(least, inside * inside * here[4] + here[5])
            if leaving < 0:
                break
            by, cell = twins[leaving], beyond[leaving]
        distances[point] = np.sqrt(least)
        from_x, from_y = x, y
