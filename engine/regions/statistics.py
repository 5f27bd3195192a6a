"""A subdivision in numbers: those that papers follow during training. Their names are measures of `record/measures.py`."""

import numpy as np
from numpy.typing import NDArray

from draw_poly.kernels.cpu.cells import Points, totals
from draw_poly.kernels.spec.subdivision import Subdivision

NEAR = 0.05  # the quantile of points' distances that tells how near walls come


def statistics(found: Subdivision, points: Points | None = None) -> dict[str, float]:
    """Numbers of a subdivision with maps, by name; `points` are those whose distances to walls are asked for.

    Sources: local complexity and distances, arXiv 2402.15555 and 2412.18283; lengths of walls, Hanin and Rolnick 2019.
    """
    numbers = totals(found)
    whole = found.areas.sum()
    near = np.full(2, np.nan) if points is None else np.quantile(points.distances(found), (0.5, NEAR))
    return {
        "regions": found.cells,
        "walls": float(numbers.lengths.sum()) / max(1, len(found.widths)),
        "sides": float(found.sides.mean()),
        "area_median": float(np.median(found.areas)),
        "area_gini": gini(found.areas),
        "area_entropy": entropy(found.areas / whole),
        "gradient": float(np.sqrt(numbers.energy / whole)),
        "variation": numbers.variation,
        "wall_median": float(near[0]),
        "wall_near": float(near[1]),
        "dead": int((numbers.met == 0).sum()),
        "extrema": numbers.extrema,
        "undecided": found.undecided,
    }


def gini(values: NDArray[np.float64]) -> float:
    """How unequal positive numbers are: 0 where all are one, towards 1 where one has all."""
    count = len(values)
    ranks = np.arange(1, count + 1)
    return float(2 * (ranks * np.sort(values)).sum() / (count * values.sum()) - (count + 1) / count)


def entropy(shares: NDArray[np.float64]) -> float:
    """Of positive shares of one, in nats."""
    return float(-(shares * np.log(shares)).sum())
