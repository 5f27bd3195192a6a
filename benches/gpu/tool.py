"""Programs run beside this one: what they said and how long they took, stopped where they take too long."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benches.method import ROOT

# Where CUDA's tools lie that are on no path.
PLACES = ("/usr/local/cuda/bin", "/opt/nvidia/nsight-compute", "/opt/nvidia/compute-sanitizer")


@dataclass(frozen=True)
class Said:
    """What a program came to: its exit status, None where it was stopped, its two outputs, seconds."""

    status: int | None
    out: str
    err: str
    seconds: float

    def tail(self, lines: int = 5) -> str:
        """The end of what it said."""
        return "\n".join((self.out + self.err).strip().splitlines()[-lines:])

    @property
    def ending(self) -> str:
        """How it ended."""
        return f"stopped after {self.seconds:.0f} s" if self.status is None else f"status {self.status}"


class Program:
    """One that runs, in the checkout's root, with all that it starts in a group of its own."""

    def __init__(self, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
        self._started = time.perf_counter()
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        group: dict[str, Any] = {"process_group": 0} if sys.version_info >= (3, 11) else {"start_new_session": True}
        self._process = subprocess.Popen(
            [str(word) for word in command], cwd=ROOT, env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL, stdout=self._out, stderr=self._err, **group,
        )  # fmt: skip

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def so_far(self) -> str:
        """What it has said by now on its standard output."""
        return os.pread(self._out.fileno(), 2**24, 0).decode(errors="replace")

    def finish(self, seconds: float) -> Said:
        """Waits for its end, for so long, and ends it where that is not enough."""
        status: int | None = None
        try:
            status = self._process.wait(max(seconds, 0.1))
        except subprocess.TimeoutExpired:
            self.stop()
        took = time.perf_counter() - self._started
        texts = []
        for file in (self._out, self._err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
        return Said(status, texts[0], texts[1], took)

    def stop(self) -> None:
        """Ends it, where it still runs, and all that it started."""
        if self.running:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def together(
    commands: Mapping[str, Sequence[str | Path]], seconds: float, environment: Mapping[str, str] | None = None
) -> dict[str, Said]:
    """Runs programs side by side, for so many seconds at most; what each came to."""
    ends = time.perf_counter() + seconds
    started = {name: Program(command, environment) for name, command in commands.items()}
    try:
        return {name: one.finish(ends - time.perf_counter()) for name, one in started.items()}
    finally:
        for one in started.values():
            one.stop()


def find(name: str) -> str | None:
    """Where a tool of CUDA's is; None where it is not installed."""
    if found := shutil.which(name):
        return found
    beside = [path for place in PLACES for path in Path(place).glob(f"**/{name}") if path.is_file()]
    return str(min(beside, key=lambda path: len(path.parts))) if beside else None
