"""A subdivision in numbers: those that papers follow during training, by the names of `record/measures.py`."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from draw_poly.kernels.cpu.cells import Points, totals
from draw_poly.kernels.cpu.subdivision.measures import unequal
from draw_poly.kernels.spec.subdivision import Subdivision

Numbers = NDArray[np.float64]
NEAR = 0.05  # the quantile of points' distances that tells how near walls come


def statistics(found: Subdivision, points: Points | None = None) -> dict[str, float]:
    """Numbers of a subdivision, by name; `points` are those whose distances to walls are asked for.

    Sources: local complexity and distances, arXiv 2402.15555 and 2412.18283; lengths of walls, Hanin and Rolnick 2019.
    """
    numbers = totals(found)
    areas = np.sort(found.areas)
    whole, gini, entropy = unequal(areas)
    near = (np.nan, np.nan) if points is None else quantiles(points.sorted_distances(found), (0.5, NEAR))
    return {
        "regions": found.cells,
        "walls": float(numbers.lengths.sum()) / max(1, len(found.widths)),
        "sides": numbers.sides / found.cells,
        "area_median": quantiles(areas, (0.5,))[0],
        "area_gini": gini,
        "area_entropy": entropy,
        "gradient": math.sqrt(numbers.energy / whole),
        "variation": numbers.variation,
        "wall_median": near[0],
        "wall_near": near[1],
        "dead": int((numbers.met == 0).sum()),
        "extrema": numbers.extrema,
        "undecided": found.undecided,
    }


def quantiles(values: Numbers | NDArray[np.int64], shares: Sequence[float]) -> list[float]:
    """Those of sorted numbers, as `numpy.quantile` has them, which takes longer than to sort these."""
    found = []
    for share in shares:
        place = share * (len(values) - 1)
        low = int(place)
        here, after = float(values[low]), float(values[min(low + 1, len(values) - 1)])
        found.append(here if here == after else here + (place - low) * (after - here))
    return found
