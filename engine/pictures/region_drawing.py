"""A network's picture with its boundaries from exact regions: anti-aliased, those of cells thinner than a pixel too."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from draw_poly.engine.backends.base import Backend
from draw_poly.engine.pictures.drawing import Drawing, Pixels
from draw_poly.engine.regions.colours import levels
from draw_poly.engine.regions.lives import Lives
from draw_poly.engine.regions.shared import SharedRegions
from draw_poly.kernels.picture.cells import fill_cells, stroke_edges
from draw_poly.kernels.spec.subdivision import Subdivision, TooManyRegions

if TYPE_CHECKING:
    from draw_poly.engine.pictures.select import Rasterizer

REACH = 1.0  # pixels from a line to where it is not seen


def walls(found: Subdivision, width: int, height: int) -> Pixels:
    """How much of each pixel a boundary covers, in 256ths, (height, width): three quarters of one on a line."""
    plane = np.zeros((height, width), np.uint8)
    stroke_edges(found.places, found.origin, found.following, found.twin, found.label, REACH, plane)
    plane -= plane >> 2
    return plane


def pixels_cells(found: Subdivision, width: int, height: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    """The cell of each pixel, (height, width)."""
    plane = np.zeros((height, width), np.int32)
    fill_cells(found.places, found.origin, found.following, found.first, plane)
    return plane


class RegionRasterizer:
    """Draws as another does, gray values and all that is counted; boundaries are those of the exact regions.

    `colour` is what a region's colour tells; of ages, those since it was first drawn, or since what the run goes on
    from, `lives`, had seen it. Where regions cannot be had, it draws boundaries by pixels.
    """

    def __init__(
        self, inner: "Rasterizer", backend: Backend, size: tuple[int, int], colour: str | None, shared: SharedRegions,
        lives: Lives | None = None,
    ) -> None:  # fmt: skip
        self._inner, self._size, self._colour = inner, size, colour
        self._state = backend.state
        self._shared = shared
        self._lives = lives

    def draw(self) -> Drawing:
        """The picture of the network as it is now."""
        drawing = self._inner.draw()
        try:
            found = self._shared.subdivide(self._state.main.parameters[0].cpu().numpy())
        except (TooManyRegions, ValueError):
            return drawing
        colours = drawing.colours
        if self._colour not in (None, "pattern"):
            colours = levels(found, str(self._colour), self._born(found))[pixels_cells(found, *self._size)]
        return replace(drawing, colours=colours, walls=walls(found, *self._size))

    def _born(self, found: Subdivision) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]] | None:
        if self._colour != "age":
            return None
        epoch = self._state.epoch
        if self._lives is None:
            self._lives = Lives.begin(found, epoch)
        else:
            self._lives, _ = self._lives.follow(Lives.begin(found, epoch))
        return self._lives.born
