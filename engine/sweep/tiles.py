"""A member's tile: its picture with the boundaries of its polytopes, as a frame's first panel shows them."""

from collections import OrderedDict
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from draw_poly.engine.backends.reference import Eager
from draw_poly.engine.config import Config
from draw_poly.engine.model.initialisation import initialise_with_coefficients
from draw_poly.engine.model.state import Learner, State
from draw_poly.engine.pictures.drawing import AdaptiveRasterizer, Drawing, drawing_of, planes_of
from draw_poly.engine.pictures.frame import coloured, line_colour
from draw_poly.kernels.picture import panels
from draw_poly.kernels.spec import Network
from draw_poly.kernels.support import unsupported_on_cpu

Pixels = NDArray[np.uint8]
CPU = torch.device("cpu")
# Networks of as many shapes have what draws them kept: some megabytes each.
KEPT = 16
NO_COLOURS = np.empty((0, 0), np.uint8)
NO_TINTS = np.zeros((256, 3), np.int32)


class Outliner(Protocol):
    """Draws networks of one shape."""

    def draw(self, parameters: Tensor) -> Drawing:
        """The picture of a network of these parameters (P,)."""


class TilePainter:
    """Paints tiles of one size, on the host, for networks of any shape.

    Which polytopes differ does not depend on the coefficients that number them, so members of a shape share theirs.
    """

    def __init__(self, width: int, height: int) -> None:
        self._size = (width, height)
        self._outliners: OrderedDict[Network, Outliner] = OrderedDict()
        self._covered = np.empty((height, width), np.uint8)
        self._both = np.empty((height, 2 * width, 3), np.uint8)  # with lines and without, as `paint` makes them

    def paint(self, config: Config, parameters: Tensor, tile: Pixels) -> int:
        """Paints a network of these parameters (P,) on a tile (height, width, 3); returns how many polytopes it has."""
        outliner = self._outliners.pop(config.network, None) or _outliner(config, *self._size)
        self._outliners[config.network] = outliner
        if len(self._outliners) > KEPT:
            self._outliners.popitem(last=False)
        drawing = outliner.draw(parameters)
        panels.cover(drawing.edges, self._covered)
        picture, line = coloured(drawing), np.array(line_colour(config.learnt))
        if picture is None:
            panels.paint(drawing.gray, self._covered, NO_COLOURS, line, NO_TINTS, self._both)
            tile[:] = self._both[:, : self._size[0]]
        else:
            panels.paint_colours(picture, self._covered, NO_COLOURS, line, NO_TINTS, tile)
        return drawing.polytopes


class FusedOutliner:
    """By the CPU's own kernel."""

    def __init__(self, network: Network, coefficients: Tensor, width: int, height: int) -> None:
        from draw_poly.kernels import cpu  # Numba takes a part of a second to import: spent where it is used

        self._network, self._size = network, (width, height)
        self._kernel = cpu.Rasterizer(network, coefficients, width, height)

    def draw(self, parameters: Tensor) -> Drawing:
        """See `Outliner`."""
        planes, edges = planes_of(self._network, *self._size), np.zeros(self._size[::-1], np.uint8)
        seen = self._kernel.draw(parameters, planes, edges, NO_COLOURS)
        found = seen.signatures.size, seen.lowest, seen.highest, seen.evaluations
        return drawing_of(self._network, planes, edges, NO_COLOURS, *found)


class ReferenceOutliner:
    """By the reference, for networks that the kernel does not run."""

    def __init__(self, config: Config, coefficients: Tensor, width: int, height: int) -> None:
        network = config.network
        learner = Learner.fresh(network, config.optimizers[0], torch.zeros((1, network.size)))
        self._parameters = learner.parameters[0]
        state = State(learner, None, coefficients[None], torch.Generator())
        alone = replace(config, kolmogorov_shape=None, kolmogorov_weight=0.0)
        self._rasterizer = AdaptiveRasterizer(Eager(state, alone), width, height, config.chunk_size)

    def draw(self, parameters: Tensor) -> Drawing:
        """See `Outliner`."""
        self._parameters.copy_(parameters)
        return self._rasterizer.draw()


def _outliner(config: Config, width: int, height: int) -> Outliner:
    network = config.network
    _, coefficients = initialise_with_coefficients(network, torch.Generator().manual_seed(0))
    if unsupported_on_cpu(network, None, CPU) or not network.activation.piecewise_affine:
        return ReferenceOutliner(config, coefficients, width, height)
    return FusedOutliner(network, coefficients, width, height)
