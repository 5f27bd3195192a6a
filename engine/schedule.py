"""When a frame is drawn: every so many epochs, or ever sparser."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LOG = "log"
# Every epoch up to here; from here on each gap is longer than the last by this ratio. 500 000 epochs make 1439 frames,
# a minute at 24 a second.
DENSE, RATIO = 100, 1.006


@dataclass(frozen=True)
class Schedule:
    """Which epochs have a frame. `interval` is `--save-interval`: epochs from frame to frame, or `log`.

    Whether an epoch has one does not depend on how long the run is, so a run that goes on keeps its film.
    """

    interval: int | str

    def __contains__(self, epoch: int) -> bool:
        """Whether a frame is due after so many epochs; epoch 0 has one always."""
        if isinstance(self.interval, int):
            return epoch % self.interval == 0
        return epoch <= DENSE or self.count(epoch) > self.count(epoch - 1)

    def following(self, epoch: int) -> int:
        """The first epoch after this one that has a frame."""
        if isinstance(self.interval, int):
            return (epoch // self.interval + 1) * self.interval
        if epoch < DENSE:
            return epoch + 1
        # Where the next gap ends, but for rounding.
        gaps = self.count(epoch) + 1 - DENSE
        found = max(epoch + 1, DENSE + int(math.expm1(gaps * math.log(RATIO)) / (RATIO - 1.0)) - 1)
        while found not in self:
            found += 1
        return found

    def count(self, epoch: int) -> int:
        """Frames from epoch 1 up to this one."""
        return epoch // self.interval if isinstance(self.interval, int) else int(self.position(epoch))

    def positions(self, epochs: NDArray[np.float64]) -> NDArray[np.float64]:
        """As `position`, of many epochs."""
        if isinstance(self.interval, int):
            return epochs / self.interval
        return np.array([self.position(int(epoch)) for epoch in epochs.tolist()])

    def position(self, epoch: int) -> float:
        """Frames up to this epoch, and the share of the next one that has passed."""
        if isinstance(self.interval, int):
            return epoch / self.interval
        if epoch <= DENSE:
            return epoch
        # The n-th gap after DENSE is RATIO^(n-1) epochs: a geometric sum, solved for n.
        return DENSE + math.log(1.0 + (RATIO - 1.0) * (epoch - DENSE)) / math.log(RATIO)
