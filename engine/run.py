"""A run from its first line to its last: begin, train, draw, watch, save, finish."""

import json
import platform
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import torch

import engine
from engine import backend, checkpoint, debugging, disk, files, image, kolmogorov, network, processes
from engine.backends.base import Backend, Interrupted
from engine.begin import Beginning, begin
from engine.config import Config, ConfigError
from engine.debugging import Phases, tell
from engine.disk import write_whole
from engine.drawing import Drawing
from engine.failure import explain
from engine.follow import EPOCH, Start, follow, led
from engine.frame import frame_size
from engine.gallery import Gallery
from engine.inspection import Inspector
from engine.journal import epoch_line, log, logging_to, progress
from engine.ledger import Due
from engine.metrics import EVERY_EPOCH, SYNC_BYTES, Metrics
from engine.picture_file import PictureWriter
from engine.plot import plot
from engine.processes import Group
from engine.signals import Signals
from engine.smoothed import smoothed
from engine.state import Snapshot
from engine.trainer import Epoch, Launched, NonFinite
from engine.watch import RECENT

DONE, STOPPED, FAILED = 0, 1, 3  # a signal's exit status is 128 and its number


class EarlyStop(Exception):
    """There is nothing more to learn, or nothing that can be learnt; the text says why."""


def run(config: Config) -> int:
    """Trains as configured, together with the other processes of `torchrun` if there are any; returns the exit status.

    Raises ConfigError, before any work, for what cannot be done.
    """
    threads = torch.get_num_threads()
    with processes.joined() as group, led(group), logging_to(config, group.leads):
        try:
            if group.leads:
                return _lead(config, group)
            follow(config, group)
            return DONE
        except ConfigError:
            raise
        except Exception as error:
            line = "The run cannot begin: %s" if group.leads else f"Process {group.rank} ends: %s"
            log.error(line, explain(error), exc_info=error if config.debug else None)
            return FAILED
        finally:
            torch.set_num_threads(threads)


def _lead(config: Config, group: Group) -> int:
    """The part of the process that reads, decides and writes."""
    log.info("=== Starting polytope-viz-nn training ===")
    phases = Phases(config.debug)
    if config.debug:
        tell(debugging.machine())
    device, chosen, why = backend.found(config, group)
    with phases("begin"):
        begun = begin(config)
    for warning in begun.warnings + [f"{config.input}: {note}" for note in begun.picture.notes]:
        log.warning("%s", warning)
    if begun.state.epoch == begun.config.epochs:
        if not begun.unmade:
            log.info("Nothing to do: the checkpoint has reached epoch %d of %d", begun.state.epoch, config.epochs)
            return DONE
        log.info("The checkpoint has reached the last epoch; still to be made: %s", ", ".join(begun.unmade))
    log.info("Backend: %s on %s (%s)", chosen.name, device, why)
    if group.size > 1:
        log.info("Processes: %d", group.size)
    if config.debug:
        tell(debugging.backends(begun.config, device, chosen, why))
        tell(debugging.picture(begun.picture, begun.split))
    with phases("prepare"):
        run = Run(begun, chosen, device, group, phases)
    return run.train()


class Run:
    """One run in training, and all that it writes."""

    def __init__(
        self, begun: Beginning, chosen: type[Backend], device: torch.device, group: Group, phases: Phases
    ) -> None:
        self.phases = phases
        self.config, self.files, self.picture = begun.config, begun.files, begun.picture
        self.extras = begun.extras
        self.watch = begun.extras.watch
        config = self.config
        points = (image.samples(self.picture, part) for part in (begun.split.training, begun.split.validation))
        start = Start(config, begun.state, *points)
        self.group = group
        group.say(start)
        self.backend, self.trainer = start.on(device, chosen, group)
        self.state = self.backend.state
        log.info("Trainable parameters: %d", config.network.size)
        for path in self.files.litter():
            disk.remove(path)
        if self.files.settings.exists() and files.read_settings(self.files.settings) is None:
            kept = disk.kept_aside(self.files.settings)
            log.warning("%s is not the record that was written: it is kept as %s", self.files.settings, kept)
        self._settings = self._described(begun, device)
        self._write_settings(finished=None)
        self._size = frame_size(self.picture.width, self.picture.height, config.frame_size)
        self._unsmoothed, self._unplotted = not self.files.smoothed.exists(), False
        self.metrics = self._table(begun)
        self.gallery = Gallery(begun, self.backend, self.metrics)
        self.dropped = 0
        self.bar = progress(config, self.state.epoch)
        self.signals = Signals()
        self._reported: set[str] = set()
        self._reserve()
        self._inspector: Inspector | None = None
        if config.debug:
            self._inspector = Inspector(config, start.training)
            tell(debugging.work(config, begun.split, self._size, self.backend, group))

    def train(self) -> int:
        """Trains to the last epoch, or until something stops it; saves either way. Returns the exit status."""
        status = DONE
        with self.signals.caught(), torch.inference_mode():
            try:
                self._epochs()
            except Interrupted:
                number = self.signals.received
                by = signal.Signals(number).name if number else "a signal to another process"
                status = 128 + (number or signal.SIGTERM)
                log.warning("Interrupted by %s at epoch %d", by, self.state.epoch)
            except EarlyStop as reason:
                status = STOPPED
                log.warning("Stopped at epoch %d: %s", self.state.epoch, reason)
            except Exception as error:
                status = FAILED
                self._report(f"Failed at epoch {self.state.epoch}: %s", error)
            with self.phases("finish"):
                status = self._finish(status)
            tell(self.phases.told())
            return status

    def _epochs(self) -> None:
        """Epoch after epoch; leaves the state of the last finished one, on the host, whatever becomes of the device."""
        snapshot = Snapshot(self.state)
        try:
            if self.state.epoch == 0:
                self._draw(snapshot, None)
            self.gallery.catch_up()
            ahead: Launched | None = None
            while ahead or self.state.epoch < self.config.epochs:
                with self.phases("train"):
                    launched, ahead = ahead or self._launch(), None
                    snapshot.take()
                    if self._may_run_ahead():
                        with suppress(Interrupted):  # which the next launch raises again, when this epoch is recorded
                            ahead = self._launch()
                self._epoch(launched, snapshot)
                if self._unsmoothed:  # not on the way to the first epoch: SciPy takes a third of a second to import
                    with self.phases("smooth"):
                        self._smooth()
        finally:
            self.state = snapshot.state()

    def _launch(self) -> Launched:
        """The next epoch begun, in every process."""
        self.group.say(EPOCH)
        return self.trainer.launch(lambda: self.signals.received != 0)

    def _may_run_ahead(self) -> bool:
        """Whether the device may begin another epoch before this one is read: if nothing is made of its state here.

        Should this one turn out to be the last, its snapshot was taken before the device went on.
        """
        number = self.state.epoch
        looked_at = number == self.config.epochs or number in self.config.schedule or self._is_saved(number)
        return self.trainer.runs_ahead and not looked_at

    def _is_saved(self, number: int) -> bool:
        """Whether an epoch has a checkpoint, the last one's apart."""
        interval = self.config.checkpoint_interval
        return interval is not None and number % interval == 0 and number != self.config.epochs

    def _epoch(self, launched: Launched, snapshot: Snapshot) -> None:
        """What becomes of one epoch: read, log, draw, record, watch, save."""
        config, number = self.config, launched.number
        try:
            with self.phases("wait for the epoch"):
                epoch = launched.read()
        except NonFinite as where:
            raise EarlyStop(f"the loss was not finite in epoch {number}, {where}") from None
        snapshot.keep()
        log.info(epoch_line(number, config.epochs, epoch))
        parameters = [learner.parameters for learner in snapshot.state().learners]
        reason = self.watch.epoch(epoch.combined, epoch.constant, parameters)
        self.gallery.add(number, epoch.combined, epoch.validation)
        scheduled, last = number in config.schedule, number == config.epochs
        dropped = scheduled and not last and config.drop_frames and self.gallery.writer.behind
        self.dropped += dropped
        if last or (scheduled and not dropped):
            reason = self._draw(snapshot, epoch, scheduled) or reason
        else:
            self.metrics.add(number, epoch, None)
        self.bar.update()
        if reason:
            raise EarlyStop(reason)
        if self._is_saved(number):
            self.gallery.writer.drain()
            self.gallery.writer.sync()
            self.metrics.flush()
            self._save("Checkpoint saved: %s")
        if last and self.state.predictor:
            length = kolmogorov.bits(epoch.kolmogorov, config.network)
            log.info("Code length: %.1f bits for %d parameters", length, config.network.size)

    def _draw(self, snapshot: Snapshot, epoch: Epoch | None, scheduled: bool = True) -> str | None:
        """Draws the network as it is, and records the epoch. Returns why the run should stop, or None."""
        started = time.perf_counter()
        number = self.state.epoch
        losses = (epoch.combined, epoch.validation) if epoch else None
        due = Due(number, snapshot.state().main.parameters.clone(), losses, scheduled)
        drawing: Drawing | None = None
        try:
            with self.phases("draw"):
                drawing = self.gallery.draw(due)
        finally:
            if epoch:
                self.metrics.add(number, epoch, drawing.polytopes if drawing else None)
        reason = self.watch.frame(drawing.lowest, drawing.highest) if epoch and scheduled else None
        with self.phases("hand frames over"):
            self.gallery.write(due, drawing)
        log.info("Visualization @ epoch %d: %.2fs", number, time.perf_counter() - started)
        counts = drawing.evaluations, drawing.gray.size, drawing.polytopes
        log.info("Frame @ epoch %d: %d evaluations for %d pixels, %d polytopes", number, *counts)
        if self._inspector:
            with self.phases("look at the network"):
                tell(self._inspector.look(self.state))
        return reason

    def _smooth(self) -> None:
        """Writes the smoothed picture, which no epoch changes."""
        pixels = smoothed(self.picture, self.extras.split, self.config.smoothing_sigma, self._size)
        PictureWriter("png").write(self.files.smoothed, pixels)
        self._unsmoothed = False

    def _save(self, line: str) -> None:
        path, ledger, extras = self.files.checkpoint(self.state.epoch), self.gallery.ledger, self.extras
        extras.unwritten, extras.film_frames, extras.rows = ledger.unwritten, ledger.frames, self.metrics.held
        with self.phases("save checkpoints"):
            checkpoint.save(path, self.state, extras, self.config, self.files, self.picture)
        log.info(line, path)
        if keep := self.config.keep_checkpoints:
            reached = {epoch: old for epoch, old in self.files.checkpoints().items() if epoch <= self.state.epoch}
            for epoch in sorted(reached)[:-keep]:
                try:
                    disk.remove(reached[epoch])
                except OSError as error:
                    log.warning("%s", explain(error))

    def _finish(self, status: int) -> int:
        """Frames, checkpoint, weights, film and plots; each is tried whatever became of the others."""
        state, place = self.state, self.files
        weights = network.as_text(state.main.parameters, state.main.network)
        steps: list[Callable[[], object]] = [
            self.bar.close,
            lambda: disk.remove(place.reserve),
            self.gallery.writer.drain,
            self.gallery.writer.sync,
            self.metrics.flush,
            lambda: self._save("Final checkpoint saved: %s") if state.epoch else None,
            self.metrics.close,
            lambda: write_whole(place.weights, weights.encode()),
            self.gallery.writer.close,
            lambda: self._smooth() if self._unsmoothed and status == DONE else None,
            self._plot,
        ]
        failed = [step for step in steps if not self._done(step)]
        # That all is there is told last.
        finished = None if self._unplotted else state.epoch
        if failed or not self._done(lambda: self._write_settings(finished)):
            status = status or FAILED
        if self.dropped:
            log.info("Frames dropped because the encoders were behind: %d", self.dropped)
        if status == DONE:
            log.info("=== Training completed successfully ===")
        return status

    def _done(self, step: Callable[[], object]) -> bool:
        """Whether a step of finishing works; its failure is reported."""
        try:
            step()
        except Exception as error:
            self._report("While finishing: %s", error)
            return False
        return True

    def _plot(self) -> None:
        """Plots of the run; that there are none is no failure of it, unless the disk's."""
        try:
            with self.phases("plot"):
                plot(self.files.metrics, *self.files.plots)
        except OSError:
            raise
        except Exception as error:
            self._unplotted = True
            reason, trace = explain(error), error if self.config.debug else None
            log.warning("Plots are not made (%s): a resume makes them again", reason, exc_info=trace)

    def _report(self, line: str, error: Exception) -> None:
        """Logs a failure once, however many steps meet it."""
        if explain(error) not in self._reported:
            self._reported.add(explain(error))
            log.error(line, explain(error), exc_info=error if self.config.debug else None)

    def _reserve(self) -> None:
        """Makes a file as large as the final checkpoint, given back before that is written: a full disk loses none."""
        split, remembered = self.extras.split, min(self.config.epochs, RECENT)
        # Parameters and moments, and the parameters of frames that could not be written.
        numbers = sum(2 * learner.network.size for learner in self.state.learners) + 4 * self.config.network.size
        points = split.training.numel() + split.validation.numel()
        with disk.named(self.files.reserve):
            self.files.reserve.write_bytes(bytes(64 * 1024 + SYNC_BYTES + 8 * (numbers + points + remembered)))

    def _table(self, begun: Beginning) -> Metrics:
        """The metrics, with what there is of their earlier rows."""
        path, reached = self.files.metrics, self.state.epoch
        schedule = self.config.schedule if reached < self.config.epochs else EVERY_EPOCH
        source = begun.origin.metrics if begun.origin and not path.exists() else None
        metrics = Metrics(path, reached, schedule, self.extras.rows, source)
        for note in metrics.notes:
            log.warning("%s", note)
        return metrics

    def _write_settings(self, finished: int | None) -> None:
        """Writes the run's record; `finished` is the epoch that everything else in its folders is of by now."""
        content = self._settings | {"finished_epoch": finished}
        write_whole(self.files.settings, (json.dumps(content, indent=2) + "\n").encode())

    def _described(self, begun: Beginning, device: torch.device) -> dict[str, object]:
        """What was asked for, and what became of it."""
        config = self.config
        return {
            "version": engine.__version__,
            "run": self.extras.run,
            "settings": files.settings_of(config),
            "resolved": {
                "hidden_widths": config.network.dims[1:-1],
                "parameters": config.network.size,
                "predictor_parameters": config.code_length.predictor.size if config.code_length else 0,
                "drawn_seed": self.extras.seed,
                "resumed_from": str(begun.resumed_from) if begun.resumed_from else None,
                "image": {
                    "width": self.picture.width,
                    "height": self.picture.height,
                    "sha256": self.picture.digest,
                },
                "backend": self.backend.name,
                "device": str(device),
                "processes": self.group.size,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
        }
