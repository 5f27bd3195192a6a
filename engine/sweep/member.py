"""A member of a sweep as a run of its own: what it begins with, its watch, its files; no pictures.

Its files are those that the same flags alone would write, apart from pictures, plots and regions; a run may go on from
them alone.
"""

import dataclasses
import os
from dataclasses import dataclass, field
from pathlib import Path

from draw_poly.engine.backends.base import Backend
from draw_poly.engine.code.during import Coding
from draw_poly.engine.config import Config
from draw_poly.engine.data.image import Picture
from draw_poly.engine.files import Files
from draw_poly.engine.model import initialisation as network
from draw_poly.engine.model import kolmogorov
from draw_poly.engine.model.state import State
from draw_poly.engine.prepare.prepare import Prepared, beginning
from draw_poly.engine.prepare.resume import Resume
from draw_poly.engine.record import checkpoint, disk
from draw_poly.engine.record.disk import write_whole
from draw_poly.engine.record.log_file import stamped
from draw_poly.engine.record.measures import Coded, Row, epoch_lines, last_of, of_epochs
from draw_poly.engine.record.metrics import Metrics
from draw_poly.engine.record.settings import write_settings
from draw_poly.engine.record.table import CODED, HEADERS, rows_of
from draw_poly.engine.training.fresh import fresh
from draw_poly.engine.training.setup import Setup
from draw_poly.engine.training.trainer import Epochs
from draw_poly.engine.training.watch import Watch

LOG = "run.log"
WAITING, RUNNING, DONE, STOPPED, FAILED = "waiting", "running", "done", "stopped", "failed"


@dataclass
class MemberRun:
    """One member's run in a folder of its own, from its beginning or from its newest checkpoint there.

    `row` are the values of its last epoch, `reason` why it stopped, `bits` its code length where it has one;
    `halted` is why it is to stop for what its frames show, `variant` that of the backend that trains it.
    """

    number: int
    config: Config
    folder: Path
    status: str = WAITING
    reason: str = ""
    epoch: int = 0
    row: Row = field(default_factory=dict)
    seconds: float = 0.0
    prepared: Prepared | None = None
    halted: str | None = None
    variant: str | None = None
    _coding: Coding | None = None

    @staticmethod
    def of(number: int, config: Config, folder: Path) -> "MemberRun":
        """A member whose files are in this folder."""
        blind = dataclasses.replace(config, regions="off", colour_regions=None)
        return MemberRun(number, files_in(blind, folder), folder)

    @property
    def watch(self) -> Watch:
        """What says when it has nothing more to learn."""
        assert self.prepared
        return self.prepared.checkpoint.watch

    @property
    def bits(self) -> float | None:
        """Its code length: the last file's, or else the Kolmogorov term."""
        if "bits" in self.row:
            return self.row["bits"]
        known = self.config.kolmogorov_term and self.row.get("kolmogorov")
        return kolmogorov.bits(known, self.config.network) if known else None

    def begin(self, picture: Picture, resumed: bool) -> Setup:
        """What it trains with, its files begun. Raises ConfigError, OSError."""
        config, place = self.config, Files.of(self.config)
        place.make_folders()
        found = place.checkpoints() if resumed else {}
        if found:
            self.prepared = self._resumed(found[max(found)], picture)
        else:
            draw = fresh(config, picture)
            self.prepared = beginning(draw, config, place, picture)
            self.lay()
        self.epoch, self.status = self.prepared.state.epoch, RUNNING
        setup = Setup.of(config, self.prepared.state, picture, self.prepared.split)
        self._coding = Coding(config, setup.validation)
        return setup

    def coded(self, epochs: Epochs) -> Coded:
        """What codes of these epochs come to, as far as they are due; `row` keeps the last."""
        assert self._coding
        return self._coding.of(epochs)

    def reach(self, epochs: Epochs, row: Row, coded: Coded) -> None:
        """Has its last epoch be that of these."""
        known = {name: value for name, value in self.row.items() if name in CODED}
        self.row = {**known, **row, **(coded[max(coded)] if coded else {})}
        self.epoch = epochs.last
        self.seconds += float(epochs.seconds.sum())

    def lay(self) -> None:
        """Begins the files of its epochs, with none, in place of an earlier run's. Raises OSError."""
        place = Files.of(self.config)
        for path in place.checkpoints().values():
            disk.remove(path)
        place.folder.mkdir(parents=True, exist_ok=True)
        place.metrics.write_text(HEADERS[self.config.task])
        (self.folder / LOG).write_bytes(b"")

    def _resumed(self, path: Path, picture: Picture) -> Prepared:
        stored = checkpoint.load(path)
        resume = Resume(path, stored, self.config, picture)
        split = stored.split
        assert split
        place = Files.of(resume.config, stored.identity, number=stored.number, image=stored.image)
        metrics = Metrics(place.metrics, stored.state.epoch, held=stored.rows, task=resume.config.task)
        self.row = metrics.earlier.last()
        self.seconds = float(metrics.earlier.column("seconds").sum())
        metrics.close()
        return Prepared(resume.config, place, picture, split, resume.checkpoint, path)

    def record(self, epochs: Epochs) -> None:
        """Epochs: a line of each in its log, a row in its table."""
        assert self.prepared
        columns, coded = of_epochs(epochs), self.coded(epochs)
        lines = epoch_lines(columns, self.config.epochs)
        append(self.folder / LOG, "".join(stamped(lines, epochs.ended.tolist(), self.config.learnt.logger)))
        append(self.prepared.files.metrics, "".join(rows_of(columns, coded, self.config.task)))
        self.reach(epochs, last_of(columns), coded)

    def save(self, state: State) -> None:
        """A checkpoint of its last epoch."""
        assert self.prepared
        content = dataclasses.replace(self.prepared.checkpoint, state=state, variant=self.variant)
        checkpoint.save(self.prepared.files.checkpoint(state.epoch), content)
        self.prune()

    def prune(self) -> None:
        """Removes its checkpoints but for the newest that are to be kept."""
        if keep := self.config.keep_checkpoints:
            found = Files.of(self.config).checkpoints()
            for epoch in sorted(found)[:-keep]:
                disk.remove(found[epoch])

    def finish(self, state: State, backend: Backend, status: str, reason: str = "") -> None:
        """Its last checkpoint, weights and settings; `status` and why it ended."""
        assert self.prepared
        place = self.prepared.files
        if state.epoch:
            self.save(state)
        weights = network.as_text(state.main.parameters[0], state.main.network)
        write_whole(place.weights, weights.encode(), synced=False)
        write_settings(self.prepared, backend, None, synced=False)
        self.status, self.reason = status, reason


def files_in(config: Config, folder: Path) -> Config:
    """A configuration whose files lie in a folder."""
    return dataclasses.replace(
        config, output_dir=str(folder), snapshot_dir=str(folder / "snapshots"), checkpoint_dir=None, log_file=None,
        overwrite=False, resume=None, resume_optimizer=None, resume_lr=None,
    )  # fmt: skip


def append(path: Path, text: str) -> None:
    """Appends whole lines; no file stays open, since there are many members."""
    with disk.named(path):
        number = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            content = memoryview(text.encode())
            while content:
                content = content[os.write(number, content) :]
        finally:
            os.close(number)
