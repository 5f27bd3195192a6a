"""What can be said of a whole subdivision: lengths of walls, variation, extrema, how unequal its areas are."""

import numpy as np

from draw_poly.kernels.compiled import kernel


@kernel
def measure(  # type: ignore[no-untyped-def]
    places, left, low, origin, following, twin, face, label, areas, outputs, layers, lengths, met, state, slopes
):
    """Fills lengths of walls by layer (layers,) and edges by neuron, `met` (neurons,).

    Returns the total variation of the first output, the integral of its gradient's square, how many vertices inside of
    the window are local extrema, and how many sides all cells have. A cell's area times its gradient is Green's
    integral of the outputs (V, k) around it: exactly 0 where they are constant. Scratches `state` (V,) and `slopes`
    (F, 2).
    """
    for neuron in range(len(met)):
        met[neuron] = 0
    for layer in range(len(lengths)):
        lengths[layer] = 0.0
    for vertex in range(len(places)):
        state[vertex] = 3  # may be a maximum, may be a minimum
    for cell in range(len(areas)):
        slopes[cell, 0], slopes[cell, 1] = 0.0, 0.0
    sides = 0
    for half in range(len(origin)):
        u, v, cell = origin[half], origin[following[half]], face[half]
        rise = outputs[v, 0] - outputs[u, 0]
        if cell < 0:
            state[u] = 0
        else:
            sides += 1
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
    return variation, energy, extrema, sides


@kernel
def unequal(areas):  # type: ignore[no-untyped-def]
    """Of sorted, positive areas (F,) their sum, Gini's coefficient, and the entropy of their shares in nats.

    The coefficient is 0 where all are one, and goes towards 1 where one has all.
    """
    count, whole, ranked = len(areas), 0.0, 0.0
    for place in range(count):
        whole += areas[place]
        ranked += (place + 1) * areas[place]
    entropy = 0.0
    for place in range(count):
        share = areas[place] / whole
        entropy -= share * np.log(share)
    return whole, 2.0 * ranked / (count * whole) - (count + 1) / count, entropy
