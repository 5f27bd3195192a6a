"""Which regions live on from one subdivision to the next: one pattern is one cell, since its points are convex."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from draw_poly.kernels.spec.subdivision import Subdivision


class Change(NamedTuple):
    """What became of the regions between two subdivisions.

    `born` and `died` count patterns that were not there before, and are not there now; `kept_area` is the share of the
    window whose pattern was there before, and `moved_area` what patterns won from each other in total: half the sum of
    what their areas differ by, births and deaths included. `lifetime` is the median, in epochs, of those that died,
    NaN where none did; `age` the mean over the window's area.
    """

    born: int
    died: int
    kept_area: float
    moved_area: float
    lifetime: float
    age: float


@dataclass(frozen=True)
class Lives:
    """The regions after an epoch: hashes of their patterns (F, 2), the epochs that saw them first (F,), areas (F,)."""

    epoch: int
    hashes: NDArray[np.uint64]
    born: NDArray[np.int64]
    areas: NDArray[np.float64]

    @staticmethod
    def begin(found: Subdivision, epoch: int) -> "Lives":
        """Those of a first subdivision, none of which was there before."""
        from draw_poly.kernels.cpu.cells import hashes  # loads Numba, which a checkpoint's reader may not need

        return Lives(epoch, hashes(found), np.full(found.cells, epoch), found.areas)

    def follow(self, now: "Lives") -> tuple["Lives", Change]:
        """Those of a later subdivision of the same window, as they `begin`, but with their ages; what changed."""
        from draw_poly.engine.regions.statistics import quantiles
        from draw_poly.kernels.cpu.cells import fate

        whole, epoch = float(now.areas.sum()), now.epoch
        what = fate(self.hashes, self.born, self.areas, now.hashes, now.areas, epoch)
        lived = np.sort(epoch - self.born[what.gone])
        change = Change(
            born=len(now.areas) - what.kept,
            died=len(lived),
            kept_area=what.kept_area / whole,
            moved_area=what.apart / (2 * whole),
            lifetime=quantiles(lived, (0.5,))[0] if len(lived) else float("nan"),
            age=what.aged / whole,
        )
        return replace(now, born=what.born), change

    def to_dict(self) -> dict[str, Any]:
        """As a checkpoint holds it."""
        return {
            "epoch": self.epoch,
            "hashes": torch.from_numpy(self.hashes.view(np.int64)),
            "born": torch.from_numpy(self.born),
            "areas": torch.from_numpy(self.areas),
        }

    @staticmethod
    def from_dict(stored: dict[str, Any]) -> "Lives":
        """What `to_dict` made. Raises ValueError for anything else."""
        made = stored["hashes"].long().contiguous(), stored["born"].long(), stored["areas"].double()
        count = len(made[1])
        if made[0].shape != (count, 2) or made[2].shape != (count,):
            raise ValueError(f"its regions are {[tuple(one.shape) for one in made]}")
        return Lives(int(stored["epoch"]), made[0].numpy().view(np.uint64), made[1].numpy(), made[2].numpy())


def change(before: Subdivision, now: Subdivision, epochs: int = 1) -> Change:
    """What changed from one subdivision to another, so many epochs later."""
    return Lives.begin(before, 0).follow(Lives.begin(now, epochs))[1]
