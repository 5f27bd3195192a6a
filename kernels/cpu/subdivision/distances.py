"""Points' distances to the walls of their cells, in float64: cell after cell, eight points at a time.

A point's distance is the largest, over all cells, of its least height above a cell's walls: above some wall of any
other cell its height is negative. So no point need be found, and it does no harm to ask a cell of points beside it.
"""

import numpy as np

from draw_poly.kernels.compiled import kernel, part
from draw_poly.kernels.cpu.runtime.vector import DOUBLE_LANES, larger, load, smaller, splat, store

SHORT = 1e-9  # of its cell: an edge below it has no direction to speak of, and may be left out


@part
def gather_walls(places, origin, following, label, begin, walls, box):  # type: ignore[no-untyped-def]
    """A cell's walls, each a point and a direction of length one, (walls, 4), and its bounding `box`. Returns how many.

    Sides of the window are no walls.
    """
    half, count = begin, 0
    x, y = places[origin[begin], 0], places[origin[begin], 1]
    left, low, right, high = x, y, x, y
    while True:
        after, here = following[half], walls[count]
        to_x, to_y = places[origin[after], 0], places[origin[after], 1]
        here[0], here[1], here[2], here[3] = x, y, to_x - x, to_y - y
        count += label[half] >= 0
        left, low, right, high = min(left, to_x), min(low, to_y), max(right, to_x), max(high, to_y)
        half, x, y = after, to_x, to_y
        if half == begin:
            break
    box[0], box[1], box[2], box[3] = left, low, right, high
    least = SHORT * SHORT * ((right - left) * (right - left) + (high - low) * (high - low))
    kept = 0
    for wall in range(count):
        here, to = walls[wall], walls[kept]
        square = here[2] * here[2] + here[3] * here[3]
        scale = 1.0 / np.sqrt(square)
        to[0], to[1], to[2], to[3] = here[0], here[1], here[2] * scale, here[3] * scale
        kept += square > least
    return kept


@kernel(allocates=True)
def find_distances(places, origin, following, label, first, x, y, begins, low, scale, distances):  # type: ignore[no-untyped-def]
    """The distance of each point of the window to the nearest wall of its cell; infinite where that has none.

    Points stand, as x and y (n + DOUBLE_LANES,), in the order of a grid's squares, row by row: column
    (x - low[0]) * scale[0] and row (y - low[1]) * scale[1]. `begins` (rows, columns + 1) is where each square's do.
    """
    rows, columns = begins.shape[0], begins.shape[1] - 1
    walls, box = np.empty((len(origin), 4)), np.empty(4)
    for point in range(len(distances)):
        distances[point] = 0.0
    for cell in range(len(first)):
        count = gather_walls(places, origin, following, label, first[cell], walls, box)
        left, right = (box[0] - low[0]) * scale[0], (box[2] - low[0]) * scale[0]
        below, above = (box[1] - low[1]) * scale[1], (box[3] - low[1]) * scale[1]
        begin, end = min(max(int(left), 0), columns - 1), min(max(int(right), 0), columns - 1) + 1
        for row in range(min(max(int(below), 0), rows - 1), min(max(int(above), 0), rows - 1) + 1):
            for point in range(begins[row, begin], begins[row, end], DOUBLE_LANES):
                at_x, at_y, least = load(x, point), load(y, point), splat(np.inf)
                for wall in range(count):
                    here = walls[wall]
                    height = (at_y - splat(here[1])) * splat(here[2]) - (at_x - splat(here[0])) * splat(here[3])
                    least = smaller(height, least)
                store(distances, point, larger(least, load(distances, point)))
