"""A network's picture drawn by the CPU's own kernel: evaluated and painted in one call, on all threads."""

import numpy as np

from draw_poly.engine.backends.base import Backend
from draw_poly.engine.pictures.drawing import Drawing, drawing_of, planes_of
from draw_poly.kernels import cpu


class CpuRasterizer:
    """As `AdaptiveRasterizer`, for the backend whose kernel draws.

    What it holds at once is given by the picture's width; `kernels.cpu.Rasterizer` says how much.
    """

    def __init__(self, backend: Backend, width: int, height: int, colours: bool = False) -> None:
        self._size, self._colours = (height, width), colours
        self._parameters = backend.state.main.parameters[0]
        self._network = backend.state.main.network
        self._kernel = cpu.Rasterizer(self._network, backend.state.coefficients[0], width, height)

    def draw(self) -> Drawing:
        """The picture of the network as it is now."""
        height, width = self._size
        planes, edges = planes_of(self._network, width, height), np.zeros(self._size, np.uint8)
        colours = np.empty(self._size if self._colours else (0, 0), np.uint8)
        seen = self._kernel.draw(self._parameters, planes, edges, colours)
        polytopes = seen.signatures.size
        spread = seen.lowest, seen.highest
        return drawing_of(self._network, planes, edges, colours, polytopes, *spread, seen.evaluations)
