"""What of Numba's a run's regions need, and a first use of it, which has it compiled."""

from typing import Any

import numpy as np

from draw_poly.engine.pictures.region_drawing import pixels_cells, walls
from draw_poly.engine.regions.lives import change
from draw_poly.engine.regions.statistics import statistics
from draw_poly.kernels.cpu import regions
from draw_poly.kernels.cpu.cells import Points
from draw_poly.kernels.cpu.subdivision import cells, distances, identity, measures, mesh
from draw_poly.kernels.picture import cells as drawn
from draw_poly.kernels.spec import Network

# Of the smallest network: two walls that cross.
PARAMETERS = np.array([1.0, 0.0, 0.0, 1.0, -0.5, -0.5, 1.0, 1.0, 0.0])


def kernels() -> list[Any]:
    """All that a run calls."""
    return [
        mesh.begin, regions.work, regions.cut_layers, regions.finish_cells, regions.taken, regions.build,
        cells.find_maps, identity.hash_patterns, identity.match, identity.compare, measures.measure, measures.unequal,
        distances.find_distances, drawn.fill_cells, drawn.stroke_edges,
    ]  # fmt: skip


def use(side: int) -> None:
    """Calls each once, and draws a picture of so many pixels a side."""
    found = regions.subdivide(Network((2, 2, 1)), PARAMETERS)
    assert len(found.maps) == 4  # the colours of a picture may ask for them
    wide = Network((2, regions.WIDE, 1))  # whose vertices threads share
    regions.subdivide(wide, np.zeros(wide.size))
    statistics(found, Points(np.full((2, 1), 0.25)))
    change(found, found)
    walls(found, side, side)
    pixels_cells(found, side, side)
