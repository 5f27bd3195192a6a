"""A network's picture: levels of its outputs, and where its polytopes meet; evaluated only where a boundary passes."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from draw_poly.engine.backends.base import Backend
from draw_poly.kernels.picture import grid
from draw_poly.kernels.picture.classes import classify
from draw_poly.kernels.spec import BELOW, RIGHT, Network
from draw_poly.kernels.subnormals import flushed

Pixels = NDArray[np.uint8]
Planes = tuple[NDArray[np.uint8] | NDArray[np.float32], ...]

# Nodes held at once; a picture of more is drawn in bands. 12 bytes each.
BAND_NODES = 2**21


@dataclass(frozen=True)
class Drawing:
    """What a network draws: `levels` (channels, height, width) of its outputs, and planes (height, width).

    `edges` are bits: `spec.RIGHT`, `spec.BELOW` where that neighbour lies in another polytope; `colours` are stable
    numbers of the polytopes from 0 to 255, empty unless asked for. `polytopes` counts those seen, `lowest` and
    `highest` are the range of outputs, and `evaluations` is how many points it took. The planes may be read once
    `arrive` has returned. `walls`, where exact regions are there, is how much of each pixel a boundary covers, in
    256ths, which is drawn in place of `edges`. `classes` are the pixels', where those are what is learnt, and the range
    is theirs; else it is that of the output with the widest one. `scores` are what its task measures of a frame, by
    name.
    """

    levels: Pixels
    edges: Pixels
    colours: Pixels
    polytopes: int
    lowest: float
    highest: float
    evaluations: int
    arrive: Callable[[], object] = lambda: None
    walls: Pixels | None = None
    classes: Pixels | None = None
    scores: Mapping[str, float] = field(default_factory=dict)

    @property
    def gray(self) -> Pixels:
        """The levels of the first output, (height, width)."""
        plane: Pixels = self.levels[0]
        return plane

    @property
    def pixels(self) -> int:
        """How many pixels it has."""
        return self.edges.size

    @property
    def boundaries(self) -> NDArray[np.bool_]:
        """Which pixels have one of their four neighbours in another polytope."""
        beside, below = (self.edges & bit != 0 for bit in (RIGHT, BELOW))
        found: NDArray[np.bool_] = beside | below
        found[:, 1:] |= beside[:, :-1]
        found[1:] |= below[:-1]
        return found


def planes_of(network: Network, width: int, height: int) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Planes (channels, height, width) that a kernel draws a network's outputs into; `drawing_of` makes levels of them.

    Those of classes are outputs as they are, since a class is told by all of them.
    """
    size = network.dims[-1], height, width
    return np.empty(size, np.float32) if network.loss.labelled else np.empty(size, np.uint8)


def drawing_of(
    network: Network, planes: NDArray[np.uint8] | NDArray[np.float32], edges: Pixels, colours: Pixels, polytopes: int,
    lowest: float, highest: float, evaluations: int,
) -> Drawing:  # fmt: skip
    """What was drawn into `planes_of` a network, as a drawing."""
    loss = network.loss
    if not loss.labelled:
        return Drawing(planes.astype(np.uint8, copy=False), edges, colours, polytopes, lowest, highest, evaluations)
    levels, classes = np.empty(planes.shape, np.uint8), np.empty(planes.shape[1:], np.uint8)
    classify(planes, loss.final == "sigmoid", np.float32(loss.slope), levels, classes)
    low, high = float(classes.min()), float(classes.max())
    return Drawing(levels, edges, colours, polytopes, low, high, evaluations, classes=classes)


class AdaptiveRasterizer:
    """Draws a backend's network as it is, again and again at one size.

    Pixel (i, j) stands at (j / width, i / height). At most `chunk_size` points are evaluated at once. `tile` is the
    side of the tiles that it begins with, if not the backend's; 1: every pixel is evaluated.
    """

    def __init__(
        self, backend: Backend, width: int, height: int, chunk_size: int, colours: bool = False, tile: int | None = None
    ) -> None:
        tile = tile or backend.tile
        self._backend, self._chunk_size = backend, chunk_size
        self._width, self._height, self._colours = width, height, colours
        # A picture narrower than a tile is nearly all boundary.
        self._side = side = tile if min(width, height) >= tile else 1
        self._columns = -(-width // side)
        # One column of nodes more than of pixels: the right side of the last tile.
        self._shift = (self._columns * side).bit_length()
        bands = max(1, (BAND_NODES >> self._shift) // side)  # rows of tiles in a band
        self._rows = min(bands, -(-height // side)) * side
        nodes = (self._rows + 1) << self._shift
        self._network = backend.state.main.network
        self._outputs = np.empty((self._network.dims[-1], nodes), np.float32)
        self._signatures = np.empty(nodes, np.int64)
        self._tiles, self._children, self._nodes = (np.empty(nodes, np.int32) for _ in range(3))
        self._seen = np.empty(nodes, np.int64)
        self._remembered = np.empty(grid.REMEMBERED, np.int64)
        self._x = grid.places(0, 1 << self._shift, width)
        self._evaluations = 0

    @flushed(torch_too=True)
    def draw(self) -> Drawing:
        """The picture of the network as it is now."""
        size = self._height, self._width
        planes, edges = planes_of(self._network, self._width, self._height), np.zeros(size, np.uint8)
        colours = np.empty(size if self._colours else (0, 0), np.uint8)
        limits = np.full((len(planes), 2), (np.inf, -np.inf), np.float32)
        self._evaluations = 0
        self._remembered[:] = grid.NO_SIGNATURE
        bands = self._bands if self._side > 1 else self._every_pixel
        seen = np.concatenate(list(bands((planes, edges, colours), limits)))
        polytopes = int(np.unique(seen).size)
        spread = grid.widest(limits[:, 0], limits[:, 1])
        return drawing_of(self._network, planes, edges, colours, polytopes, *spread, self._evaluations)

    def _every_pixel(self, planes: Planes, limits: NDArray[np.float32]) -> Iterator[NDArray[np.int64]]:
        """Draws band after band, every pixel evaluated; yields the signatures seen in each."""
        above = np.empty(0, np.int64)
        for top in range(0, self._height, self._rows):
            y = grid.places(top, min(self._rows, self._height - top), self._height)
            size = y.size, self._width
            points = np.empty((2, *size), np.float32)
            points[0], points[1] = self._x[: self._width], y[:, None]
            flat = points.reshape(2, -1)
            outputs = np.empty((len(self._outputs), *size), np.float32)
            signatures = np.empty(size, np.int64)
            for start in range(0, flat.shape[1], self._chunk_size):
                part = slice(start, start + self._chunk_size)
                found = self._evaluate(np.ascontiguousarray(flat[:, part]))
                outputs.reshape(len(outputs), -1)[:, part], signatures.reshape(-1)[part] = found
            count = grid.draw_rows(top, outputs, signatures, above, *planes, self._remembered, self._seen, limits)
            above = signatures[-1]
            yield self._seen[:count].copy()

    def _bands(self, planes: Planes, limits: NDArray[np.float32]) -> Iterator[NDArray[np.int64]]:
        """Draws band after band, from whole tiles down to pixels; yields the signatures seen at each level."""
        shift, rows = self._shift, self._rows
        for top in range(0, self._height, rows):
            if top:  # the last row of nodes of the band above is the first of this one
                for values in (self._outputs, self._signatures):
                    values[..., : 1 << shift] = values[..., rows << shift : (rows + 1) << shift]
            yield from self._band(top, planes, limits)

    def _band(self, top: int, planes: Planes, limits: NDArray[np.float32]) -> Iterator[NDArray[np.int64]]:
        side, shift = self._side, self._shift
        height = min(self._rows, self._height - top)
        rows = -(-height // side) * side
        first = 1 if top else 0
        y = grid.places(top, rows + 1, self._height)
        columns = np.arange(0, self._columns * side + 1, side, dtype=np.int32)
        lines = np.arange(0, rows + 1, side, dtype=np.int32)[:, None] << shift
        self._evaluate_nodes((lines[first:] + columns).reshape(-1), y)
        tiles, children = self._tiles, self._children
        count = (lines.size - 1) * self._columns
        tiles[:count] = (lines[:-1] + columns[:-1]).reshape(-1)
        while True:
            count, found = grid.settle(
                side, shift, top, 0, tiles, count, self._outputs, self._signatures, *planes, self._remembered,
                self._seen, 0, limits,
            )  # fmt: skip
            yield self._seen[:found].copy()
            if not count:
                return
            count, needed = grid.halve(
                side, shift, height, self._width, first, tiles, count, self._outputs, self._signatures, children,
                self._nodes,
            )  # fmt: skip
            self._evaluate_nodes(self._nodes[:needed], y)
            tiles, children, side = children, tiles, side // 2

    def _evaluate_nodes(self, nodes: NDArray[np.int32], y: NDArray[np.float32]) -> None:
        """Evaluates nodes of the band whose rows stand at `y`, and stores what they are."""
        for start in range(0, nodes.size, self._chunk_size):
            part = nodes[start : start + self._chunk_size]
            points = np.empty((2, part.size), np.float32)
            grid.coordinates(part, self._shift, self._x, y, points)
            grid.store(part, *self._evaluate(points), self._outputs, self._signatures)

    def _evaluate(self, points: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Outputs (channels, points) and signatures (points,) at points (2, points)."""
        self._evaluations += points.shape[1]
        outputs, signatures = self._backend.evaluate_in_memory(torch.from_numpy(points)[None])
        return outputs[0].contiguous().numpy(), signatures[0].numpy()
