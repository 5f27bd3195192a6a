"""A sweep that writes no file: its members come as they end."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from draw_poly.engine.backends import select as backend
from draw_poly.engine.backends.base import Backend, never
from draw_poly.engine.config import Config
from draw_poly.engine.data import image_file
from draw_poly.engine.data.image import Picture
from draw_poly.engine.model.state import State
from draw_poly.engine.record.measures import Columns, last_of, of_epochs
from draw_poly.engine.schedule import Schedule
from draw_poly.engine.sweep import vary
from draw_poly.engine.sweep.member import RUNNING, MemberRun
from draw_poly.engine.sweep.train import by_shape, together, train
from draw_poly.engine.training.fresh import fresh
from draw_poly.engine.training.setup import Setup
from draw_poly.engine.training.torch_state import own_torch_state
from draw_poly.engine.training.trainer import Epochs
from draw_poly.engine.training.watch import Watch

NOWHERE = Path("nowhere")


class Ended(MemberRun):
    """A member that is over: `varied` flags with their values, what its epochs came to, its last state.

    `status` is `done` or `stopped`, the latter with its `reason`. `columns` are a run's measures of each epoch, by
    name: `combined`, `validation`, …
    """

    def __init__(self, member: vary.Member) -> None:
        super().__init__(member.number, member.config, NOWHERE)
        self.varied = member.varied
        self.columns: dict[str, list[float]] = {}
        self.state: State | None = None
        self._watch = Watch()

    @property
    def watch(self) -> Watch:
        """See `MemberRun.watch`."""
        return self._watch

    def begin(self, picture: Picture, resumed: bool = False) -> Setup:
        """See `MemberRun.begin`; begins no file."""
        draw = fresh(self.config, picture)
        self.status = RUNNING
        return Setup.of(self.config, draw.state, picture, draw.split)

    def record(self, epochs: Epochs) -> None:
        """See `MemberRun.record`."""
        columns: Columns = of_epochs(epochs)
        for name, values in columns.items():
            self.columns.setdefault(name, []).extend(values)
        self.row, self.epoch = last_of(columns), epochs.last
        self.seconds += float(epochs.seconds.sum())

    def save(self, state: State) -> None:
        """See `MemberRun.save`."""

    def finish(self, state: State, backend: Backend, status: str, reason: str = "") -> None:
        """See `MemberRun.finish`."""
        self.state = state.clone()
        self.status, self.reason = status, reason


def sweep(
    vary_by: Mapping[str, Sequence[Any]], pixels: NDArray[np.uint8] | None = None, **flags: Any
) -> Iterator[Ended]:
    """Trains a run for each combination of the values of `vary_by`, side by side; yields each when it is over.

    `flags` and the names in `vary_by` are those of `Config`; `pixels` are gray values (height, width) or colours
    (height, width, 3), else those of the `input` of each. Raises ConfigError, before any work, for what cannot be done.
    """
    flags.setdefault("input", "an array")
    words = [f"{name}={','.join(map(str, values))}" for name, values in vary_by.items()]
    members = vary.members(flags, words, None)
    wanted = {image_file.asked(member.config) for member in members}
    pictures = {asked: image_file.found(asked, pixels) for asked in wanted}

    def of(config: Config) -> Picture:
        return pictures[image_file.asked(config)]

    return _trained(by_shape([Ended(member) for member in members], of), of)


def _trained(groups: Sequence[Sequence[Ended]], of: Callable[[Config], Picture]) -> Iterator[Ended]:
    for group in groups:
        config: Config = group[0].config
        device, kind, _ = backend.found(config)
        most = together(config, device)
        for first in range(0, len(group), most):
            some = group[first : first + most]
            with own_torch_state():
                setups = [one.begin(of(one.config)) for one in some]
            visits = train(some, setups, device, kind, Schedule(2**62), never)
            while True:
                with own_torch_state(), torch.inference_mode():
                    seen = next(visits, None)
                if seen is None:
                    break
                yield from (one for one in seen.gone if isinstance(one, Ended))
