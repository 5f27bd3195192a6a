"""A picture drawn in one call: its tiles' nodes are evaluated where they are needed, and drawn where they stand.

The picture is cut into blocks, which threads take one after the other: a block's nodes stay in a core's own cache from
their evaluation to their pixels. Neighbouring blocks share nodes, which both evaluate. Source: `picture/grid.py`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from draw_poly.kernels.compiled import kernel, part
from draw_poly.kernels.cpu.evaluate import Settings, evaluate_block
from draw_poly.kernels.cpu.gradient import SOURCE, SOURCE_STRIDE, TARGET, TARGET_STRIDE
from draw_poly.kernels.cpu.runtime.task_counter import claim, finish, wait
from draw_poly.kernels.cpu.runtime.threads import Team, threads_for
from draw_poly.kernels.cpu.runtime.vector import LANES
from draw_poly.kernels.picture.grid import NO_SIGNATURE, REMEMBERED, halve, places, settle, widest
from draw_poly.kernels.spec import Network
from draw_poly.kernels.tensors import read_array

# Pixels of a block, and of the tiles that it begins with: powers of two.
ROWS, COLUMNS, SIDE = 128, 256, 128
SHIFT = COLUMNS.bit_length()  # a block has one column of nodes more: the right side of its last tile
NODES = (ROWS + 1) << SHIFT
# In numbers of 32 bits: a node's signature, and its place in three lists, of tiles, of their quarters, of nodes to
# evaluate; its outputs come on top.
NODE_SIZE = 5
# Blocks that are drawn by one call: what is seen there is listed before the next.
PART = 64
WORTH = 0.1  # evaluations of a pixel, by the measure of whose work is shared


class Seen(NamedTuple):
    """What was seen of a picture: its signatures, and evaluations that it took.

    `lowest` and `highest` are numbers of the output that has the widest range.
    """

    signatures: NDArray[np.int64]
    lowest: float
    highest: float
    evaluations: int


@part
def evaluate_nodes(  # type: ignore[no-untyped-def]
    nodes, count, x, y, parameters, layers, panels, specialisation, halves, block, sums, outputs, signatures
):
    """Evaluates the first `count` nodes, whose columns and rows stand at `x` and `y`, and stores what they are."""
    source, source_stride = layers[0, SOURCE], layers[0, SOURCE_STRIDE]
    target, target_stride = layers[-1, TARGET], layers[-1, TARGET_STRIDE]
    for first in range(0, count, panels * LANES):
        here = min(panels * LANES, count - first)
        full = (here + LANES - 1) // LANES
        for panel in range(full):
            at = source + panel * source_stride
            for lane in range(LANES):
                node = nodes[first + min(panel * LANES + lane, here - 1)]
                block[at + lane] = x[node & ((1 << SHIFT) - 1)]
                block[at + LANES + lane] = y[node >> SHIFT]
        evaluate_block(parameters, layers, full, specialisation, halves, block, sums)
        for panel in range(full):
            at = target + panel * target_stride
            for lane in range(min(LANES, here - panel * LANES)):
                node = nodes[first + panel * LANES + lane]
                for channel in range(len(outputs)):
                    outputs[channel, node] = block[at + channel * LANES + lane]
                signatures[node] = sums[panel * LANES + lane]


@part
def whole_tiles(across, down, nodes, tiles):  # type: ignore[no-untyped-def]
    """Lists the nodes and the tiles that a block of so many pixels begins with; returns how many there are."""
    listed, made = 0, 0
    for row in range(0, down + SIDE, SIDE):
        for column in range(0, across + SIDE, SIDE):
            node = row << SHIFT | column
            nodes[listed] = node
            listed += 1
            if row < down and column < across:
                tiles[made] = node
                made += 1
    return listed, made


@kernel(allocates=True)
def work(  # type: ignore[no-untyped-def]
    counter, scratch, parameters, layers, panels, specialisation, halves, size, begin, x, y, levels, edges, colours,
    seen, found, evaluations, limits,
):  # fmt: skip
    """What one thread does of a picture: takes its blocks from block `begin` on, row by row, until there are none.

    A thread's scratch (size + NODES * (NODE_SIZE + channels),) begins with a block of points. Each block of the picture
    has a row of `seen` (blocks, pixels), of `found`, of `evaluations` and of `limits` (blocks, channels, 2) of its own.
    """
    channels, height, width = levels.shape
    signatures = scratch[size : size + 2 * NODES].view(np.int64)
    tiles = scratch[size + 2 * NODES : size + 3 * NODES].view(np.int32)
    children = scratch[size + 3 * NODES : size + 4 * NODES].view(np.int32)
    wanted = scratch[size + 4 * NODES : size + 5 * NODES].view(np.int32)
    outputs = scratch[size + 5 * NODES : size + (5 + channels) * NODES].reshape(channels, NODES)
    sums = np.empty(panels * LANES, np.int64)
    remembered = np.full(REMEMBERED, NO_SIGNATURE)
    while True:
        block = claim(counter)
        if block >= len(found):
            wait(counter, 0, len(found))
            return
        row, column = divmod(begin + block, (width + COLUMNS - 1) // COLUMNS)
        top, left = row * ROWS, column * COLUMNS
        side = np.int64(SIDE)  # no literal: its callees would be compiled twice
        down, across = min(ROWS, height - top), min(COLUMNS, width - left)
        needed, count = whole_tiles(across, down, wanted, tiles)
        listed, evaluated = np.int64(0), 0
        while count:
            evaluate_nodes(
                wanted, needed, x[left:], y[top:], parameters, layers, panels, specialisation, halves[0], scratch, sums,
                outputs, signatures,
            )  # fmt: skip
            evaluated += needed
            count, listed = settle(
                side, SHIFT, top, left, tiles, count, outputs, signatures, levels, edges, colours, remembered,
                seen[block], listed, limits[block],
            )  # fmt: skip
            if count:
                count, needed = halve(
                    side, SHIFT, down, across, 0, tiles, count, outputs, signatures, children, wanted
                )  # fmt: skip
                tiles, children = children, tiles
                side //= 2
        found[block], evaluations[block] = listed, evaluated
        finish(counter, 0)


class Rasterizer:
    """Draws a network with these coefficients (neurons,), again and again at one size.

    Several threads may share one: they take turns. Raises ValueError for a network that is not of 2 inputs, and for
    what no kernel supports.
    """

    def __init__(self, network: Network, coefficients: Tensor, width: int, height: int) -> None:
        if network.dims[0] != 2:
            raise ValueError(f"a pixel has 2 coordinates, and the network has {network.dims[0]} inputs")
        if not network.activation.piecewise_affine:
            raise ValueError(
                f"tiles are drawn by their corners, which tell nothing within for {network.activation.name}"
            )
        settings = Settings.of(network, coefficients[None])
        size = -(-settings.block_size // LANES) * LANES
        self._size, self._channels, self._shape = network.size, network.dims[-1], (height, width)
        self._settings = *settings, size
        self._operations = 2.0 * network.size * WORTH * ROWS * COLUMNS  # of a block
        self._team = Team(size + NODES * (NODE_SIZE + self._channels))
        # Nodes may lie past the picture by a block.
        self._x, self._y = (places(0, side + max(ROWS, COLUMNS) + 1, side) for side in (width, height))
        self._blocks = -(-width // COLUMNS) * -(-height // ROWS)
        self._seen = np.empty((min(PART, self._blocks), ROWS * COLUMNS), np.int64)

    def draw(
        self,
        parameters: Tensor,
        levels: NDArray[np.uint8] | NDArray[np.float32],
        edges: NDArray[np.uint8],
        colours: NDArray[np.uint8],
    ) -> Seen:
        """Draws into planes (height, width), `edges` zeros so far, `colours` perhaps empty: see `grid.settle`.

        `levels` are (channels, height, width), or of one output (height, width).
        """
        numbers = read_array("parameters", parameters, self._size)
        levels = levels[None] if levels.ndim == 2 else levels
        if len(levels) != self._channels:
            raise ValueError(f"{len(levels)} planes of levels were given for {self._channels} outputs")
        for plane in (levels[0], edges, *([colours] if colours.size else [])):
            if plane.shape != self._shape:
                raise ValueError(f"a plane of shape {plane.shape} was given for a picture of {self._shape}")
        found, evaluations = np.zeros(self._blocks, np.int64), np.zeros(self._blocks, np.int64)
        limits = np.full((self._blocks, self._channels, 2), (np.inf, -np.inf), np.float32)
        signatures = []
        with self._team.turn:  # what was seen is read after each part
            for begin in range(0, self._blocks, PART):
                part = slice(begin, min(begin + PART, self._blocks))
                operations = self._operations * (part.stop - begin)
                self._team.run(
                    threads_for(operations), operations, work, numbers, *self._settings, begin, self._x, self._y,
                    levels, edges, colours, self._seen, found[part], evaluations[part], limits[part],
                )  # fmt: skip
                lists = [seen[:count] for seen, count in zip(self._seen, found[part], strict=False)]
                signatures.append(np.unique(np.concatenate(lists)))
        everything = np.unique(np.concatenate(signatures))
        return Seen(everything, *widest(limits[..., 0].min(0), limits[..., 1].max(0)), int(evaluations.sum()))
