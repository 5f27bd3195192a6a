"""A device that goes on while the host reads: the run leaves what it would leave if the device waited."""

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from draw_poly.engine.backends.base import Data, Report
from draw_poly.engine.backends.reference import Eager
from draw_poly.engine.training import pace
from draw_poly.engine.training.trainer import Epochs, Launched, Trainer
from tests.conftest import Outcome, Program, untimed
from tests.epochs import DOUBLING

WITH_TERM = ["--kolmogorov-shape", "[4]", "--kolmogorov-weight", 0.2, "--kolmogorov-bins", 20]
SGD = ["--optimizer", "sgd"]
# A frame of epochs 0, 4, 8 and 9, a checkpoint of 3, 6 and 9.
WORDS = ["--seed", 1, "--backend", "eager", "-e", 9, "--save-interval", 4, "--checkpoint-interval", 3]


@pytest.fixture
def deeds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a run did in turn: launched an epoch, or read one."""
    done: list[str] = []
    launch = Trainer.launch

    def launching(self: Trainer, *words: Any, **named: Any) -> Launched:
        launched = launch(self, *words, **named)
        number = launched.last
        done.append(f"launch {number}")

        def reading() -> Epochs:
            done.append(f"read {number}")
            return launched.read()

        return Launched(number, launched.epochs, reading)

    monkeypatch.setattr(Trainer, "launch", launching)
    return done


def left(outcome: Outcome, place: Path) -> dict[str, object]:
    """What a run printed of its epochs and its end, and what is in its files, times apart."""
    found: dict[str, object] = {"lines": re.findall(r"(?:Epoch \d+/|Stopped|Interrupted|Code length).*", outcome.log)}
    for path in sorted(place.rglob("*")):
        if path.suffix == ".pt":
            found[path.name] = flat(torch.load(path, weights_only=False))
        elif path.suffix == ".png" and path.parent.name == "snapshots":
            found[path.name] = path.read_bytes()
        elif path.suffix == ".txt":
            found[path.name] = path.read_text()
        elif path.name == "metrics.csv":
            found[path.name] = untimed(path)
    return found


def flat(stored: object) -> object:
    """A checkpoint as what can be compared, without the run's own name and places."""
    if isinstance(stored, dict):
        return {key: flat(value) for key, value in stored.items() if key not in ("run", "settings")}
    if isinstance(stored, list | tuple):
        return [flat(value) for value in stored]
    return stored.tolist() if hasattr(stored, "tolist") else stored


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ([], 0, "Epoch 9/9"),
        (WITH_TERM, 0, "Code length"),
        ([*SGD, "-l", 2.2], 1, "the loss was not finite in epoch"),
        (["-l", 1e-30], 1, "Stopped at epoch 2: the optimisation loops"),
    ],
)
def test_a_run_leaves_the_same(
    program: Program,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    deeds: list[str],
    words: list[object],
    status: int,
    said: str,
) -> None:
    waiting = program(*WORDS, *words, folder="waiting")
    assert deeds == sorted(deeds, key=lambda deed: deed.split()[1])
    deeds.clear()
    monkeypatch.setattr(Eager, "runs_ahead", True)
    ahead = program(*WORDS, *words, folder="ahead")
    assert deeds[:4] == ["launch 1", "launch 2", "read 1", "launch 3"]
    assert waiting.status == ahead.status == status
    assert said in ahead.log
    assert left(ahead, tmp_path / "ahead") == left(waiting, tmp_path / "waiting")


def test_no_epoch_passes_that_something_is_made_of(
    program: Program, monkeypatch: pytest.MonkeyPatch, deeds: list[str]
) -> None:
    monkeypatch.setattr(Eager, "runs_ahead", True)
    monkeypatch.setattr(pace, "VISIT", DOUBLING)
    assert program(*WORDS).status == 0
    order = "L1 L2 R1 L3 R2 R3 L4 R4 L6 R6 L8 R8 L9 R9"
    assert " ".join(deed[0].upper() + deed.split()[1] for deed in deeds) == order


def test_a_resumed_run_is_the_straight_one(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    straight = program(*WORDS, *WITH_TERM, folder="straight")
    monkeypatch.setattr(Eager, "runs_ahead", True)
    words = [*WORDS, *WITH_TERM, "--save-interval", 100]
    assert program(*words, "-e", 5, folder="resumed").status == 0
    resumed = program(*words, "--resume", tmp_path / "resumed" / "results", folder="resumed")
    lines = [re.findall(r"Epoch [6-9]/9.*", outcome.log) for outcome in (straight, resumed)]
    assert len(lines[0]) == 4
    assert lines[0] == lines[1]


def test_a_signal_heard_on_the_way_ahead_loses_no_finished_epoch(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deeds: list[str]
) -> None:
    real = Eager.visit

    def visit(self: Eager, data: Data, orders: NDArray[np.int64], interrupted: Callable[[], bool]) -> Report:
        if self.state.epoch == 1 and not interrupted():
            signal.raise_signal(signal.SIGINT)
        return real(self, data, orders, interrupted)

    monkeypatch.setattr(Eager, "visit", visit)
    found = []
    for runs_ahead in (False, True):
        monkeypatch.setattr(Eager, "runs_ahead", runs_ahead)
        outcome = program(*WORDS, folder=str(runs_ahead))
        assert outcome.status == 130
        assert "Interrupted by SIGINT at epoch 1" in outcome.log
        found.append(left(outcome, tmp_path / str(runs_ahead)))
    assert deeds == ["launch 1", "read 1"] * 2
    assert found[0] == found[1]
