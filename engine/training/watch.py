"""When a run has nothing more to learn: a loop, stagnation, a constant picture."""

import hashlib
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from draw_poly.engine.training.trainer import Epochs

STAGNATION_WINDOWS = (30, 100, 200)
CONSTANT_FRAMES = 30
SAME_VALUE = 1e-6
# Epochs whose parameters are remembered one by one, 8 bytes each in a checkpoint.
RECENT = 2**14


@dataclass
class Visits:
    """Tells when parameters come back, in a memory that does not grow with a run.

    A return within `RECENT` epochs is told at once. A longer loop is told as well, since it comes back to the
    parameters of the last epoch whose number is a power of two: entered after m epochs and n long, at the latest in
    epoch 3 max(m, n). Source: R. P. Brent, An improved Monte Carlo factorization algorithm, 1980, section 4.
    """

    recent: deque[int] = field(default_factory=deque)
    anchor: int | None = None
    epochs: int = 0

    def __post_init__(self) -> None:
        self._known = set(self.recent)

    def again(self, key: int) -> bool:
        """Whether these parameters, told by their fingerprint, were seen before; remembers them."""
        if key in self._known or key == self.anchor:
            return True
        self.recent.append(key)
        self._known.add(key)
        while len(self.recent) > RECENT:
            self._known.discard(self.recent.popleft())
        self.epochs += 1
        if self.epochs & (self.epochs - 1) == 0:
            self.anchor = key
        return False

    def to_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        recent = torch.tensor(list(self.recent), dtype=torch.int64)
        return {"recent": recent, "anchor": self.anchor, "epochs": self.epochs}

    @staticmethod
    def from_dict(stored: dict[str, Any]) -> "Visits":
        """From a checkpoint; one of format 1 holds every epoch's fingerprint in the order of their values."""
        if "seen" in stored:
            return Visits(deque(map(int, stored["seen"])), None, len(stored["seen"]))
        anchor = stored["anchor"]
        return Visits(deque(stored["recent"].tolist()), None if anchor is None else int(anchor), int(stored["epochs"]))


@dataclass
class Watch:
    """Looks at each epoch and frame; says in a sentence why the run should stop, or None."""

    visits: Visits = field(default_factory=Visits)
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=max(STAGNATION_WINDOWS)))
    constant: float | None = None
    constant_frames: int = 0

    def epochs(self, epochs: Epochs) -> tuple[int, str | None]:
        """How many of a visit's epochs there are until one says something, and what; at the end, that one `broken`."""
        each = zip(epochs.combined.tolist(), epochs.constant.tolist(), epochs.parameters, strict=True)
        for number, one in enumerate(each, 1):
            if reason := self.epoch(*one):
                return number, reason
        if epochs.broken is None:
            return len(epochs), None
        return len(epochs), f"the loss was not finite in epoch {epochs.last + 1}, {epochs.broken}"

    def epoch(self, loss: float, constant: bool, parameters: NDArray[np.float32]) -> str | None:
        """After an epoch: its loss, whether the outputs are one constant, all trained parameters (P of all,)."""
        if self.visits.again(fingerprint(parameters)):
            return "the optimisation loops: these parameters were seen before"
        stagnates = constant and self._stagnates(loss)
        self.losses.append(loss)
        return "the loss stagnates and the outputs are constant" if stagnates else None

    def _stagnates(self, loss: float) -> bool:
        """The loss above the minimum of each window, at least two of the three means below it."""
        if len(self.losses) < STAGNATION_WINDOWS[0]:
            return False
        past = list(self.losses)
        windows = [past[-length:] for length in STAGNATION_WINDOWS]
        means_below = sum(sum(window) / len(window) < loss for window in windows)
        return all(loss > min(window) for window in windows) and means_below >= 2

    def frame(self, lowest: float, highest: float) -> str | None:
        """After a frame of the schedule: the range of its outputs."""
        if highest - lowest >= SAME_VALUE:
            self.constant, self.constant_frames = None, 0
            return None
        same = self.constant is not None and abs(lowest - self.constant) < SAME_VALUE
        self.constant, self.constant_frames = lowest, self.constant_frames + 1 if same else 1
        if self.constant_frames >= CONSTANT_FRAMES:
            return f"{CONSTANT_FRAMES} frames in a row show the same constant output"
        return None

    def to_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            **self.visits.to_dict(),
            "losses": list(self.losses),
            "constant": self.constant,
            "constant_frames": self.constant_frames,
        }

    @staticmethod
    def from_dict(stored: dict[str, Any]) -> "Watch":
        """From a checkpoint. Raises KeyError, TypeError or ValueError where it is none."""
        watch = Watch(Visits.from_dict(stored))
        watch.losses.extend(map(float, stored["losses"]))
        watch.constant = None if stored["constant"] is None else float(stored["constant"])
        watch.constant_frames = int(stored["constant_frames"])
        return watch


def fingerprint(parameters: NDArray[np.float32]) -> int:
    """63 bits of a hash of all parameters (P of all,); half a million epochs collide once in 10^7 runs."""
    digest = hashlib.blake2b(np.ascontiguousarray(parameters).data, digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
