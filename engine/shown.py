"""What a notebook shows: a network's picture as an array and as PNG, its regions as a drawing."""

import dataclasses
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from draw_poly.engine.backends import select as backend
from draw_poly.engine.config import Config
from draw_poly.engine.model.state import Learner, State
from draw_poly.engine.pictures.drawing import Pixels
from draw_poly.engine.pictures.frame import coloured, cover, line_colour
from draw_poly.engine.pictures.select import rasterizer_for
from draw_poly.engine.regions.export import svg
from draw_poly.engine.training.torch_state import own_torch_state
from draw_poly.kernels import regions as library
from draw_poly.kernels.picture import panels
from draw_poly.kernels.spec import Network
from draw_poly.kernels.spec.subdivision import MOST_REGIONS, Subdivision
from draw_poly.kernels.spec.window import UNIT_SQUARE, Window

MOST_DRAWN = 50_000  # regions that a notebook's page is given


class RegionSet(Subdivision):
    """The linear regions of a network in a window, as `Subdivision` has them; a notebook draws them."""

    def _repr_html_(self) -> str:
        said = f"{self.cells} regions, {len(self.edges)} edges, {len(self.places)} vertices"
        if self.cells > MOST_DRAWN:
            return f"<p>{said}; a page draws up to {MOST_DRAWN}</p>"
        drawing = svg(self, said).decode()
        return f"<div style='max-width: 600px'>{drawing[drawing.index('<svg') :]}</div>"


def regions(
    network: Network | nn.Sequential,
    parameters: ArrayLike | Tensor | None = None,
    window: Window = UNIT_SQUARE,
    most_regions: int = MOST_REGIONS,
) -> RegionSet:
    """As `draw_poly.kernels.regions.regions`, which says what they are; a notebook draws what it returns."""
    found = library.regions(network, parameters, window, most_regions)
    return RegionSet(*(getattr(found, item.name) for item in dataclasses.fields(Subdivision)))


def pictures(state: State, config: Config, size: tuple[int, int]) -> tuple[Pixels, Pixels]:
    """What a network draws at a size (width, height), on this machine's CPU, alone and with boundaries.

    The first is gray (height, width), or in colour (height, width, 3), as the second is, which has the boundaries of
    its polytopes, as a frame's first panel.
    """
    host, (width, height) = torch.device("cpu"), size
    plain = config.drawn_here
    with own_torch_state(), torch.inference_mode():
        main, parameters = state.main, state.main.parameters[:1].to(host, copy=True)
        learner = Learner.fresh(main.network, main.optimizer, parameters)
        alone = State(learner, None, state.coefficients[:1].cpu(), torch.Generator(), state.epoch)
        drawn = rasterizer_for(backend.choose(plain, host)[0](alone, plain), width, height, plain.chunk_size).draw()
        drawn.arrive()
    covered, frame = np.empty((height, width), np.uint8), np.empty((height, 3 * width, 3), np.uint8)
    cover(drawn, covered)
    picture, line, tints = coloured(drawn), np.array(line_colour(config.learnt)), np.zeros((256, 3), np.int32)
    if picture is None:
        panels.paint(drawn.gray, covered, drawn.colours, line, tints, frame)
        return drawn.gray, frame[:, :width].copy()
    lined = np.empty_like(picture)
    panels.paint_colours(picture, covered, drawn.colours, line, tints, lined)
    return picture, lined


def beside(plain: Pixels, lined: Pixels) -> Pixels:
    """A picture with its boundaries and one without, beside each other."""
    found: Any = np.hstack((lined, plain if plain.ndim == 3 else np.repeat(plain[..., None], 3, 2)))
    return np.asarray(found, np.uint8)
