"""A subdivision in numbers: those that papers follow during training, by the names of `record/measures.py`."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from draw_poly.kernels.cpu.cells import Points, totals
from draw_poly.kernels.spec.subdivision import OUTSIDE, Subdivision

Numbers = NDArray[np.float64]
NEAR = 0.05  # the quantile of points' distances that tells how near walls come


def statistics(found: Subdivision, points: Points | None = None) -> dict[str, float]:
    """Numbers of a subdivision, by name; `points` are those whose distances to walls are asked for.

    Sources: local complexity and distances, arXiv 2402.15555 and 2412.18283; lengths of walls, Hanin and Rolnick 2019.
    """
    numbers = totals(found)
    whole = found.areas.sum()
    areas = np.sort(found.areas)
    near = (np.nan, np.nan) if points is None else quantiles(np.sort(points.distances(found)), (0.5, NEAR))
    return {
        "regions": found.cells,
        "walls": float(numbers.lengths.sum()) / max(1, len(found.widths)),
        "sides": np.count_nonzero(found.face != OUTSIDE) / found.cells,
        "area_median": quantiles(areas, (0.5,))[0],
        "area_gini": gini(areas),
        "area_entropy": entropy(areas / whole),
        "gradient": float(np.sqrt(numbers.energy / whole)),
        "variation": numbers.variation,
        "wall_median": near[0],
        "wall_near": near[1],
        "dead": int((numbers.met == 0).sum()),
        "extrema": numbers.extrema,
        "undecided": found.undecided,
    }


def quantiles(values: Numbers, shares: Sequence[float]) -> list[float]:
    """Those of sorted numbers, as `numpy.quantile` has them, which takes longer than to sort these."""
    found = []
    for share in shares:
        place = share * (len(values) - 1)
        low = int(place)
        here, after = float(values[low]), float(values[min(low + 1, len(values) - 1)])
        found.append(here if here == after else here + (place - low) * (after - here))
    return found


def gini(values: Numbers) -> float:
    """How unequal sorted, positive numbers are: 0 where all are one, towards 1 where one has all."""
    count = len(values)
    return float(2 * (np.arange(1, count + 1) @ values) / (count * values.sum()) - (count + 1) / count)


def entropy(shares: Numbers) -> float:
    """Of positive shares of one, in nats."""
    return float(-(shares * np.log(shares)).sum())
