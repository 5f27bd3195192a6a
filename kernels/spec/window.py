"""A window of the plane, as a network's regions are found in it."""

import math
from collections.abc import Sequence

Window = tuple[float, float, float, float]  # x0, y0, x1, y1
UNIT_SQUARE: Window = (0.0, 0.0, 1.0, 1.0)
LARGEST = 1e150  # whose square is still a float64
STEPS = 64  # of float64 that a window is wide, at least


def check_window(window: Sequence[float]) -> Window:
    """A window as four numbers. Raises ValueError for one without area, or too large or too small for float64."""
    given = ", ".join(f"{number:g}" for number in window)
    if len(window) != 4 or not all(map(math.isfinite, window)):
        raise ValueError(f"the window was {given}: give four finite numbers x0, y0, x1, y1")
    left, bottom, right, top = map(float, window)
    if not (left < right and bottom < top) or max(map(abs, window)) > LARGEST:
        raise ValueError(f"the window was {given}, which is degenerate: give x0 below x1 and y0 below y1")
    for low, high in ((left, right), (bottom, top)):
        if high - low < STEPS * math.ulp(max(abs(low), abs(high))):
            raise ValueError(f"the window was {given}: float64 tells no points apart within it")
    return left, bottom, right, top
