"""The network on a block of points that stays in cache: forward and backward.

A block is laid out in panels of 16 points (see `kernels.cpu.tiles`); each layer's results have a room of their own in
it, where the backward pass replaces them by their gradient. Source of the formulas: `kernels/README.md`, "Network".
"""

import numpy as np
from numpy.typing import NDArray

from draw_poly.kernels.compiled import part
from draw_poly.kernels.cpu.loss import clear_fillers
from draw_poly.kernels.cpu.runtime.gradient_tile import gradient_tile
from draw_poly.kernels.cpu.runtime.tiles import backward_tile, forward_tile
from draw_poly.kernels.cpu.runtime.vector import LANES, load, pick, store
from draw_poly.kernels.spec import Network

# Panels of a block: of many points, of fewer, which are to be several tasks, and where the block would otherwise be of
# more than so many numbers. Measured, see kernels/README.md.
PANELS, FEWER_PANELS, FEWEST_PANELS = 32, 16, 8
MANY_POINTS, LARGEST_BLOCK = 4096, 2**18
# Columns of a table of layers, a row each.
OUT, INTO, WEIGHT, BIAS, SOURCE, SOURCE_STRIDE, TARGET, TARGET_STRIDE = range(8)


def table(network: Network, panels: int) -> NDArray[np.int64]:
    """What the kernels know of each layer: sizes, places in the parameters, places in a block of so many panels.

    A panel of a layer takes an odd number of vectors: panels at a distance of a power of two push each other out of
    the cache.
    """
    rows, parameter, room = [], 0, 0
    for out, into in network.shapes:
        stride, next_stride = LANES * (into | 1), LANES * (out | 1)
        bias = parameter + out * into
        rows.append((out, into, parameter, bias, room, stride, room + panels * stride, next_stride))
        parameter, room = bias + out, room + panels * stride
    return np.array(rows, np.int64)


def block_panels(network: Network, points: int) -> int:
    """Of how many panels its blocks are where there are so many points."""
    panels = PANELS if points >= MANY_POINTS else FEWER_PANELS
    width = sum(size | 1 for size in network.dims)
    return panels if panels * LANES * width <= LARGEST_BLOCK else FEWEST_PANELS


def block_size(layers: NDArray[np.int64], panels: int) -> int:
    """How many numbers a block of a table takes."""
    return int(layers[-1, TARGET] + panels * layers[-1, TARGET_STRIDE])


@part
def forward(parameters, layers, panels, block, specialisation):  # type: ignore[no-untyped-def]
    """Runs every layer on the inputs that stand in the block."""
    most = specialisation.registers.rows
    for layer in range(len(layers)):
        out, into, weight, bias, source, source_stride, target, target_stride = layers[layer]
        tiles = (out + most - 1) // most
        row = 0
        for tile in range(tiles):
            count = (out - row) // (tiles - tile)
            forward_tile(
                count, parameters, weight + row * into, bias + row, into, block, panels,
                source, source_stride, target + row * LANES, target_stride, layer < len(layers) - 1, specialisation,
            )  # fmt: skip
            row += count


@part
def backward(parameters, layers, points, block, specialisation, gradient):  # type: ignore[no-untyped-def]
    """Adds every layer's gradient to `gradient`, from that of `points` outputs, in their place."""
    panels = (points + LANES - 1) // LANES
    registers = specialisation.registers
    for layer in range(len(layers) - 1, -1, -1):
        out, into, weight, bias, source, source_stride, target, target_stride = layers[layer]
        # Zeros on both sides: one of them times an infinity would be a NaN.
        clear_fillers(out, points, block, target, target_stride)
        clear_fillers(into, points, block, source, source_stride)
        tiles = (out + registers.sum_rows - 1) // registers.sum_rows
        row = 0
        for tile in range(tiles):
            count = (out - row) // (tiles - tile)
            rows = target + row * LANES
            summed = 0  # rows of which the bias's gradient has been summed, beside a tile of the weight's
            blocks = (into + registers.sum_columns - 1) // registers.sum_columns
            column = 0
            for done in range(blocks):
                across = (into - column) // (blocks - done)
                wanted = min(registers.beside, count - summed)
                gradient_tile(
                    count, across, block, panels, rows, target_stride, source + column * LANES, source_stride, gradient,
                    weight + row * into + column, into, bias + row, summed, wanted, specialisation,
                )  # fmt: skip
                summed += wanted
                column += across
            gradient_tile(
                count - summed, 0, block, panels, rows + summed * LANES, target_stride, source, source_stride, gradient,
                bias + row + summed, 1, bias, 0, 0, specialisation,
            )  # fmt: skip
            row += count
        tiles = (into + registers.rows - 1) // registers.rows if layer else 0  # nobody wants the coordinates' gradient
        row = 0
        for tile in range(tiles):
            count = (into - row) // (tiles - tile)
            backward_tile(
                count, parameters, weight + row, into, out, block, panels,
                target, target_stride, source + row * LANES, source_stride, specialisation,
            )  # fmt: skip
            row += count


@part
def gather(data, order, first, count, block, start, stride):  # type: ignore[no-untyped-def]
    """Copies `count` points of data (k, n), from `first` on in this order, to a place in a block.

    The last panel is filled up with the last point, so that nothing new arises there.
    """
    whole = count // LANES
    for feature in range(data.shape[0]):
        row, at = data[feature], start + feature * LANES
        for panel in range(whole):
            store(block, at + panel * stride, pick(row, order, first + panel * LANES))
        if whole * LANES < count:
            for lane in range(LANES):
                block[at + whole * stride + lane] = row[order[first + min(whole * LANES + lane, count - 1)]]


@part
def gather_neighbours(data, first, count, block, start, stride):  # type: ignore[no-untyped-def]
    """As `gather` does, of points in their own order."""
    whole = count // LANES
    for feature in range(data.shape[0]):
        row, at = data[feature], start + feature * LANES
        for panel in range(whole):
            store(block, at + panel * stride, load(row, first + panel * LANES))
        if whole * LANES < count:
            for lane in range(LANES):
                block[at + whole * stride + lane] = row[first + min(whole * LANES + lane, count - 1)]
