"""A picture drawn in one call: its tiles' nodes are evaluated where they are needed, and drawn where they stand.

The picture is cut into bands, rows of tiles, which threads take one after the other: a band's nodes stay in the cache
from their evaluation to their pixels. Bands share a row of nodes, which both evaluate. Source: `picture/grid.py`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kernels.compiled import kernel, part
from kernels.cpu.clock import done, take, wait
from kernels.cpu.evaluate import evaluate_block, halves_of
from kernels.cpu.mlp import (
    MANY_POINTS,
    SOURCE,
    SOURCE_STRIDE,
    TARGET,
    TARGET_STRIDE,
    block_panels,
    block_size,
    table,
)  # fmt: skip
from kernels.cpu.threads import Team, threads_for
from kernels.cpu.vector import LANES
from kernels.picture.grid import NO_SIGNATURE, REMEMBERED, halve, settle
from kernels.spec import Network

SIDE = 32  # of the tiles that a band begins with, in pixels: a power of two
BAND_TILES = 2  # rows of them
# Pixels of bands that are drawn by one call: what is seen there is listed before the next.
PART = 2**21
# A node's output, its signature, and its place in three lists: of tiles, of their quarters, of nodes to evaluate.
NODE_SIZE = 6  # in numbers of 32 bits
WORTH = 0.1  # evaluations of a pixel, by the measure of whose work is shared


class Seen(NamedTuple):
    """What was seen of a picture: its signatures, the lowest and the highest output, and evaluations that it took."""

    signatures: NDArray[np.int64]
    lowest: float
    highest: float
    evaluations: int


@part
def evaluate_nodes(  # type: ignore[no-untyped-def]
    nodes, count, shift, x, y, parameters, layers, panels, slope, halves, block, sums, outputs, signatures
):
    """Evaluates the first `count` nodes, whose columns and rows stand at `x` and `y`, and stores what they are."""
    source, source_stride = layers[0, SOURCE], layers[0, SOURCE_STRIDE]
    target, target_stride = layers[-1, TARGET], layers[-1, TARGET_STRIDE]
    mask = (1 << shift) - 1
    for first in range(0, count, panels * LANES):
        here = min(panels * LANES, count - first)
        full = (here + LANES - 1) // LANES
        for panel in range(full):
            at = source + panel * source_stride
            for lane in range(LANES):
                node = nodes[first + min(panel * LANES + lane, here - 1)]
                block[at + lane] = x[node & mask]
                block[at + LANES + lane] = y[node >> shift]
        evaluate_block(parameters, layers, full, slope, halves, block, sums)
        for panel in range(full):
            at = target + panel * target_stride
            for lane in range(min(LANES, here - panel * LANES)):
                node = nodes[first + panel * LANES + lane]
                outputs[node] = block[at + lane]
                signatures[node] = sums[panel * LANES + lane]


@part
def whole_tiles(columns, rows, side, shift, nodes, tiles):  # type: ignore[no-untyped-def]
    """Lists the nodes and the tiles of a band of so many columns and rows of tiles; returns how many there are."""
    listed, made = 0, 0
    for row in range(rows + 1):
        for column in range(columns + 1):
            node = (row * side) << shift | (column * side)
            nodes[listed] = node
            listed += 1
            if row < rows and column < columns:
                tiles[made] = node
                made += 1
    return listed, made


@kernel
def work(  # type: ignore[no-untyped-def]
    clock, scratch, parameters, layers, panels, slope, halves, size, shift, begin, rows, x, y, gray, edges, colours,
    seen, found, evaluations, limits,
):  # fmt: skip
    """What one thread does of a picture's rows from `begin` on: takes bands of `rows` until there are none.

    A thread's scratch (size + nodes of a band * NODE_SIZE,) begins with its block. Each band writes `found`,
    `evaluations` and `limits` of its own, and from its first pixel on what it has `seen`.
    """
    height, width = gray.shape
    nodes = (rows + 1) << shift
    outputs = scratch[size : size + nodes]
    signatures = scratch[size + nodes : size + 3 * nodes].view(np.int64)
    tiles = scratch[size + 3 * nodes : size + 4 * nodes].view(np.int32)
    children = scratch[size + 4 * nodes : size + 5 * nodes].view(np.int32)
    wanted = scratch[size + 5 * nodes : size + 6 * nodes].view(np.int32)
    sums = np.empty(panels * LANES, np.int64)
    remembered = np.full(REMEMBERED, NO_SIGNATURE)
    while True:
        band = take(clock)
        if band >= len(found):
            wait(clock, len(found))
            return
        top, side = begin + band * rows, SIDE
        down = min(rows, height - top)
        own = seen[band * rows * width :]
        needed, count = whole_tiles((width + side - 1) // side, (down + side - 1) // side, side, shift, wanted, tiles)
        listed, evaluated = 0, 0
        while count:
            evaluate_nodes(
                wanted, needed, shift, x, y[top:], parameters, layers, panels, slope, halves, scratch, sums, outputs,
                signatures,
            )  # fmt: skip
            evaluated += needed
            count, listed = settle(
                side, shift, top, tiles, count, outputs, signatures, gray, edges, colours, remembered, own, listed,
                limits[band],
            )  # fmt: skip
            if count:
                count, needed = halve(
                    side, shift, down, width, 0, tiles, count, outputs, signatures, children, wanted
                )  # fmt: skip
                tiles, children = children, tiles
                side //= 2
        found[band], evaluations[band] = listed, evaluated
        done(clock)


class Painter:
    """Draws a network with these coefficients (neurons,), again and again at one size of at least a tile each way."""

    def __init__(self, network: Network, coefficients: Tensor, width: int, height: int) -> None:
        panels = block_panels(network, MANY_POINTS)
        layers = table(network, panels)
        size = -(-block_size(layers, panels) // LANES) * LANES
        # One column of nodes more than of pixels: the right side of the last tile.
        self._shift = (-(-width // SIDE) * SIDE).bit_length()
        self._rows = min(BAND_TILES, -(-height // SIDE)) * SIDE
        self._width, self._height = width, height
        self._settings = layers, panels, np.float32(network.slope), halves_of(coefficients), size, self._shift
        self._operations = 2.0 * network.size * WORTH * width
        self._team = Team(size + NODE_SIZE * ((self._rows + 1) << self._shift))
        self._x = _places(1 << self._shift, width)
        self._y = _places(height + SIDE + 1, height)
        bands = max(1, min(PART // width, height) // self._rows)
        self._seen = np.empty(bands * self._rows * width, np.int64)

    def draw(
        self,
        parameters: Tensor,
        gray: NDArray[np.uint8],
        edges: NDArray[np.uint8],
        colours: NDArray[np.uint8],
    ) -> Seen:
        """Draws into planes (height, width), `edges` zeros so far, `colours` perhaps empty: see `grid.settle`."""
        rows, width = self._rows, self._width
        part = len(self._seen) // width
        signatures, limits, evaluations = [], [], 0
        for begin in range(0, self._height, part):
            here = min(part, self._height - begin)
            bands = -(-here // rows)
            found, evaluated = np.zeros(bands, np.int64), np.zeros(bands, np.int64)
            ranges = np.full((bands, 2), (np.inf, -np.inf), np.float32)
            operations = self._operations * here
            self._team.run(
                threads_for(operations), operations, work, parameters.numpy(), *self._settings, begin, rows,
                self._x, self._y, gray, edges, colours, self._seen, found, evaluated, ranges,
            )  # fmt: skip
            starts = range(0, bands * rows * width, rows * width)
            lists = [self._seen[start : start + count] for start, count in zip(starts, found, strict=True)]
            signatures.append(np.unique(np.concatenate(lists)))
            limits.append(ranges)
            evaluations += int(evaluated.sum())
        lowest, highest = np.concatenate(limits).T
        return Seen(np.unique(np.concatenate(signatures)), float(lowest.min()), float(highest.max()), evaluations)


def _places(count: int, length: int) -> NDArray[np.float32]:
    """Coordinates of pixels of a side of `length`: pixel i stands at i / length."""
    return (np.arange(count) / length).astype(np.float32)
