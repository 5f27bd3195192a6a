"""The process that watches the one that measures: whatever ends that one, another goes on after it."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from benches.gpu.record import FAILED, GRACE, RUNNING, Record

ROOT = Path(__file__).parents[2]
# The exit status of a measuring process that has refused to begin, and said why.
REFUSED = 2
# Seconds past its time after which a section's process is ended, and from the first word of that to the last.
LATE, LAST = 10.0, 5.0


def supervise(command: Sequence[str], names: Sequence[str], path: Path, end: float) -> Record:
    """Runs sections in a process, and what is left in another where it does not come back; the record then.

    `command` is told `--sections`, and leaves its record in the file. Raises SystemExit where it refuses to begin.
    """
    record = Record(path)
    record.write()
    left = list(names)
    while left:
        status = _watched([*command, "--sections", *left], path, end)
        record = Record.read(path)
        running = [name for name, entry in record.sections.items() if entry["status"] == RUNNING]
        for name in running:
            record.end(name, FAILED, _why(status))
        after = [name for name in left if name not in record.sections]
        if status == REFUSED and not record.sections:
            sys.exit(REFUSED)
        if len(after) == len(left):  # not even the first began
            for name in after:
                record.end(name, FAILED, f"the measuring process did not begin: {_why(status)}")
            break
        left = after
    return record


def _why(status: int | None) -> str:
    if status is None:
        return "it hung, and its process was ended"
    return f"its process was ended by signal {-status}" if status < 0 else f"its process ended with status {status}"


def _watched(command: Sequence[str], path: Path, end: float) -> int | None:
    """A process's exit status; None where its section went on past its time."""
    with _terminated_by_an_exception():
        process = subprocess.Popen(command, cwd=ROOT)
        try:
            while process.poll() is None:
                time.sleep(0.1)
                if time.time() > _until(path, end) + LATE:
                    return None
            return process.returncode
        finally:
            if process.poll() is None:
                process.terminate()  # it ends what it has started
                with suppress(subprocess.TimeoutExpired):
                    process.wait(LAST)
                process.kill()
                process.wait()


def _until(path: Path, end: float) -> float:
    """When the section that is under way has to be over."""
    running = [entry["until"] for entry in Record.read(path).sections.values() if entry["status"] == RUNNING]
    return float(running[0]) if running else end + GRACE


@contextmanager
def _terminated_by_an_exception() -> Iterator[None]:
    """Lets what is to be done at the end be done, where this process is asked to end."""

    def leave(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
