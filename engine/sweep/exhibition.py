"""What a sweep shows: a sheet of all members as a picture and a film, their curves, their losses by what varies."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from draw_poly.engine.config import Config
from draw_poly.engine.files import Files
from draw_poly.engine.record.table import read_table
from draw_poly.engine.sweep.member import MemberRun
from draw_poly.engine.sweep.vary import Member

# Seconds between two rewritings of the sheet.
SHEET = 30.0


class Exhibition:
    """Networks as they were at the epochs of the schedule, to be drawn side by side.

    `polytopes` are those seen on each member's tile when it was drawn last.
    """

    def __init__(self, folder: Path, members: Sequence[Member], base: Config) -> None:
        self._folder, self._members, self._base = folder, members, base
        self._frames: dict[int, dict[int, Tensor]] = {}
        self._latest: dict[int, Tensor] = {}
        self.polytopes: dict[int, int] = {}
        self._drawn = time.monotonic()

    def add(self, epoch: int, drawn: Mapping[int, Tensor]) -> None:
        """Networks after an epoch, by member: copied."""
        if not drawn:
            return
        copies = {number: flat.clone() for number, flat in drawn.items()}
        self._frames.setdefault(epoch, {}).update(copies)
        self._latest.update(copies)
        if time.monotonic() - self._drawn > SHEET:
            self._write(self._latest, {})
            self._drawn = time.monotonic()

    def finish(self, runs: Sequence[MemberRun]) -> None:
        """The last sheet, and the film of all; members of which nothing is known are read from their files."""
        for run in runs:
            if run.number not in self._latest and run.epoch:
                self._latest[run.number] = _parameters(run)
        if not self._latest:
            return
        self._write(self._latest, {run.number: run.status for run in runs})
        if not self._base.no_film and len(self._frames) > 1:
            self._film()

    def plot(self, runs: Sequence[MemberRun]) -> None:
        """The members' curves, and their last losses by what varies."""
        from draw_poly.engine.sweep import plots

        curves = {}
        for run in runs:
            path = Files.of(run.config).metrics
            if path.exists():
                table = read_table(path.read_bytes())
                curves[run.number] = table.values(("epoch", "combined"))
        rows = [
            plots.Row(member, run.status, run.row.get("combined", np.nan))
            for member, run in zip(self._members, runs, strict=True)
        ]
        plots.plot(rows, curves, self._folder)

    def _write(self, parameters: Mapping[int, Tensor], status: Mapping[int, str]) -> None:
        pass

    def _film(self) -> None:
        pass


def _parameters(run: MemberRun) -> Tensor:
    from draw_poly.engine.record import checkpoint

    found = Files.of(run.config).checkpoints()
    return checkpoint.load(found[max(found)]).state.main.parameters[0]
