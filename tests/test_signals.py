"""The ways to be ended from outside: what is saved, what is said, and with which status."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from draw_poly.engine.record import checkpoint
from draw_poly.engine.signals import Signals
from draw_poly.engine.training.trainer import Launched, Trainer
from tests.conftest import Program, slow
from tests.processes import ROOT, Start, wait_for, words_for

HANGUP, TERMINATE, INTERRUPT = signal.SIGHUP, signal.SIGTERM, signal.SIGINT


def test_a_closed_terminal_does_not_end_what_nohup_started(start: Start, tmp_path: Path, small_image: Path) -> None:
    words = words_for(small_image, tmp_path, "-e", 10**6, "--save-interval", 10**6)
    with start(words, nohup=True) as running:
        wait_for(running, "Epoch 30/")
        running.send_signal(HANGUP)
        wait_for(running, "Epoch 500/")
        running.send_signal(TERMINATE)
        _, rest = running.communicate(timeout=60)
    assert running.returncode == 143
    assert "Interrupted by SIGTERM" in rest


def ended_while_saving(
    program: Program, monkeypatch: pytest.MonkeyPatch, first: signal.Signals, then: list[signal.Signals]
) -> int:
    """The status of a run that one signal ends in epoch 3, and that others meet while it saves."""
    launch, save = Trainer.launch, checkpoint.save

    def launching(self: Trainer, interrupted: Callable[[], bool], *epochs: int) -> Launched:
        if self._state.epoch == 2:
            os.kill(os.getpid(), first)
        return launch(self, interrupted, *epochs)

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
