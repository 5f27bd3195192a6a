"""The program in processes of its own: begun as a user does, or forked from one that has loaded it, which is cheaper.

`start` in `conftest.py` gives tests the one in the default run, and the other too where all is run.
"""

import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[1]
CONTEXT = multiprocessing.get_context("forkserver")
# All that a run imports, so that those that are forked have it.
LOADED = [
    *(f"draw_poly.engine.{name}" for name in ("run", "backends.cpu", "pictures.cpu_drawing", "record.film")),
    "draw_poly.kernels.cpu.training", "matplotlib.figure",
]  # fmt: skip
CONTEXT.set_forkserver_preload(LOADED)
# A program whose imports fail as if nothing of these names were installed.
WITHOUT = """
import sys
sys.modules.update(dict.fromkeys({missing!r}))
from draw_poly import cli
sys.exit(cli.main())
"""


class Forked:
    """A run in a process that is forked, with as much of `subprocess.Popen` as tests need; its end is its own."""

    def __init__(
        self,
        words: Sequence[str],
        into: int | None = None,
        environment: Mapping[str, str] | None = None,
        nohup: bool = False,
        missing: Sequence[str] = (),
    ) -> None:
        reading, writing = os.pipe() if into is None else (None, os.dup(into))
        self.stderr: IO[str] | None = None if reading is None else os.fdopen(reading)
        carrier = Connection(writing, readable=False)  # which can be sent, as a descriptor alone cannot
        given = list(words), carrier, dict(environment or {}), nohup, list(missing)
        self._process = CONTEXT.Process(target=_run, args=given, daemon=True)
        self._process.start()
        carrier.close()
        assert self._process.pid
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, a signal's number below zero; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """See `subprocess.Popen.poll`."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """See `subprocess.Popen.wait`."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("draw-poly", timeout or 0)
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[None, str]:
        """See `subprocess.Popen.communicate`; the time is that which the end takes once nothing more is said."""
        said = self.stderr.read() if self.stderr else ""
        self.wait(timeout)
        return None, said

    def send_signal(self, number: int) -> None:
        """See `subprocess.Popen.send_signal`."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """See `subprocess.Popen.kill`."""
        self._process.kill()

    def __enter__(self) -> "Forked":
        return self

    def __exit__(self, *_: object) -> None:
        if self.stderr:
            self.stderr.close()
        self._process.join()


def _run(words: list[str], into: Connection, environment: dict[str, str], nohup: bool, missing: list[str]) -> None:
    os.environ.update(environment)
    for number in (1, 2):
        os.dup2(into.fileno(), number)
    into.close()
    if nohup:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if missing:  # what was loaded with them is loaded again without
        for name in [name for name in sys.modules if name.partition(".")[0] == "draw_poly"]:
            del sys.modules[name]
        sys.modules.update(dict.fromkeys(missing))  # type: ignore[arg-type]
    sys.argv[1:] = words
    sys.exit(importlib.import_module("draw_poly.cli").main())


def begun(
    words: Sequence[str],
    into: int | None = None,
    environment: Mapping[str, str] | None = None,
    nohup: bool = False,
    missing: Sequence[str] = (),
) -> "subprocess.Popen[str]":
    """A run as a shell begins it: what it says goes to a pipe or a descriptor, and packages may be missing."""
    program = ["-c", WITHOUT.format(missing=list(missing))] if missing else [str(ROOT / "cli.py")]
    command = [*["nohup"] * nohup, sys.executable, *program, *words]
    to, around = subprocess.PIPE if into is None else into, {**os.environ, **(environment or {})}
    return subprocess.Popen(command, env=around, stdout=subprocess.DEVNULL, stderr=to, text=True)


Running = Forked | subprocess.Popen[str]
Start = Callable[..., Running]


def words_for(small_image: Path, place: Path, *words: object) -> list[str]:
    """A small run's words; those given later win."""
    base = ["-i", small_image, "-s", "[5]*3", "-p", 100, "-b", 32, "--seed", 1]
    base += ["-o", place, "--snapshot-dir", place / "snap", "--device", "cpu", *words]
    return [str(word) for word in base]


def wait_for(running: Running, text: str) -> None:
    """Until a run has logged this."""
    assert running.stderr
    for line in running.stderr:
        if text in line:
            return
    raise AssertionError(f"{text!r} was not logged")
