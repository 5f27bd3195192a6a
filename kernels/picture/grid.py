"""Which points of a grid must be evaluated: a tile whose four corners share a signature is done.

Points of one signature form a convex set, on which the network is affine (`kernels/README.md`, "Signatures"). So a
tile of equal corners has their signature everywhere, and outputs between theirs; so has the segment between two equal
nodes. Only tiles of unequal corners are halved, and of their new nodes only those are evaluated that lie between
unequal ones.

A node is a point of the grid: node `row << shift | column`, since to divide would take longer than all else. A tile is
named by its upper left node, and a pixel is a tile of side 1. Tiles are powers of two wide, and may stick out of the
picture.
"""

import numpy as np
from numpy.typing import NDArray

from draw_poly.kernels.compiled import kernel
from draw_poly.kernels.spec import BELOW, RIGHT

REMEMBERED, NO_SIGNATURE = 4096, -1  # places of a memory of signatures, and what they hold at first
# Golden ratio times 2^64, odd: Knuth's multiplicative hash spreads neighbouring numbers.
SPREAD = np.uint64(0x9E3779B97F4A7C15)
COLOUR_BITS = 44  # of the product, the eight from here on
LARGEST = np.float32(1e30)  # output of a node that others follow from: 255 times their weighted mean is a number


def places(start: int, count: int, length: int) -> NDArray[np.float32]:
    """Coordinates of pixels from `start` on of a side of `length`: pixel i stands at i / length."""
    return (np.arange(start, start + count, dtype=np.float64) / length).astype(np.float32)


def widest(lowest: NDArray[np.float32], highest: NDArray[np.float32]) -> tuple[float, float]:
    """Of outputs' ranges (channels,), the lowest and highest number of the widest; NaN where one has a NaN."""
    place = int(np.argmax(highest - lowest)) if len(lowest) > 1 else 0
    return float(lowest[place]), float(highest[place])


@kernel
def halve(side, shift, height, width, first, tiles, count, outputs, signatures, children, nodes):  # type: ignore[no-untyped-def]
    """Quarters tiles; returns how many `children` (4 * count,) there are, and how many `nodes` must be evaluated.

    Writes outputs and signatures of the new nodes that follow from others. `height` and `width` are the picture's, in
    rows of nodes; rows above `first` are known. A tile evaluates the nodes on its upper and left sides, and those on
    its lower and right sides where there is no other tile to do it.
    """
    half, made, needed = side // 2, 0, 0
    down, mask = side << shift, (1 << shift) - 1
    for index in range(count):
        a = np.int64(tiles[index])
        row, column = a >> shift, a & mask
        b, c, d = a + side, a + down, a + down + side
        north, west, middle = a + half, a + down // 2, a + down // 2 + half
        if not _follows(north, a, b, outputs, signatures) and row >= first:
            nodes[needed] = north
            needed += 1
        if not _follows(west, a, c, outputs, signatures):
            nodes[needed] = west
            needed += 1
        if not _follows(west + side, b, d, outputs, signatures) and column + side >= width:
            nodes[needed] = west + side
            needed += 1
        if not _follows(c + half, c, d, outputs, signatures) and row + side >= height:
            nodes[needed] = c + half
            needed += 1
        if not (_follows(middle, a, d, outputs, signatures) or _follows(middle, b, c, outputs, signatures)):
            nodes[needed] = middle
            needed += 1
        for child in (a, north, west, middle):
            if child >> shift < height and child & mask < width:
                children[made] = child
                made += 1
    return made, needed


@kernel
def _follows(node, one, other, outputs, signatures):  # type: ignore[no-untyped-def]
    """Whether a node midway between two others is one of their pattern; writes its values where it is."""
    if signatures[one] != signatures[other] or not (_tame(outputs, one) and _tame(outputs, other)):
        return False
    signatures[node] = signatures[one]
    for channel in range(len(outputs)):
        values = outputs[channel]
        values[node] = np.float32(0.5) * values[one] + np.float32(0.5) * values[other]
    return True


@kernel
def _tame(outputs, node):  # type: ignore[no-untyped-def]
    """Whether outputs in between may be told from a node's: not from an infinity, nor from a NaN."""
    tame = True
    for channel in range(len(outputs)):
        tame &= abs(outputs[channel, node]) <= LARGEST
    return tame


@kernel
def coordinates(nodes, shift, x, y, points):  # type: ignore[no-untyped-def]
    """Writes the places of nodes into `points` (2, nodes): from those of columns `x` and rows `y`."""
    mask = (1 << shift) - 1
    for index in range(len(nodes)):
        points[0, index] = x[nodes[index] & mask]
        points[1, index] = y[nodes[index] >> shift]


@kernel
def store(nodes, values, patterns, outputs, signatures):  # type: ignore[no-untyped-def]
    """Writes what was evaluated, values (channels, nodes) and patterns (nodes,), to its nodes."""
    for channel in range(len(values)):
        for index in range(len(nodes)):
            outputs[channel, nodes[index]] = values[channel, index]
    for index in range(len(nodes)):
        signatures[nodes[index]] = patterns[index]


@kernel(allocates=True)
def settle(  # type: ignore[no-untyped-def]
    side, shift, top, left, tiles, count, outputs, signatures, levels, edges, colours, remembered, seen, found, limits
):
    """Draws the tiles that are done; returns how many are not, moved to the front, and how many signatures were `seen`.

    Node 0 is pixel (top, left) of the picture: `levels` (channels, height, width), of 8 bits, or outputs as they are in
    32; `edges` (height, width), `colours` the same or empty. `limits` (channels, 2) are the lowest and the highest
    output so far, NaN from the first NaN on. Each signature that is drawn
    and not in `remembered` (REMEMBERED,) is added to the first `found` in `seen`.
    """
    channels, height, width = levels.shape
    kept = 0
    down, mask = side << shift, (1 << shift) - 1
    step = np.float32(1.0) / np.float32(side)
    # Listed: to make 32-bit floats of loop counters, vectors have no instruction.
    fractions = np.arange(side).astype(np.float32) * step
    for index in range(count):
        a = np.int64(tiles[index])
        b, c = a + side, a + down
        signature = signatures[a]
        if side > 1 and not (
            signature == signatures[b] and signature == signatures[c] and signature == signatures[c + side]
            and _tame(outputs, a) and _tame(outputs, b) and _tame(outputs, c) and _tame(outputs, c + side)
        ):  # fmt: skip
            tiles[kept] = a
            kept += 1
            continue
        found = _remember(signature, remembered, seen, found)
        row, column = top + (a >> shift), left + (a & mask)
        if side == 1:
            for channel in range(channels):
                value = outputs[channel, a]
                _keep_limits(value, limits[channel])
                if levels.itemsize == 1:
                    levels[channel, row, column] = _level(np.float32(255.0) * value)
                else:
                    levels[channel, row, column] = value
            edge = 0
            if column + 1 < width and signatures[b] != signature:
                edge += RIGHT
            if row + 1 < height and signatures[c] != signature:
                edge += BELOW
            edges[row, column] = edge
            if len(colours):
                colours[row, column] = _colour(signature)
            continue
        columns = min(side, width - column)
        last = fractions[columns - 1]
        for channel in range(channels):
            values = outputs[channel]
            for line in range(min(side, height - row)):
                part = fractions[line]
                start = values[a] * (np.float32(1.0) - part) + values[c] * part
                end = values[b] * (np.float32(1.0) - part) + values[c + side] * part
                _keep_limits(start, limits[channel])
                _keep_limits(start * (np.float32(1.0) - last) + end * last, limits[channel])
                target = levels[channel, row + line, column : column + columns]
                if levels.itemsize == 1:
                    start, end = start * np.float32(255.0), end * np.float32(255.0)
                    for across in range(columns):
                        part = fractions[across]
                        target[across] = _level(start * (np.float32(1.0) - part) + end * part)
                else:
                    for across in range(columns):
                        part = fractions[across]
                        target[across] = start * (np.float32(1.0) - part) + end * part
        if len(colours):
            for line in range(min(side, height - row)):
                colours[row + line, column : column + columns] = _colour(signature)
    return kept, found


@kernel
def draw_rows(top, values, patterns, above, levels, edges, colours, remembered, seen, limits):  # type: ignore[no-untyped-def]
    """Draws rows of pixels from `top` on, from outputs (channels, rows, width) and signatures (rows, width).

    Returns how many were `seen`.

    `above` (width,) are the signatures of the row over them, empty where there is none. The rest is as in `settle`.
    """
    channels, rows, width = values.shape
    found = np.int64(0)
    for channel in range(channels):
        for line in range(rows):
            for column in range(width):
                value = values[channel, line, column]
                _keep_limits(value, limits[channel])
                if levels.itemsize == 1:
                    levels[channel, top + line, column] = _level(np.float32(255.0) * value)
                else:
                    levels[channel, top + line, column] = value
    for line in range(rows):
        row = top + line
        for column in range(width):
            signature = patterns[line, column]
            edges[row, column] = 0
            if column and patterns[line, column - 1] != signature:
                edges[row, column - 1] |= RIGHT
            if line:
                if patterns[line - 1, column] != signature:
                    edges[row - 1, column] |= BELOW
            elif len(above) and above[column] != signature:
                edges[row - 1, column] |= BELOW
            if not column or patterns[line, column - 1] != signature:
                found = _remember(signature, remembered, seen, found)
            if len(colours):
                colours[row, column] = _colour(signature)
    return found


@kernel
def _remember(signature, remembered, seen, found):  # type: ignore[no-untyped-def]
    """Adds a signature to those seen, unless the last one of its place was the same; returns how many there are."""
    place = np.int64((np.uint64(signature) * SPREAD) >> np.uint64(52))
    if remembered[place] == signature:
        return found
    remembered[place] = signature
    seen[found] = signature
    return found + 1


@kernel
def _colour(signature):  # type: ignore[no-untyped-def]
    return np.uint8((np.uint64(signature) * SPREAD) >> np.uint64(COLOUR_BITS))


@kernel
def _level(value):  # type: ignore[no-untyped-def]
    """A level of 8 bits: cut off towards zero, NaN to black."""
    return np.uint8(min(value, np.float32(255.0))) if value > np.float32(0.0) else np.uint8(0)


@kernel
def _keep_limits(value, limits):  # type: ignore[no-untyped-def]
    if not value >= limits[0]:
        limits[0] = value if limits[0] == limits[0] else limits[0]
    if not value <= limits[1]:
        limits[1] = value if limits[1] == limits[1] else limits[1]
