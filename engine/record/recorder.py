"""All that a run writes while it trains and when it ends: log lines, table, frames, film, checkpoints, plots."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from draw_poly.engine import allowance, files
from draw_poly.engine.code.during import Coding
from draw_poly.engine.data import image
from draw_poly.engine.debugging import Phases, tell
from draw_poly.engine.failure import explain
from draw_poly.engine.model import initialisation as network
from draw_poly.engine.model import kolmogorov
from draw_poly.engine.model.inspection import Inspector
from draw_poly.engine.pictures.drawing import Drawing
from draw_poly.engine.prepare.claim import Claim, Taken
from draw_poly.engine.prepare.prepare import Prepared
from draw_poly.engine.record import checkpoint, disk
from draw_poly.engine.record.disk import write_whole
from draw_poly.engine.record.gallery import Gallery
from draw_poly.engine.record.journal import log, log_lines, progress
from draw_poly.engine.record.ledger import Due
from draw_poly.engine.record.measures import Row, bar_text, epoch_lines, frame_line, last_of, of_epochs, of_frame
from draw_poly.engine.record.metrics import EVERY_EPOCH, SYNC_BYTES, Metrics
from draw_poly.engine.record.picture_file import PictureWriter
from draw_poly.engine.record.plot import plot
from draw_poly.engine.record.settings import write_settings
from draw_poly.engine.record.smoothed import smoothed
from draw_poly.engine.training.trainer import Epochs
from draw_poly.engine.training.training import Training, Visit
from draw_poly.engine.training.watch import RECENT

if TYPE_CHECKING:
    from draw_poly.engine.regions.follower import Follower


@dataclass(frozen=True)
class Drawn:
    """A frame's drawing, how long it took, and what `--debug` tells of the network then."""

    drawing: Drawing
    seconds: float
    looked: list[str]


class Recorder:
    """Writes what becomes of a training; nothing before `open`.

    Where its files are another's by now, whatever it is to write raises Taken.
    """

    # What `open` makes.
    metrics: Metrics

    def __init__(
        self, prepared: Prepared, training: Training, claim: Claim, phases: Phases, inspector: Inspector | None
    ) -> None:
        self._prepared, self._training, self._claim, self._phases = prepared, training, claim, phases
        self._inspector = inspector
        self.config, self.files = prepared.config, prepared.files
        # Whose frames are kept of what is there: a run's last one, off the schedule, is none of a longer run.
        self._kept = self.config.frames if prepared.state.epoch < self.config.epochs else EVERY_EPOCH
        self.gallery = Gallery(prepared, training.backend)
        self._unsmoothed, self._whole = True, True
        self._follower: Follower | None = None
        self._coding = Coding(self.config, image.samples(prepared.picture, prepared.split.validation))
        self._dropped = 0
        self._reported: set[str] = set()

    def draw(self) -> Drawn:
        """A frame of the network as it is now."""
        started = time.perf_counter()
        with self._phases("draw"):
            drawing = self.gallery.draw()
        seconds = time.perf_counter() - started
        with self._phases("look at the network"):
            looked = list(self._inspector.look(self._training.state)) if self._inspector else []
        return Drawn(drawing, seconds, looked)

    def open(self) -> None:
        """Begins the run's files, in the place of those that they replace."""
        prepared, place = self._prepared, self.files
        self._claim.check()
        files.remove(prepared.replaced)
        for path in place.litter():
            disk.remove(path)
        if place.settings.exists() and files.read_settings(place.settings) is None:
            kept = disk.kept_aside(place.settings)
            log.warning("%s is not the record that was written: it is kept as %s", place.settings, kept)
        self._write_settings(finished=None)
        self._unsmoothed = not place.smoothed.exists()
        self.metrics = self._table()
        self.gallery.open(self.metrics, self._claim.check)
        self._follower = self._following()
        self._bar = progress(self.config, prepared.state.epoch)
        self._reserve()

    def begin(self, first: Drawn | None) -> None:
        """Writes the frames before the first epoch that is trained: the `first` one, and those still to be made."""
        if self._prepared.state.epoch == 0:
            self._show(0, {}, drawn=first)
        if self._follower:
            self._follower.begin(self._prepared.state.epoch, self._training.parameters.numpy())
        self.gallery.catch_up()

    def record(self, visit: Visit) -> None:
        """A visit's epochs: logged, in the table, and the last one drawn and saved, as far as that is due."""
        self._claim.check()
        epochs = visit.epochs
        columns = of_epochs(epochs)
        row, number = last_of(columns), epochs.last
        last = number == self.config.epochs
        log_lines(epoch_lines(columns, self.config.epochs), epochs.ended.tolist(), last or bool(self._training.stopped))
        self.gallery.add(columns)
        self._follow(epochs)
        with self._phases("code networks"):
            coded = self._coding.of(epochs)
        dropped = visit.scheduled and not last and self.config.drop_frames and self.gallery.writer.behind
        self._dropped += dropped
        if visit.framed and not dropped:
            self.metrics.extend({name: column[:-1] for name, column in columns.items()}, coded)
            self._show(number, {**row, **coded.get(number, {})}, visit.scheduled)
        else:
            self.metrics.extend(columns, coded)
        self._bar.set_postfix_str(bar_text(row), refresh=False)
        self._bar.update(len(epochs))
        if self._training.stopped:
            return
        if visit.saved:
            self.gallery.writer.drain()
            self.gallery.writer.sync()
            self.metrics.flush()
            if self._follower:
                self._follower.settle()
            self._save("Checkpoint saved: %s")
        if last and self._training.state.predictor:
            length = kolmogorov.bits(row["kolmogorov"], self.config.network)
            log.info("Code length: %.1f bits for %d parameters", length, self.config.network.size)
        if self._unsmoothed:  # not on the way to the first epoch: SciPy takes a third of a second to import
            with self._phases("smooth"):
                self._smooth()

    def leave(self) -> None:
        """Ends without another file written."""
        self._bar.close()
        if self._follower:
            self._follower.stop()
        self.gallery.writer.stop()

    def report(self, line: str, error: Exception) -> None:
        """Logs a failure once, however many steps meet it."""
        if explain(error) not in self._reported:
            self._reported.add(explain(error))
            log.error(line, explain(error), exc_info=error if self.config.debug else None)

    def finish(self, done: bool) -> bool:
        """Frames, checkpoint, weights, film and plots; each is tried whatever became of the others.

        `done` is whether the last epoch was reached. Returns whether nothing failed. Raises Taken.
        """
        state, place = self._training.state, self.files
        weights = network.as_text(state.main.parameters[0], state.main.network)
        steps: list[Callable[[], object]] = [
            self._bar.close,
            lambda: disk.remove(place.reserve),
            self.gallery.writer.drain,
            self.gallery.writer.sync,
            self.metrics.flush,
            lambda: self._follower.settle() if self._follower else None,
            lambda: self._save("Final checkpoint saved: %s") if state.epoch else None,
            self.metrics.close,
            lambda: write_whole(place.weights, weights.encode()),
            self.gallery.writer.close,
            lambda: self._smooth() if self._unsmoothed and done else None,
            self._plot,
            lambda: self._write_settings(finished=state.epoch if self._whole else None),  # last: that all is there
        ]
        failed = False
        for step in steps:
            self._claim.check()
            try:
                step()
            except Taken:
                raise
            except Exception as error:
                failed, done, self._whole = True, False, False
                self.report("While finishing: %s", error)
        if self._follower:
            self._follower.stop()
            if self._follower.dropped:
                log.info("Epochs without regions because these were behind: %d", self._follower.dropped)
        if self._dropped:
            log.info("Frames dropped because the encoders were behind: %d", self._dropped)
        return not failed

    def _show(self, number: int, row: Row, scheduled: bool = True, drawn: Drawn | None = None) -> None:
        """Draws a frame, if it is not `drawn`, and records it with its epoch, if that has values."""
        started = time.perf_counter()
        due = Due(number, self._training.parameters, row, scheduled)
        # What is recorded before it is made is in the checkpoint if that fails, and a resume makes it.
        self.gallery.ledger.add(due)
        seconds = drawn.seconds if drawn else 0.0
        try:
            drawn = drawn or self.draw()
        finally:
            if row:
                self.metrics.add({**row, **of_frame(drawn.drawing)} if drawn else row)
        drawing = drawn.drawing
        if row and scheduled:
            self._training.show(drawing.lowest, drawing.highest)
        with self._phases("hand frames over"):
            self.gallery.write(due, drawing)
        values, count = of_frame(drawing), self._prepared.split.training.numel()
        missed = f" - Misclassified: {values['misclassified']}/{count}" if "misclassified" in values else ""
        log.info("Visualization @ epoch %d: %.2fs%s", number, seconds + time.perf_counter() - started, missed)
        log.info("%s", frame_line(number, values))
        tell(drawn.looked)

    def _following(self) -> "Follower | None":
        """What follows the regions, where they are asked for."""
        prepared, regions = self._prepared, self.gallery.regions
        if regions is None:
            return None
        from draw_poly.engine.regions.follower import Follower

        points = image.samples(prepared.picture, prepared.split.training)[0].double().numpy()
        follower = Follower(
            self.files.regions, regions, points, self.config.drop_frames, prepared.checkpoint.lives,
            self._kept, self.files.networks, self.config.threads or allowance.cores(),
        )  # fmt: skip
        follower.open(prepared.state.epoch)
        return follower

    def _follow(self, epochs: Epochs) -> None:
        """Gives the epochs of a visit to what follows the regions, as far as they are asked for."""
        if self._follower:
            for number, parameters in enumerate(epochs.parameters, epochs.first):
                is_last, due = number == self.config.epochs, self.config.has_regions(number)
                # As the last epoch has a frame, whatever the schedule.
                if due or (is_last and self.config.regions == "frames"):
                    self._follower.follow(number, parameters[: self.config.network.size], is_last, aside=not due)

    def _smooth(self) -> None:
        """Writes the smoothed picture, which no epoch changes."""
        picture, split = self._prepared.picture, self._prepared.split
        pixels = smoothed(picture, split, self.config.smoothing_sigma, self.gallery.size)
        PictureWriter("png").write(self.files.smoothed, pixels)
        self._unsmoothed = False

    def _save(self, line: str) -> None:
        self._claim.check()
        state, ledger = self._training.state, self.gallery.ledger
        path = self.files.checkpoint(state.epoch)
        content = replace(
            self._prepared.checkpoint, state=state, unwritten=ledger.unwritten, film_frames=ledger.frames,
            rows=self.metrics.held, variant=self._training.backend.variant,
            lives=self._follower.lives if self._follower else None,
        )  # fmt: skip
        with self._phases("save checkpoints"):
            checkpoint.save(path, content)
        log.info(line, path)
        if keep := self.config.keep_checkpoints:
            reached = {epoch: old for epoch, old in self.files.checkpoints().items() if epoch <= state.epoch}
            for epoch in sorted(reached)[:-keep]:
                try:
                    disk.remove(reached[epoch])
                except OSError as error:
                    log.warning("%s", explain(error))

    def _plot(self) -> None:
        """Plots of the run; that there are none is no failure of it, unless the disk's."""
        try:
            with self._phases("plot"):
                plot(self.files.metrics, self.files.folder, self.config.learnt.scored)
        except OSError:
            raise
        except Exception as error:
            self._whole = False
            reason, trace = explain(error), error if self.config.debug else None
            log.warning("Plots are not made (%s): a resume makes them again", reason, exc_info=trace)

    def _reserve(self) -> None:
        """Makes a file as large as the final checkpoint, given back before that is written: a full disk loses none."""
        split, remembered = self._prepared.split, min(self.config.epochs, RECENT)
        # Parameters and moments, and the parameters of frames that could not be written.
        learners = self._training.state.learners
        numbers = sum(2 * learner.network.size for learner in learners) + 4 * self.config.network.size
        points = split.training.numel() + split.validation.numel()
        with disk.named(self.files.reserve):
            self.files.reserve.write_bytes(bytes(64 * 1024 + SYNC_BYTES + 8 * (numbers + points + remembered)))

    def _table(self) -> Metrics:
        """The metrics, with what there is of their earlier rows."""
        prepared, path, reached = self._prepared, self.files.metrics, self._prepared.state.epoch
        source = prepared.origin.metrics if prepared.origin and not path.exists() else None
        metrics = Metrics(
            path, reached, self._kept, prepared.checkpoint.rows, source, prepared.weight, self.config.task
        )
        for note in metrics.notes:
            log.warning("%s", note)
        return metrics

    def _write_settings(self, finished: int | None) -> None:
        write_settings(self._prepared, self._training.backend, finished, self._training.processes)
