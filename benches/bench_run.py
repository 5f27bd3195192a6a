"""An epoch of a whole run, as a user starts it: order, steps, validation, watch, log to a file, `metrics.csv`.

Others train the same epochs, and log a line of each to a file: what is watched and kept is ours alone.
"""

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benches.conftest import Entry
from benches.contenders import ORIGINAL, Ours
from benches.entries import entries
from benches.job import Job
from benches.method import Variant
from benches.suite import Group, Suite
from draw_poly.engine.backends import select as backend
from draw_poly.engine.backends.base import Backend, Data, Report, Trained
from draw_poly.engine.backends.reference import Eager
from draw_poly.engine.config import Config
from draw_poly.engine.debugging import Phases
from draw_poly.engine.model.state import State
from draw_poly.engine.prepare.claim import Claim
from draw_poly.engine.prepare.prepare import prepare
from draw_poly.engine.record.journal import logging_to
from draw_poly.engine.record.log_file import FORMAT
from draw_poly.engine.record.recorder import Recorder
from draw_poly.engine.training.setup import Setup
from draw_poly.engine.training.training import Training

MAIN, WITH_TERM, SMALL = Job(), Job(bins=256), Job(shape="[4]*2", points=200, batch=200)
# Epochs of a call, of several visits each.
FEW, MANY = 1000, 20_000
HOST = "the host alone"  # a device that takes no time
NAMES = (ORIGINAL, "cpu", "triton", "JAX")


class Idle(Eager):
    """Trains nothing, and reports numbers of an epoch's size that do not come again."""

    name = "idle"

    def __init__(self, state: State, config: Config) -> None:
        super().__init__(state, config)
        self._chance = np.random.default_rng(1)
        self._rows = self._chance.random((4096, sum(one.network.size for one in state.learners)), np.float32)

    def visit(self, data: Data, orders: NDArray[np.int64], interrupted: Callable[[], bool]) -> Report:
        """See `Backend.visit`."""
        epochs, kinds = orders.shape[1], len(self.state.learners)
        parameters = self._rows[:epochs]
        parameters[:, :4] = self._chance.random((epochs, 4), np.float32)
        numbers = np.full((1, epochs, data.steps * kinds + 3), 0.1, np.float32)
        numbers[..., -2:] = 0.0, 1.0
        return lambda: Trained(numbers, parameters[None])


class WholeRun:
    """A run that is trained and recorded by and by, in a folder of its own, until `close`."""

    def __init__(self, config: Config, kind: type[Backend] | None = None) -> None:
        self._stack, self._done, self._wanted = ExitStack(), 0, 0
        place = Path(self._stack.enter_context(TemporaryDirectory()))
        config = replace(
            config, output_dir=str(place / "results"), snapshot_dir=str(place / "snapshots"), save_interval=10**9,
            log_file=str(place / "log"), quiet=True, no_film=True, epochs=10**9,
        )  # fmt: skip
        self._stack.enter_context(logging_to(config))
        claim = self._stack.enter_context(Claim())
        prepared = prepare(config, claim)
        device, chosen, _ = backend.found(config)
        setup = Setup.of(config, prepared.state, prepared.picture, prepared.split)
        training = Training(setup, device, kind or chosen, watch=prepared.checkpoint.watch)
        phases = Phases(False)
        self._recorder = Recorder(prepared, training, claim, phases, None)
        with torch.inference_mode():
            self._recorder.open()
            self._recorder.begin(self._recorder.draw())
        self._stack.callback(self._recorder.leave)
        self._visits = training.visits()
        self.close = self._stack.close

    def train(self, epochs: int) -> None:
        """So many more; what a visit has more of than was wanted, the next call need not train."""
        self._wanted += epochs
        with torch.inference_mode():
            while self._done < self._wanted:
                visit = next(self._visits)
                self._recorder.record(visit)
                self._done += len(visit.epochs)


def run(suite: Suite, job: Job, name: str) -> Variant:
    """Epochs of a contender's run."""
    if name == HOST:
        return whole(suite, WholeRun(job.config, Idle), MANY)
    made = suite.contender(job, name)
    if isinstance(made, Ours):
        config = Config(**{**vars(job.config), "backend": name, "device": str(suite.device)})
        return whole(suite, WholeRun(config), MANY if job is SMALL else FEW, made.threads)
    file = logging.FileHandler(Path(suite.resources.enter_context(TemporaryDirectory())) / "log")
    file.setFormatter(logging.Formatter(FORMAT))
    log = logging.getLogger(f"benches.{name}")
    log.addHandler(file)
    log.setLevel(logging.INFO)
    log.propagate = False
    suite.resources.callback(file.close)

    def epoch() -> None:
        loss, error = made.epoch()
        log.info("Epoch %d - Combined Loss: %.6f, Val Loss: %.6f", 1, loss, error)

    return Variant(epoch, made.threads)


def late(suite: Suite, job: Job, name: str, epochs: int) -> Variant:
    """Epochs of a run that has had so many."""
    made = WholeRun(Config(**{**vars(job.config), "backend": name, "device": str(suite.device)}))
    made.train(epochs)
    return whole(suite, made, MANY)


def whole(suite: Suite, made: WholeRun, epochs: int, threads: int | None = None) -> Variant:
    """So many of a run's epochs a call."""
    suite.resources.callback(made.close)
    return Variant(partial(made.train, epochs), threads, epochs, calls=1)


def at(epochs: int) -> Group:
    """The same after so many."""
    info = {"axis": "epochs of a run", "size": epochs}
    return Group(
        f"run, an epoch after {epochs}", SMALL, ("cpu",), partial(late, epochs=epochs), flops=SMALL.epoch_operations,
        turns=0.3, quick=epochs == 1000, info=info,
    )  # fmt: skip


GROUPS = [
    *map(at, (1000, 10_000, 100_000, 500_000)),
    Group("run, an epoch", MAIN, (*NAMES, HOST), run, flops=MAIN.epoch_operations),
    Group(
        "run, an epoch with the Kolmogorov term", WITH_TERM, (*NAMES, HOST), run, flops=WITH_TERM.epoch_operations,
        turns=0.5,
    ),
    Group("run, an epoch of [4]*2 on 200 points", SMALL, (*NAMES, HOST), run, flops=SMALL.epoch_operations),
]  # fmt: skip


@pytest.mark.parametrize(("group", "name"), entries(GROUPS))
def bench_run(entry: Entry, group: Group, name: str) -> None:
    """A contender's turns."""
    entry(group, name)
