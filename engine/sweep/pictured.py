"""A member with pictures of its own: frames and film as a run has them, drawn on the host."""

import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from draw_poly.engine.backends import select as backend
from draw_poly.engine.backends.base import Backend
from draw_poly.engine.config import Config
from draw_poly.engine.data.image import Picture
from draw_poly.engine.model.state import Learner, State
from draw_poly.engine.record import checkpoint
from draw_poly.engine.record.gallery import Gallery
from draw_poly.engine.record.ledger import Due
from draw_poly.engine.record.log_file import stamped
from draw_poly.engine.record.measures import Row, epoch_lines, last_of, of_epochs, of_frame
from draw_poly.engine.record.metrics import Metrics
from draw_poly.engine.sweep.member import LOG, MemberRun, append, files_in
from draw_poly.engine.training.setup import Setup
from draw_poly.engine.training.trainer import Epochs


class Pictured(MemberRun):
    """See `MemberRun`; it stops as well where its frames show one constant output."""

    # What `begin` makes.
    _metrics: Metrics
    _gallery: Gallery
    _drawn: State

    @staticmethod
    def of(number: int, config: Config, folder: Path) -> "Pictured":
        """See `MemberRun.of`."""
        return Pictured(number, files_in(config, folder), folder)

    def begin(self, picture: Picture, resumed: bool) -> Setup:
        """See `MemberRun.begin`."""
        setup = super().begin(picture, resumed)
        assert self.prepared
        state, stored = self.prepared.state, self.prepared.checkpoint
        main = Learner.fresh(state.main.network, state.main.optimizer, state.main.parameters.clone())
        self._drawn = State(main, None, state.coefficients, torch.Generator(), state.epoch)
        host = torch.device("cpu")
        config = self.config.drawn_here
        self._metrics = Metrics(
            self.prepared.files.metrics, state.epoch, self.config.frames, stored.rows, weight=self.prepared.weight,
            task=self.config.task,
        )  # fmt: skip
        with torch.inference_mode():
            self._gallery = Gallery(self.prepared, backend.choose(config, host)[0](self._drawn, config))
            self._gallery.open(self._metrics, lambda: None)
            if state.epoch:
                self._gallery.catch_up()
            else:
                self._show(0, main.parameters[0], {})
        return setup

    def record(self, epochs: Epochs) -> None:
        """See `MemberRun.record`; draws the last one, if a frame is due."""
        columns = of_epochs(epochs)
        row, number, coded = last_of(columns), epochs.last, self.coded(epochs)
        lines = epoch_lines(columns, self.config.epochs)
        append(self.folder / LOG, "".join(stamped(lines, epochs.ended.tolist(), self.config.learnt.logger)))
        self._gallery.add(columns)
        scheduled = number in self.config.frames
        if scheduled or number == self.config.epochs:
            self._metrics.extend({name: column[:-1] for name, column in columns.items()}, coded)
            flat = torch.from_numpy(epochs.parameters[-1, : self.config.network.size])
            self._metrics.add({**row, **coded.get(number, {}), **self._show(number, flat, row, scheduled)})
        else:
            self._metrics.extend(columns, coded)
        self.reach(epochs, row, coded)

    def _show(self, number: int, parameters: Tensor, row: Row, scheduled: bool = True) -> Row:
        """Draws a frame; returns its values."""
        due = Due(number, parameters.clone(), row, scheduled)
        self._gallery.ledger.add(due)
        self._drawn.main.parameters[0].copy_(parameters)
        drawing = self._gallery.draw()
        if row and scheduled:
            self.halted = self.watch.frame(drawing.lowest, drawing.highest)
        self._gallery.write(due, drawing)
        return of_frame(drawing)

    def save(self, state: State) -> None:
        """See `MemberRun.save`."""
        assert self.prepared
        writer, ledger = self._gallery.writer, self._gallery.ledger
        writer.drain()
        writer.sync()
        self._metrics.flush()
        content = dataclasses.replace(
            self.prepared.checkpoint, state=state, unwritten=ledger.unwritten, film_frames=ledger.frames,
            rows=self._metrics.held, variant=self.variant,
        )  # fmt: skip
        checkpoint.save(self.prepared.files.checkpoint(state.epoch), content)
        self.prune()

    def finish(self, state: State, backend: Backend, status: str, reason: str = "") -> None:
        """See `MemberRun.finish`."""
        super().finish(state, backend, status, reason)
        self._metrics.close()
        self._gallery.writer.close()
