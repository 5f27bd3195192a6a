"""Cells drawn on a grid of pixels: whose each pixel is, and walls as anti-aliased lines.

Pixel (i, j) stands at (j / width, i / height); a line's darkness falls off over a pixel on either side, so that cells
thinner than a pixel are seen.
"""

import numpy as np

from draw_poly.kernels.compiled import kernel


@kernel
def fill_cells(places, origin, following, first, plane):  # type: ignore[no-untyped-def]
    """Writes into a plane (height, width) of int32 whose cell each pixel is; a pixel on a wall is one of the two's."""
    height, width = plane.shape
    for cell in range(len(first)):
        begin = first[cell]
        low, high, half = np.inf, -np.inf, begin
        while True:
            y = places[origin[half], 1] * height
            low, high = min(low, y), max(high, y)
            half = following[half]
            if half == begin:
                break
        for row in range(int(np.ceil(low)), min(int(high), height - 1) + 1):
            left, right = np.inf, -np.inf
            while True:
                u, v = origin[half], origin[following[half]]
                y, z = places[u, 1] * height - row, places[v, 1] * height - row
                if min(y, z) <= 0.0 <= max(y, z):
                    share = y / (y - z) if y != z else 0.0
                    x = ((1.0 - share) * places[u, 0] + share * places[v, 0]) * width
                    left, right = min(left, x), max(right, x)
                    if y == z:
                        x = places[v, 0] * width
                        left, right = min(left, x), max(right, x)
                half = following[half]
                if half == begin:
                    break
            if left <= right:
                for column in range(int(np.ceil(left)), min(int(right), width - 1) + 1):
                    plane[row, column] = cell


@kernel
def stroke_edges(places, origin, following, twin, label, reach, plane):  # type: ignore[no-untyped-def]
    """Draws the walls into a plane (height, width) of uint8: 255 on a line, to 0 at `reach` pixels from it."""
    height, width = plane.shape
    for half in range(len(origin)):
        if half > twin[half] or label[half] < 0:
            continue
        u, v = origin[half], origin[following[half]]
        x, y = places[u, 0] * width, places[u, 1] * height
        dx, dy = places[v, 0] * width - x, places[v, 1] * height - y
        length = dx * dx + dy * dy
        if length == 0.0:
            continue
        steep = abs(dy) > abs(dx)
        along, across = (dy, dx) if steep else (dx, dy)
        at, aside = (y, x) if steep else (x, y)
        most, most_aside = (height, width) if steep else (width, height)
        spread = reach * np.sqrt(length) / abs(along)
        begin, end = min(at, at + along) - reach, max(at, at + along) + reach
        for step in range(max(0, int(np.ceil(begin))), min(most - 1, int(np.floor(end))) + 1):
            middle = aside + across * (min(max((step - at) / along, 0.0), 1.0))
            for place in range(
                max(0, int(np.ceil(middle - spread))), min(most_aside - 1, int(np.floor(middle + spread))) + 1
            ):
                column, row = (place, step) if steep else (step, place)
                share = min(max(((column - x) * dx + (row - y) * dy) / length, 0.0), 1.0)
                away_x, away_y = x + share * dx - column, y + share * dy - row
                level = 255.0 * (1.0 - np.sqrt(away_x * away_x + away_y * away_y) / reach)
                if level > plane[row, column]:
                    plane[row, column] = np.uint8(level)
