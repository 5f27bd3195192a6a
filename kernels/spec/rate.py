"""How a run's learning rate goes, step by step: one more number of each, so that captured graphs follow it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

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


# A plateau's: epochs without a loss lower by this share of the lowest one before the rate falls to a tenth, by as much
# at least. PyTorch's own.
PATIENCE, THRESHOLD, TENTH, LEAST_FALL = 10, 1e-4, 0.1, 1e-8
PLATEAU = "plateau"
WAY = ("lowest", "waited", "reached")  # what of a schedule losses decide

# By name: the rate where a share of the steps after the warm-up is over, from the rate asked for to the final one.
SCHEDULES: dict[str, Callable[[float, float, float], float] | None] = {
    "constant": None,
    "cosine": _cosine,
    "linear": _linear,
    "step": _step,
    PLATEAU: None,
}


@dataclass(frozen=True)
class RateSchedule:
    """The learning rate over the `steps` of a run: up to it in `warmup` steps, then as `kind` has it.

    `final` is the share of it that is reached after the last step. Equal to PyTorch's CosineAnnealingLR, LinearLR and
    MultiStepLR, stepped once a step; a plateau to ReduceLROnPlateau, stepped by `after` once an epoch: `lowest` is the
    lowest loss so far, `waited` the epochs since, `reached` the rate by now. Raises ValueError for a kind that is not
    in `SCHEDULES`.
    """

    kind: str = "constant"
    steps: int = 1
    warmup: int = 0
    final: float = 0.0
    lowest: float = math.inf
    waited: int = 0
    reached: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in SCHEDULES:
            raise ValueError(f"no schedule is called {self.kind!r}: give one of {', '.join(SCHEDULES)}")

    @property
    def waits(self) -> bool:
        """Whether the next epoch's rates hang on the loss of this one."""
        return self.kind == PLATEAU

    def going_on(self, other: "RateSchedule") -> "RateSchedule":
        """The same from where another one stands."""
        return replace(self, **{name: getattr(other, name) for name in WAY}) if self.waits else self

    def after(self, loss: float, rate: float) -> "RateSchedule":
        """The same after an epoch that came to this loss, of a run with this rate."""
        if not self.waits:
            return self
        better = loss < self.lowest * (1.0 - THRESHOLD)
        lowest, waited = (loss, 0) if better else (self.lowest, self.waited + 1)
        now = rate if self.reached is None else self.reached
        if waited > PATIENCE:
            lower = max(now * TENTH, self.final * rate)
            now, waited = lower if now - lower > LEAST_FALL else now, 0
        return replace(self, lowest=lowest, waited=waited, reached=now)

    def rates(self, rate: float, taken: Sequence[int]) -> Numbers:
        """The rate of each step before which so many were taken, (steps,)."""
        rate = rate if self.reached is None else self.reached
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
