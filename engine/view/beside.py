"""The explorer beside a run: a process of its own, which reads what the run writes and ends with it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from draw_poly.engine.view.options import ViewOptions

NICENESS = 19  # it gets what is left of a core
PATIENCE = 5.0  # seconds that it has to end in


@contextmanager
def beside(wanted: bool, folder: Path, run: str) -> Iterator[None]:
    """Has the explorer of a folder be there meanwhile, if it is `wanted`; it begins with this run."""
    if not wanted:
        yield
        return
    words = [sys.executable, "-m", "draw_poly.engine.view.beside", str(folder), run]
    # A session of its own: what a terminal sends to the run is not for it. It ends where this pipe does, by whatever.
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        yield
    finally:
        assert process.stdin
        process.stdin.close()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main() -> int:
    """What the process does: serves until its standard input ends. Returns the exit status."""
    with suppress(OSError):
        os.nice(NICENESS)  # before what it loads, which takes seconds
    from draw_poly.engine.view.command import run

    folder, name = sys.argv[1:]
    return run(ViewOptions(folder), name, sys.stdin.buffer)


if __name__ == "__main__":
    sys.exit(main())
