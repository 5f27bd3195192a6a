"""The values that a coded weight may have: bins as far apart as each other, their ends included."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from draw_poly.engine.code.options import MOST_BINS

Symbols = NDArray[np.int64]


@dataclass(frozen=True)
class Grid:
    """So many `bins` from `low` to `high`, which are kept as float32. Raises ValueError for what is no range."""

    bins: int
    low: float
    high: float

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            object.__setattr__(self, name, float(np.float32(getattr(self, name))))
        if not 2 <= self.bins <= MOST_BINS:
            raise ValueError(f"weights would be told in {self.bins} bins: from 2 to {MOST_BINS} are allowed")
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"bins would go from {self.low:.9g} to {self.high:.9g}: give two numbers that ascend")

    @staticmethod
    def around(parameters: NDArray[np.float64], bins: int) -> "Grid":
        """From the least of these parameters to the greatest."""
        low, high = float(parameters.min()), float(parameters.max())
        if not np.float32(low) < np.float32(high):  # all the same: bins around it
            low, high = low - max(1.0, abs(low)), high + max(1.0, abs(high))
        return Grid(bins, low, high)

    def symbols(self, parameters: NDArray[np.float64]) -> Symbols:
        """The bin that each of these parameters is nearest to; those outside are taken to the range's ends."""
        shares = (np.clip(parameters, self.low, self.high) - self.low) / (self.high - self.low)
        return np.rint(shares * (self.bins - 1)).astype(np.int64)

    def values(self, symbols: Symbols) -> NDArray[np.float32]:
        """The middles of bins, each step rounded once as IEEE 754 has it: the same on every machine."""
        values: NDArray[np.float32] = (self.low + symbols * (self.high - self.low) / (self.bins - 1)).astype(np.float32)
        return values
