"""What a sweep shows: a sheet of all members as a picture and a film, their curves, their losses by what varies."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from draw_poly.engine.config import Config
from draw_poly.engine.data.image import Picture
from draw_poly.engine.files import Files
from draw_poly.engine.record.film import Film
from draw_poly.engine.record.picture_file import PictureWriter
from draw_poly.engine.record.table import read_table
from draw_poly.engine.sweep.member import MemberRun
from draw_poly.engine.sweep.sheet import SHEET as SHEET_NAME
from draw_poly.engine.sweep.sheet import Sheet, SheetWriter
from draw_poly.engine.sweep.vary import Member
from draw_poly.kernels.picture import panels

# Seconds between two rewritings of the sheet.
PERIOD = 30.0


class Exhibition:
    """Networks as they were at the epochs of the schedule, to be drawn side by side."""

    def __init__(self, folder: Path, members: Sequence[Member], picture: Picture, base: Config) -> None:
        self._folder, self._members, self._picture, self._base = folder, members, picture, base
        self._frames: dict[int, dict[int, Tensor]] = {}
        self._latest: dict[int, Tensor] = {}
        self._sheet = Sheet(members, picture)
        self._written = time.monotonic()

    @property
    def polytopes(self) -> Mapping[int, int]:
        """Those seen on each member's tile when it was drawn last, by number."""
        return self._sheet.polytopes

    def add(self, epoch: int, drawn: Mapping[int, Tensor]) -> None:
        """Networks after an epoch, by member: copied."""
        if not drawn:
            return
        copies = {number: flat.clone() for number, flat in drawn.items()}
        self._frames.setdefault(epoch, {}).update(copies)
        self._latest.update(copies)
        if time.monotonic() - self._written > PERIOD:
            pixels = self._sheet.draw(self._latest, note=f"epoch {epoch}")
            PictureWriter("png").write(self._folder / SHEET_NAME, pixels, synced=False)
            self._written = time.monotonic()

    def finish(self, runs: Sequence[MemberRun]) -> None:
        """The last sheet, and the film of all; members of which nothing is known are read from their files."""
        for run in runs:
            if run.number not in self._latest and run.epoch:
                self._latest[run.number] = _parameters(run)
        if not self._latest:
            return
        status = {run.number: run.status for run in runs}
        filmed = [epoch for epoch in sorted(self._frames) if epoch in self._base.frames]
        writer = SheetWriter(self._folder, self._sheet.size, filmed=not self._base.no_film and len(filmed) > 1)
        try:
            if writer.film:
                self._film(writer.film, filmed)
            writer.write(self._sheet.draw(self._latest, status, f"epoch {max(run.epoch for run in runs)}"))
        finally:
            writer.close()

    def _film(self, film: Film, filmed: Sequence[int]) -> None:
        """A frame of each of these epochs; who ends in between is shown from the next one on as it was then."""
        sheet, due = Sheet(self._members, self._picture), sorted(self._frames)
        for epoch in filmed[:-1]:
            known: dict[int, Tensor] = {}
            while due and due[0] <= epoch:
                known |= self._frames[due.pop(0)]
            panels.to_video(sheet.draw(known, note=f"epoch {epoch}"), *film.planes)
            film.append_planes()

    def plot(self, runs: Sequence[MemberRun]) -> None:
        """The members' curves, and their last losses by what varies."""
        from draw_poly.engine.sweep.plots import Curve, Result, plot_sweep

        curves = {}
        for run in runs:
            path = Files.of(run.config).metrics
            if path.exists():
                table = read_table(path.read_bytes())
                curves[run.number] = Curve(table.column("epoch"), table.column("combined"))
        results = [Result(member, run.status, run.row) for member, run in zip(self._members, runs, strict=True)]
        plot_sweep(results, curves, self._folder)


def _parameters(run: MemberRun) -> Tensor:
    from draw_poly.engine.record import checkpoint

    found = Files.of(run.config).checkpoints()
    return checkpoint.load(found[max(found)]).state.main.parameters[0]
