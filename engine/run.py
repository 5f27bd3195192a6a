"""A run from its first line to its last: prepare, train, record, finish."""

import signal

import torch

from draw_poly.engine import allowance, debugging, processes
from draw_poly.engine.backends import select as backend
from draw_poly.engine.backends.base import Backend, Interrupted
from draw_poly.engine.config import Config, ConfigError
from draw_poly.engine.debugging import Phases, tell
from draw_poly.engine.failure import explain
from draw_poly.engine.model.inspection import Inspector
from draw_poly.engine.prepare.claim import Claim, Taken
from draw_poly.engine.prepare.prepare import Prepared, prepare
from draw_poly.engine.prepare.rehearsal import rehearse
from draw_poly.engine.prepare.resume import moved
from draw_poly.engine.processes import Group
from draw_poly.engine.record.journal import log, logging_to
from draw_poly.engine.record.recorder import Drawn, Recorder
from draw_poly.engine.signals import Signals
from draw_poly.engine.training.setup import Setup
from draw_poly.engine.training.torch_state import on_device, own_torch_state
from draw_poly.engine.training.trainer import NonFinite
from draw_poly.engine.training.training import Training
from draw_poly.engine.view.beside import beside
from draw_poly.engine.view.options import require_bokeh
from draw_poly.engine.worker import follow, led
from draw_poly.kernels import compiled

DONE, STOPPED, FAILED = 0, 1, 3  # a signal's exit status is 128 and its number


def run(config: Config) -> int:
    """Trains as configured, together with the other processes of `torchrun` if there are any; returns the exit status.

    Raises ConfigError, before any work, for what cannot be done.
    """
    allowance.require_open_files()
    if reason := compiled.unusable():
        raise ConfigError(reason)
    if config.view:
        require_bokeh()
    with own_torch_state(), processes.joined() as group, led(group), logging_to(config, group.is_main):
        try:
            if group.is_main:
                return _lead(config, group)
            follow(config, group)
            return DONE
        except ConfigError:
            raise
        except Exception as error:
            line = "The run cannot begin: %s" if group.is_main else f"Process {group.rank} ends: %s"
            log.error(line, explain(error), exc_info=error if config.debug else None)
            return FAILED


def _lead(config: Config, group: Group) -> int:
    """The part of the process that reads, decides and writes."""
    log.info("=== Starting %s training ===", config.learnt.title)
    phases = Phases(config.debug)
    if config.debug:
        tell(debugging.machine())
    device, chosen, why = backend.found(config, group)
    with Claim() as claim:
        with phases("begin"):
            prepared = prepare(config, claim)
        for warning in prepared.warnings + [f"{config.input}: {note}" for note in prepared.picture.notes]:
            log.warning("%s", warning)
        if prepared.state.epoch == prepared.config.epochs:
            if not prepared.unmade:
                log.info(
                    "Nothing to do: the checkpoint has reached epoch %d of %d", prepared.state.epoch, config.epochs
                )
                return DONE
            log.info("The checkpoint has reached the last epoch; still to be made: %s", ", ".join(prepared.unmade))
        log.info("Backend: %s on %s (%s)", chosen.name, device, why)
        if sentence := moved(prepared.checkpoint.variant, chosen.variant):
            log.info("%s", sentence)
        if group.size > 1:
            log.info("Processes: %d", group.size)
        if config.debug:
            tell(debugging.backends(prepared.config, device, chosen, why))
            tell(debugging.picture(prepared.picture, prepared.split))
        with phases("compile"):
            rehearse(chosen, prepared.config, device)
        with on_device(device), beside(config.view, prepared.files.output_dir, prepared.files.stem):
            return Run(prepared, claim, chosen, device, group, phases).train()


class Run:
    """One run: its training, and the recorder of what becomes of it."""

    def __init__(
        self,
        prepared: Prepared,
        claim: Claim,
        chosen: type[Backend],
        device: torch.device,
        group: Group,
        phases: Phases,
    ) -> None:
        config, self._phases, self._signals = prepared.config, phases, Signals()
        self._fresh, self._replaces = prepared.state.epoch == 0, bool(prepared.replaced)
        with phases("prepare"):
            setup = Setup.of(config, prepared.state, prepared.picture, prepared.split)
            watch, signals = prepared.checkpoint.watch, self._signals
            self._training = Training(setup, device, chosen, group, watch, lambda: signals.received != 0, phases)
            log.info("Trainable parameters: %d", config.network.size)
            if config.rate_line:
                log.info("%s", config.rate_line)
            inspector = Inspector(config, setup.training) if config.debug else None
            self._recorder = Recorder(prepared, self._training, claim, phases, inspector)
            if config.debug:
                size = self._recorder.gallery.size
                tell(debugging.work(config, prepared.split, size, self._training.backend, group))

    def train(self) -> int:
        """Trains to the last epoch, or until something stops it; saves either way. Returns the exit status.

        All that can fail is tried before the first file is written or removed.
        """
        training, recorder = self._training, self._recorder
        with torch.inference_mode():
            first = recorder.draw() if self._fresh or self._replaces else None
            if first and self._replaces:
                recorder.gallery.try_out(first.drawing)
            try:
                training.begin(whole=self._replaces)
            except Interrupted:
                return self._interrupted()
            except NonFinite as where:
                log.warning("Stopped, and nothing was replaced: the loss was not finite in the first epoch, %s", where)
                return STOPPED
            with self._signals.caught():
                recorder.open()
                try:
                    status = self._epochs(first)
                except Taken as reason:
                    return self._leave(reason)
                with self._phases("finish"):
                    status = self._finish(status)
            tell(self._phases.told())
            return status

    def _epochs(self, first: Drawn | None) -> int:
        """Epoch after epoch, recorded. Returns the exit status of how they end."""
        training, recorder = self._training, self._recorder
        try:
            recorder.begin(first)
            for visit in training.visits():
                recorder.record(visit)
        except Interrupted:
            return self._interrupted()
        except Taken:
            raise
        except Exception as error:
            recorder.report(f"Failed at epoch {training.state.epoch}: %s", error)
            return FAILED
        if training.stopped:
            log.warning("Stopped at epoch %d: %s", training.state.epoch, training.stopped)
            return STOPPED
        return DONE

    def _interrupted(self) -> int:
        """Says by what, and returns the exit status."""
        number = self._signals.received
        by = signal.Signals(number).name if number else "a signal to another process"
        log.warning("Interrupted by %s at epoch %d", by, self._training.state.epoch)
        return 128 + (number or signal.SIGTERM)

    def _leave(self, reason: Taken) -> int:
        """Ends without another file written. Returns the exit status."""
        log.error("Ended at epoch %d, and nothing is saved from here on: %s", self._training.state.epoch, reason)
        self._recorder.leave()
        return FAILED

    def _finish(self, status: int) -> int:
        """Has all be written that is left. Returns the exit status."""
        try:
            whole = self._recorder.finish(status == DONE)
        except Taken as reason:
            return self._leave(reason)
        if not whole:
            return status or FAILED
        if status == DONE:
            log.info("=== Training completed successfully ===")
        return status
