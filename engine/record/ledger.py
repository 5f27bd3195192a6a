"""Which frames are due and not yet written: what a checkpoint keeps of them, so that a resume draws them."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from draw_poly.engine.record.measures import KEPT, Row


@dataclass
class Due:
    """A frame on its way: the network it shows (P,), in host memory, and what its caption says of its epoch.

    One that is not `scheduled` is a run's last, which none has that goes on. The others tell how far it has come.
    """

    epoch: int
    parameters: Tensor
    values: Row = field(default_factory=dict)
    scheduled: bool = True
    pictured: bool = False
    filmed: bool = False

    def to_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        losses = tuple(self.values[name] for name in KEPT if name in self.values)
        return {"epoch": self.epoch, "parameters": self.parameters, "losses": losses or None, "filmed": self.filmed}

    @staticmethod
    def from_dict(stored: dict[str, Any], size: int) -> "Due":
        """From a checkpoint of a network of this size. Raises KeyError, TypeError or ValueError where it is none."""
        parameters, losses = stored["parameters"], stored["losses"] or ()
        if parameters.shape != (size,):
            raise ValueError(f"a frame's network has {parameters.numel()} parameters in place of {size}")
        values = dict(zip(KEPT, map(float, losses), strict=False))  # more are said by now than when it was written
        return Due(int(stored["epoch"]), parameters.to(torch.float32), values, filmed=bool(stored["filmed"]))


class Ledger:
    """The frames of a run in their order, from the first that is not whole on.

    `films` and `pictures` tell what makes a frame whole; `frames` are those of the schedule that were filmed before.
    """

    def __init__(self, pictures: bool, films: bool, frames: int) -> None:
        self._pictures, self._films = pictures, films
        self._frames = frames
        self._due: deque[Due] = deque()

    def add(self, frame: Due) -> None:
        """A frame that is to be written next."""
        self._forget_whole()
        self._due.append(frame)
        self._frames += frame.scheduled and not frame.filmed

    @property
    def unwritten(self) -> list[Due]:
        """The frames of the schedule from the first that is not whole on."""
        self._forget_whole()
        return [frame for frame in self._due if frame.scheduled]

    @property
    def frames(self) -> int:
        """The frames of the schedule that the film has; without one, those before the first that is not whole."""
        return self._frames - sum(not frame.filmed for frame in self.unwritten)

    def _forget_whole(self) -> None:
        while self._due and self._is_whole(self._due[0]):
            self._due.popleft()

    def _is_whole(self, frame: Due) -> bool:
        return (frame.pictured or not self._pictures) and (frame.filmed or not self._films)
