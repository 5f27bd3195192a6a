"""Panels put together: gray and lines to colours, strokes of a curve, colours to the planes of a film."""

import numpy as np

from draw_poly.kernels.compiled import kernel
from draw_poly.kernels.spec import BELOW, RIGHT

# How much of a pixel a line covers, in 256ths: by how many of the edges on its right and lower sides are boundaries, or
# where none is, by how many on its left and upper sides are.
OWN, BESIDE = (0, 154, 192), (0, 51, 77)
# How much of a region's colour goes into its gray, in 256ths.
TINT = 144
# What gray has as a difference of colours.
NO_COLOUR = 128


@kernel(allocates=True)
def cover(edges, covered):  # type: ignore[no-untyped-def]
    """How much of each pixel a boundary covers, in 256ths (height, width), from `edges` of `kernels.picture.grid`.

    A line is one pixel wide, and a third as strong on the boundary's other side: thin, without stairs.
    """
    height, width = edges.shape
    none, left = np.zeros(width, np.uint8), np.zeros(width + 1, np.uint8)
    for row in range(height):
        here, above, target = edges[row], none if row == 0 else edges[row - 1], covered[row]
        for column in range(width):  # arrays assigned whole take the compiler seconds
            left[column + 1] = here[column]
        for column in range(width):
            own = np.int32((here[column] & RIGHT) + ((here[column] & BELOW) >> 1))
            beside = np.int32((left[column] & RIGHT) + ((above[column] & BELOW) >> 1))
            strong = OWN[2] if own == 2 else OWN[1]
            weak = BESIDE[2] if beside == 2 else (BESIDE[1] if beside == 1 else BESIDE[0])
            target[column] = strong if own else weak


@kernel
def paint(gray, covered, colours, line, tints, frame):  # type: ignore[no-untyped-def]
    """Draws the first two panels of a frame (height, 3 * width, 3): gray with regions' colours and lines, and gray.

    `covered` is `cover`'s; `line` (3,) is the colour of lines, `tints` (256, 3) are those of `colours` (height, width),
    which may be empty.
    """
    height, width = gray.shape
    line_red, line_green, line_blue = np.int32(line[0]), np.int32(line[1]), np.int32(line[2])
    for row in range(height):
        levels, lines = gray[row], covered[row]
        first, second = frame[row, :width].reshape(-1), frame[row, width : 2 * width].reshape(-1)
        for column in range(width):
            red = green = blue = np.int32(levels[column])
            if len(colours):
                tint = tints[colours[row, column]]
                red = (red * (256 - TINT) + tint[0] * TINT) >> 8
                green = (green * (256 - TINT) + tint[1] * TINT) >> 8
                blue = (blue * (256 - TINT) + tint[2] * TINT) >> 8
            share = np.int32(lines[column])
            first[3 * column] = red + (((line_red - red) * share) >> 8)
            first[3 * column + 1] = green + (((line_green - green) * share) >> 8)
            first[3 * column + 2] = blue + (((line_blue - blue) * share) >> 8)
        for column in range(width):
            for channel in range(3):
                second[3 * column + channel] = levels[column]


@kernel
def paint_colours(picture, covered, colours, line, tints, panel):  # type: ignore[no-untyped-def]
    """Draws a panel (height, width, 3) of a picture in colour: with regions' colours and lines, as `paint` does."""
    height, width, channels = picture.shape
    for row in range(height):
        for column in range(width):
            share = np.int32(covered[row, column])
            for channel in range(channels):
                value = np.int32(picture[row, column, channel])
                if len(colours):
                    value = (value * (256 - TINT) + tints[colours[row, column], channel] * TINT) >> 8
                panel[row, column, channel] = value + (((np.int32(line[channel]) - value) * share) >> 8)


@kernel
def paint_brightness(gray, covered, colours, line, shades, tints, first, second):  # type: ignore[no-untyped-def]
    """The same in a film's plane of brightness: `first` and `second` are the panels, `line` is the line's value.

    `shades` (256,) are the values of gray levels, `tints` (256,) those of `colours`. Where the panels are larger than
    `gray`, its last row and column are repeated.
    """
    height, width = gray.shape
    for row in range(first.shape[0]):
        source = min(row, height - 1)
        levels, lines, target, plain = gray[source], covered[source], first[row], second[row]
        for column in range(width):
            value = shades[levels[column]]
            plain[column] = value
            if len(colours):
                value = (value * (256 - TINT) + tints[colours[source, column]] * TINT) >> 8
            target[column] = value + (((line - value) * np.int32(lines[column])) >> 8)
        for column in range(width, first.shape[1]):
            target[column], plain[column] = target[width - 1], plain[width - 1]


@kernel
def paint_difference(covered, colours, line, tints, first):  # type: ignore[no-untyped-def]
    """The same in a plane of colour differences, a value for four pixels: of the first panel, since gray has none."""
    height, width = covered.shape
    pairs = width // 2
    for row in range(first.shape[0]):
        upper, lower = 2 * row, min(2 * row + 1, height - 1)
        above, below, target = covered[upper], covered[lower], first[row]
        for column in range(pairs):
            total = np.int32(above[2 * column]) + np.int32(above[2 * column + 1])
            total += np.int32(below[2 * column]) + np.int32(below[2 * column + 1])
            target[column] = NO_COLOUR + (((line - NO_COLOUR) * total + 512) >> 10)
        for column in range(pairs, first.shape[1]):
            total = np.int32(above[width - 1]) + np.int32(below[width - 1])
            target[column] = NO_COLOUR + (((line - NO_COLOUR) * total + 256) >> 9)
        if len(colours):
            for column in range(first.shape[1]):
                total = np.int32(0)
                for corner in range(4):
                    source, place = lower if corner > 1 else upper, min(2 * column + corner % 2, width - 1)
                    value = (NO_COLOUR * (256 - TINT) + tints[colours[source, place]] * TINT) >> 8
                    total += value + (((line - value) * np.int32(covered[source, place])) >> 8)
                target[column] = (total + 2) >> 2


@kernel
def to_video(pixels, luma, blue, red):  # type: ignore[no-untyped-def]
    """Red, green and blue (height, width, 3) to brightness (2 n, 2 m) and two colour differences (n, m).

    BT.601 in limited range, its coefficients in 256ths. An odd last row or column is repeated.
    """
    height, width, _ = pixels.shape
    for row in range(blue.shape[0]):
        for column in range(blue.shape[1]):
            total_red = total_green = total_blue = np.int32(0)
            for corner in range(4):
                line, place = 2 * row + corner // 2, 2 * column + corner % 2
                point = pixels[min(line, height - 1), min(place, width - 1)]
                r, g, b = np.int32(point[0]), np.int32(point[1]), np.int32(point[2])
                luma[line, place] = ((66 * r + 129 * g + 25 * b + 128) >> 8) + 16
                total_red, total_green, total_blue = total_red + r, total_green + g, total_blue + b
            blue[row, column] = ((-38 * total_red - 74 * total_green + 112 * total_blue + 512) >> 10) + 128
            red[row, column] = ((112 * total_red - 94 * total_green - 18 * total_blue + 512) >> 10) + 128


@kernel
def draw_strokes(low, high, colour, panel):  # type: ignore[no-untyped-def]
    """Draws vertical strokes on a panel (height, width, 3), one a column, from `low` to `high` in fractional rows.

    A pixel takes on as much of the colour as the stroke covers of it. NaN draws nothing.
    """
    height = panel.shape[0]
    for column in range(len(low)):
        top, bottom = max(low[column], 0.0), min(high[column], float(height))
        if not top < bottom:
            continue
        for row in range(int(top), min(height, int(np.ceil(bottom)))):
            covered = min(bottom, row + 1.0) - max(top, float(row))
            for channel in range(3):
                value = float(panel[row, column, channel])
                panel[row, column, channel] = np.uint8(value + (colour[channel] - value) * covered)
