"""A network's picture drawn by the CPU's own kernel: evaluated and painted in one call, on all threads."""

import numpy as np

from draw_poly.engine.backends.base import Backend
from draw_poly.engine.pictures.drawing import Drawing
from draw_poly.kernels import cpu


class CpuRasterizer:
    """As `AdaptiveRasterizer`, for the backend whose kernel draws.

    What it holds at once is given by the picture's width; `kernels.cpu.Rasterizer` says how much.
    """

    def __init__(self, backend: Backend, width: int, height: int, colours: bool = False) -> None:
        self._size, self._colours = (height, width), colours
        self._parameters = backend.state.main.parameters[0]
        self._kernel = cpu.Rasterizer(backend.state.main.network, backend.state.coefficients[0], width, height)

    def draw(self) -> Drawing:
        """The picture of the network as it is now."""
        gray, edges = np.empty(self._size, np.uint8), np.zeros(self._size, np.uint8)
        colours = np.empty(self._size if self._colours else (0, 0), np.uint8)
        seen = self._kernel.draw(self._parameters, gray, edges, colours)
        polytopes = seen.signatures.size
        return Drawing(gray, edges, colours, polytopes, seen.lowest, seen.highest, seen.evaluations)
