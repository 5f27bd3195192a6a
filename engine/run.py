"""A run from its first line to its last: begin, train, draw, watch, save, finish."""

import json
import platform
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import torch

import engine
from engine import allowance, backend, checkpoint, debugging, files, image, kolmogorov, network, processes
from engine.backends.base import Backend, Interrupted
from engine.begin import Beginning, begin
from engine.caption import LossCurves, caption
from engine.config import Config, ConfigError
from engine.debugging import Phases, tell
from engine.drawers import drawer_for
from engine.encoder import FrameWriter
from engine.failure import explain
from engine.follow import EPOCH, Start, follow, led
from engine.frame import Panels, film_canvas, frame_size
from engine.inspection import Inspector
from engine.journal import Metrics, epoch_line, log, logging_to, progress
from engine.picture_file import PictureWriter, write_whole
from engine.plot import plot
from engine.processes import Group
from engine.signals import Signals
from engine.smoothed import smoothed
from engine.state import Snapshot
from engine.torch_state import own_torch_state
from engine.trainer import Epoch, Launched, NonFinite
from kernels import compiled

if TYPE_CHECKING:
    from engine.film import Film

DONE, STOPPED, FAILED = 0, 1, 3  # a signal's exit status is 128 and its number


class EarlyStop(Exception):
    """There is nothing more to learn, or nothing that can be learnt; the text says why."""


def run(config: Config) -> int:
    """Trains as configured, together with the other processes of `torchrun` if there are any; returns the exit status.

    Raises ConfigError, before any work, for what cannot be done.
    """
    allowance.require_open_files()
    if reason := compiled.unusable():
        raise ConfigError(reason)
    with own_torch_state(), processes.joined() as group, led(group), logging_to(config, group.leads):
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
        log.info("Nothing to do: the checkpoint has reached epoch %d of %d", begun.state.epoch, config.epochs)
        return DONE
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
        self._write_settings(begun, device)
        size = frame_size(self.picture.width, self.picture.height, config.frame_size)
        self._unsmoothed = begun.resumed_from is None
        self.drawer = drawer_for(self.backend, *size, config.chunk_size, config.colour_regions)
        shared = Panels.of(self.picture, begun.split, size)
        self.writer = FrameWriter(shared, config.snapshot_format, config.jpeg_quality, self._film(size))
        self.dropped = 0
        self.metrics = Metrics(self.files.metrics, self.state.epoch, config.schedule)
        self.curves = LossCurves(size[0], config)
        for row in self.metrics.earlier:
            combined = float(row["task"]) + config.kolmogorov_weight * float(row["kolmogorov"])
            self.curves.add(int(row["epoch"]), combined, float(row["validation"]))
        self.bar = progress(config, self.state.epoch)
        self.signals = Signals()
        self._reported: set[str] = set()
        self._reserve = self._reserved()
        self._inspector: Inspector | None = None
        if config.debug:
            self._inspector = Inspector(config, start.training)
            tell(debugging.work(config, begun.split, size, self.backend, group))

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
                self._draw(None)
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
        self.curves.add(number, epoch.combined, epoch.validation)
        scheduled, last = number in config.schedule, number == config.epochs
        dropped = scheduled and not last and config.drop_frames and self.writer.behind
        self.dropped += dropped
        if last or (scheduled and not dropped):
            reason = self._draw(epoch, scheduled) or reason
        else:
            self.metrics.add(number, epoch, None)
        self.bar.update()
        if reason:
            raise EarlyStop(reason)
        if self._is_saved(number):
            self.writer.drain()
            self.metrics.flush()
            self._save("Checkpoint saved: %s")
        if last and self.state.predictor:
            length = kolmogorov.bits(epoch.kolmogorov, config.network)
            log.info("Code length: %.1f bits for %d parameters", length, config.network.size)

    def _draw(self, epoch: Epoch | None, scheduled: bool = True) -> str | None:
        """Draws the network as it is, and records the epoch. Returns why the run should stop, or None."""
        started = time.perf_counter()
        config, number = self.config, self.state.epoch
        with self.phases("draw"):
            drawing = self.drawer.draw()
        if epoch:
            # Recorded before the picture is handed over, which fails where an earlier one could not be written.
            self.metrics.add(number, epoch, drawing.polytopes)
        reason = self.watch.frame(drawing.lowest, drawing.highest) if epoch and scheduled else None
        losses = (epoch.combined, epoch.validation) if epoch else None
        with self.phases("hand frames over"):
            self.writer.put(drawing, caption(config, number, losses, self.curves), self.files.frame(number))
        self.extras.film_frames += scheduled
        log.info("Visualization @ epoch %d: %.2fs", number, time.perf_counter() - started)
        counts = drawing.evaluations, drawing.gray.size, drawing.polytopes
        log.info("Frame @ epoch %d: %d evaluations for %d pixels, %d polytopes", number, *counts)
        if self._inspector:
            with self.phases("look at the network"):
                tell(self._inspector.look(self.state))
        return reason

    def _smooth(self) -> None:
        """Writes the smoothed picture, which no epoch changes."""
        self._unsmoothed = False
        size = frame_size(self.picture.width, self.picture.height, self.config.frame_size)
        pixels = smoothed(self.picture, self.extras.split, self.config.smoothing_sigma, size)
        PictureWriter("png").write(self.files.smoothed, pixels)

    def _save(self, line: str) -> None:
        path = self.files.checkpoint(self.state.epoch)
        with self.phases("save checkpoints"):
            checkpoint.save(path, self.state, self.extras, self.config, self.files.identity, self.picture)
        log.info(line, path)

    def _finish(self, status: int) -> int:
        """Frames, checkpoint, weights, film and plots; each is tried whatever became of the others."""
        state, place = self.state, self.files
        weights = network.as_text(state.main.parameters, state.main.network)
        steps: list[Callable[[], object]] = [
            self.bar.close,
            self.writer.drain,
            self.metrics.close,
            lambda: self._reserve.unlink(missing_ok=True),
            lambda: self._save("Final checkpoint saved: %s") if state.epoch else None,
            lambda: write_whole(place.weights, weights.encode()),
            self.writer.close,
            self._plot,
        ]
        for step in steps:
            try:
                step()
            except Exception as error:
                status = status or FAILED
                self._report("While finishing: %s", error)
        if self.dropped:
            log.info("Frames dropped because the encoders were behind: %d", self.dropped)
        if status == DONE:
            log.info("=== Training completed successfully ===")
        return status

    def _plot(self) -> None:
        """Plots of the run; that there are none is no failure of it."""
        try:
            with self.phases("plot"):
                plot(self.files.metrics, *self.files.plots)
        except Exception as error:
            reason, trace = explain(error), error if self.config.debug else None
            log.warning("Plots are not made (%s): a resume makes them again", reason, exc_info=trace)

    def _report(self, line: str, error: Exception) -> None:
        """Logs a failure once, however many steps meet it."""
        if explain(error) not in self._reported:
            self._reported.add(explain(error))
            log.error(line, explain(error), exc_info=error if self.config.debug else None)

    def _reserved(self) -> Path:
        """A file as large as the final checkpoint, given back before it is written: a full disk does not lose it."""
        path = self.files.checkpoint_dir / f".{self.files.checkpoint_prefix}reserve"
        split, hashes = self.extras.split, min(self.config.epochs, 10**6)
        numbers = sum(2 * learner.network.size for learner in self.state.learners) + 2 * hashes
        points = split.training.numel() + split.validation.numel()
        write_whole(path, bytes(64 * 1024 + 8 * (numbers + points)))
        return path

    def _earlier_frames(self) -> list[Path]:
        """The run's frame files up to now that its film should have, first to last."""
        frames = sorted(self.files.frames().items())
        schedule = self.config.schedule
        return [path for epoch, path in frames if epoch <= self.state.epoch and epoch in schedule]

    def _film(self, size: tuple[int, int]) -> "Film | None":
        """The film, with what it has of the run's earlier frames; None where none is wanted."""
        if self.config.no_film:
            return None
        from engine.film import continued  # loads FFmpeg, which need not be there for a run without a film

        return continued(self.files.film, film_canvas(*size), self.extras.film_frames, self._earlier_frames())

    def _write_settings(self, begun: Beginning, device: torch.device) -> None:
        config = self.config
        content = {
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
        write_whole(self.files.settings, (json.dumps(content, indent=2) + "\n").encode())
