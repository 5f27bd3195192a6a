"""Regions by the plainest way: every cell clipped on its own by every neuron of every layer, in NumPy's float64."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from draw_poly.kernels.spec import Network
from draw_poly.kernels.spec.subdivision import NO_AREA
from draw_poly.kernels.spec.window import UNIT_SQUARE, Window
from draw_poly.kernels.window import prepared

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Cell:
    """A region: its `pattern`, a bit a hidden neuron; corners (corners, 2), counterclockwise; the map (outputs, 3)."""

    pattern: tuple[bool, ...]
    corners: Numbers
    map: Numbers

    @property
    def area(self) -> float:
        """By Gauss's formula."""
        return area_of(self.corners)


def area_of(corners: Numbers) -> float:
    """The area of a polygon (corners, 2)."""
    (x, y), (next_x, next_y) = (corners - corners[0]).T, (np.roll(corners, -1, 0) - corners[0]).T
    return float((x * next_y - next_x * y).sum() / 2)


def subdivide(network: Network, parameters: ArrayLike, window: Window = UNIT_SQUARE) -> list[Cell]:
    """The regions of a network (P,) in a window; those of no area left out.

    Raises ValueError as `kernels.cpu`'s does.
    """
    numbers, _, (left, bottom, right, top) = prepared(network, parameters, window)
    square = np.array([(left, bottom), (right, bottom), (right, top), (left, top)], float)
    least = NO_AREA * area_of(square)
    # A cell so far: its pattern, its corners, and the map (width, 3) to what comes next into a layer.
    cells = [Cell((), square, np.eye(2, 3))]
    for place, (out, into) in zip(network.offsets, network.shapes, strict=True):
        weights = numbers[place : place + out * into].reshape(out, into)
        biases = numbers[place + out * into : place + out * (into + 1)]
        cells = [_through(cell, weights, biases) for cell in cells]
        if place != network.offsets[-1]:
            for neuron in range(out):
                cells = [part for cell in cells for part in _halves(cell, neuron) if part.area > least]
            cells = [_activated(cell, out, network.slope) for cell in cells]
    return cells


def _through(cell: Cell, weights: Numbers, biases: Numbers) -> Cell:
    sums = weights @ cell.map
    sums[:, 2] += biases
    return Cell(cell.pattern, cell.corners, sums)


def _halves(cell: Cell, neuron: int) -> list[Cell]:
    """The parts of a cell where a neuron's sum is positive, and where it is not."""
    values = cell.corners @ cell.map[neuron, :2] + cell.map[neuron, 2]
    parts = []
    for positive in (True, False):
        inside = values > 0 if positive else values <= 0
        corners = []
        for here in range(len(values)):
            after = (here + 1) % len(values)
            if inside[here]:
                corners.append(cell.corners[here])
            if inside[here] != inside[after]:
                share = values[here] / (values[here] - values[after])
                corners.append((1 - share) * cell.corners[here] + share * cell.corners[after])
        if len(corners) > 2:
            parts.append(Cell((*cell.pattern, positive), np.array(corners), cell.map))
    return parts


def _activated(cell: Cell, width: int, slope: float) -> Cell:
    factors = np.where(cell.pattern[-width:], 1.0, slope)
    return Cell(cell.pattern, cell.corners, cell.map * factors[:, None])
