"""The ways to be ended from outside: what is saved, what is said, and with which status."""

import csv
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from draw_poly.engine.record import checkpoint
from draw_poly.engine.record.film import count_frames
from draw_poly.engine.signals import Signals
from draw_poly.engine.training.trainer import Launched, Trainer
from tests.conftest import Program, slow, untimed
from tests.processes import ROOT, Start, wait_for, words_for

HANGUP, TERMINATE, INTERRUPT = signal.SIGHUP, signal.SIGTERM, signal.SIGINT


@pytest.fixture(autouse=True)
def _as_from_a_terminal() -> Iterator[None]:
    """Hangups and interrupts are heard, whatever these tests were begun under: `nohup`, or a script's background."""
    heard: dict[signal.Signals, Any] = {HANGUP: signal.SIG_DFL, INTERRUPT: signal.default_int_handler}
    before = {number: signal.signal(number, handler) for number, handler in heard.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_closed_terminal_does_not_end_what_nohup_started(start: Start, tmp_path: Path, small_image: Path) -> None:
    words = words_for(small_image, tmp_path, "-e", 10**6, "--save-interval", 10**6)
    with start(words, nohup=True) as running:
        wait_for(running, "Epoch 30/")
        running.send_signal(HANGUP)
        wait_for(running, "Epoch 500/")
        running.send_signal(TERMINATE)
        _, rest = running.communicate(timeout=240)
    assert running.returncode == 143
    assert "Interrupted by SIGTERM" in rest


def test_a_run_that_nobody_reads_ends_by_one_signal(start: Start, tmp_path: Path, small_image: Path) -> None:
    log = tmp_path / "log"
    words = words_for(small_image, tmp_path, "-e", 10**6, "--save-interval", 10**6, "--log-file", log)
    with start(words) as running:
        wait_for(running, "Epoch 30/")
        said = -1
        while said != (said := log.stat().st_size):  # until its pipe is full
            time.sleep(2)
        running.send_signal(TERMINATE)
        assert running.wait(60) == 143
    assert "Interrupted by SIGTERM" in log.read_text()
    assert list(tmp_path.rglob("*.pt"))


def ended_while_saving(
    program: Program, monkeypatch: pytest.MonkeyPatch, first: signal.Signals, then: list[signal.Signals]
) -> int:
    """The status of a run that one signal ends in epoch 3, and that others meet while it saves."""
    launch, save = Trainer.launch, checkpoint.save

    def launching(self: Trainer, *words: Any, **named: Any) -> Launched:
        if self._state.epoch == 2:
            os.kill(os.getpid(), first)
        return launch(self, *words, **named)

    def saving(*words: object) -> None:
        for number in then:
            os.kill(os.getpid(), number)
        save(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "launch", launching)
    monkeypatch.setattr(checkpoint, "save", saving)
    outcome = program("--seed", 1, "--backend", "eager")
    assert "Traceback" not in outcome.log
    return outcome.status


@pytest.mark.parametrize(
    ("first", "then", "status"),
    [
        (TERMINATE, [TERMINATE], 143),
        (TERMINATE, [INTERRUPT], 143),
        (INTERRUPT, [INTERRUPT], 130),
        (INTERRUPT, [TERMINATE], 130),
        (HANGUP, [], 129),
        (HANGUP, [HANGUP, HANGUP, TERMINATE], 129),
        (INTERRUPT, [HANGUP, HANGUP], 130),
    ],
)
def test_what_the_first_signal_saves_a_second_one_does_not_stop(
    program: Program,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    first: signal.Signals,
    then: list[signal.Signals],
    status: int,
) -> None:
    assert ended_while_saving(program, monkeypatch, first, then) == status
    (stored,) = (tmp_path / "out" / "results").glob("checkpoint_*.pt")
    assert torch.load(stored, weights_only=False)["epoch"] == 1


@pytest.mark.parametrize(("first", "status"), [(TERMINATE, 143), (INTERRUPT, 130)])
def test_a_third_signal_at_once_ends_without_saving(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: signal.Signals, status: int
) -> None:
    assert ended_while_saving(program, monkeypatch, first, [first, INTERRUPT]) == status
    assert not list((tmp_path / "out" / "results").glob("checkpoint_*.pt"))


def test_only_haste_ends_a_run_that_saves(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("draw_poly.engine.signals.time.monotonic", lambda: now[0])
    signals = Signals()
    for _ in range(5):
        signals(TERMINATE, None)
        now[0] += 1.5
    now[0] -= 0.6
    with pytest.raises(KeyboardInterrupt):
        signals(INTERRUPT, None)
    assert signals.received == TERMINATE


# The program's own imports; and libraries', whose own code may swallow an exception that is raised there.
@pytest.mark.parametrize(
    ("module", "swallowed"),
    [slow("dataclasses", False), ("draw_poly.engine.config", False), slow("torch.nn", True), slow("numba", True)],
)
def test_an_interrupt_while_modules_are_loaded_is_one_line(
    tmp_path: Path, small_image: Path, module: str, swallowed: bool
) -> None:
    words = [str(ROOT / "cli.py"), *words_for(small_image, tmp_path, "-e", 3)]
    program = (
        "import contextlib, os, runpy, sys\n"
        f"swallowed = {swallowed}\n"
        "def watch(event, args):\n"
        f"    if event == 'import' and args[0] == {module!r}:\n"
        "        with contextlib.suppress(BaseException if swallowed else ()):\n"
        "            os.kill(os.getpid(), 2)\n"
        "sys.addaudithook(watch)\n"
        f"sys.argv = {words!r}\n"
        f"runpy.run_path({str(ROOT / 'cli.py')!r}, run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == "draw-poly: interrupted"
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.p*t"))


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), slow(signal.SIGTERM, 143), slow(signal.SIGHUP, 129)]
)
def test_a_signal_ends_the_run_with_a_checkpoint(
    start: Start, tmp_path: Path, small_image: Path, number: int, status: int
) -> None:
    with start(words_for(small_image, tmp_path, "-e", 10**6, "--save-interval", 10**6)) as running:
        wait_for(running, "Epoch 30/")
        running.send_signal(number)
        _, rest = running.communicate(timeout=240)
    assert running.returncode == status
    assert f"Interrupted by {signal.Signals(number).name}" in rest
    (stored,) = tmp_path.glob("checkpoint_*.pt")
    done = torch.load(stored, weights_only=False)["epoch"] + 1
    (metrics,) = tmp_path.glob("*/metrics.csv")
    assert [int(row["epoch"]) for row in csv.DictReader(metrics.open())] == list(range(1, done + 1))


@pytest.mark.parametrize("format", ["png", slow("none")])
def test_a_killed_run_goes_on_as_if_it_had_not_been(
    start: Start, tmp_path: Path, small_image: Path, program: Program, format: str
) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    frames = ["--save-interval", 5, "--snapshot-format", format]
    with start(words_for(small_image, killed, "-e", 4000, "--checkpoint-interval", 20, *frames)) as running:
        wait_for(running, "Checkpoint saved")
        wait_for(running, "Checkpoint saved")
        time.sleep(0.05)
        running.kill()
    (film,) = killed.glob("*.mp4")
    # Every frame up to the second checkpoint is there, that of epoch 0 first.
    assert count_frames(film) >= 9
    assert bool(list((killed / "snap").iterdir())) == (format == "png")
    last = max(int(re.findall(r"(\d+)\.pt", path.name)[0]) for path in killed.glob("checkpoint_*.pt")) + 1
    target = last + 10
    resumed = words_for(small_image, killed, "-e", target, *frames, "--resume", killed)
    assert program(*resumed).status == 0
    straight = words_for(small_image, whole, "-e", target, *frames)
    assert program(*straight).status == 0
    rows = [untimed(next(place.glob("*/metrics.csv"))) for place in (killed, whole)]
    assert rows[0] == rows[1]
    assert count_frames(film) == count_frames(next(whole.glob("*.mp4"))) == target // 5 + 1
