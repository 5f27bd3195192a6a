"""How a run's learning rate goes, step by step: one more number of each, so that captured graphs follow it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
# Where in what follows the warm-up `step` falls to a tenth of what it was.
FALLS = (0.5, 0.75)


def _cosine(rate: float, final: float, share: float) -> float:
    return final + (rate - final) * (1 + math.cos(math.pi * share)) / 2


def _linear(rate: float, final: float, share: float) -> float:
    return rate + (final - rate) * share


def _step(rate: float, final: float, share: float) -> float:
    return float(max(rate * 0.1 ** sum(share >= fall for fall in FALLS), min(rate, final)))


# By name: the rate where a share of the steps after the warm-up is over, from the rate asked for to the final one.
SCHEDULES: dict[str, Callable[[float, float, float], float] | None] = {
    "constant": None,
    "cosine": _cosine,
    "linear": _linear,
    "step": _step,
}


@dataclass(frozen=True)
class RateSchedule:
    """The learning rate over the `steps` of a run: up to it in `warmup` steps, then as `kind` has it.

    `final` is the share of it that is reached after the last step. Equal to PyTorch's CosineAnnealingLR, LinearLR and
    MultiStepLR, stepped once a step. Raises ValueError for a kind that is not in `SCHEDULES`.
    """

    kind: str = "constant"
    steps: int = 1
    warmup: int = 0
    final: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in SCHEDULES:
            raise ValueError(f"no schedule is called {self.kind!r}: give one of {', '.join(SCHEDULES)}")

    def rates(self, rate: float, taken: Sequence[int]) -> Numbers:
        """The rate of each step before which so many were taken, (steps,)."""
        way = SCHEDULES[self.kind]
        if way is None and (not self.warmup or (len(taken) and min(taken[0], taken[-1]) >= self.warmup)):
            return np.full(len(taken), rate)
        # One by one, by the C library: NumPy's own cosine may differ in the last bit.
        return np.array([self._rate(rate, one) for one in taken])

    def _rate(self, rate: float, taken: int) -> float:
        if taken < self.warmup:
            return rate * (taken + 1) / (self.warmup + 1)
        way = SCHEDULES[self.kind]
        if way is None:
            return rate
        share = (taken - self.warmup) / max(1, self.steps - self.warmup)
        return way(rate, self.final * rate, min(1.0, share))
