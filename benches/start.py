"""A start and an end: `python -m benches.start` times a run of one epoch beside `import torch`, in turns.

`python -m benches.start NAME` is a peer's start, to be timed from outside: it trains one epoch and says so.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benches.compare import seconds
from benches.contenders import ENTRIES, Original
from benches.job import IMAGE, Job
from benches.method import ROOT

TORCH, FIRST, WHOLE = "import torch", "to the first epoch", "a run of one epoch, to its exit"


def peer(name: str) -> None:
    """Builds a contender, trains an epoch, draws a frame where the original would, and reports."""
    job = Job()
    made = ENTRIES[name].build(job, torch.get_num_threads())
    torch.set_num_threads(made.threads)
    loss, error = made.epoch()
    if isinstance(made, Original):
        with tempfile.TemporaryDirectory() as place:
            made.baseline.frame(job.picture.pixels, Path(place) / "frame.png")
    print(f"Epoch 1/1 - {loss:.6f}, {error:.6f}", file=sys.stderr, flush=True)


def spent(command: Sequence[str], until: str = "") -> tuple[float, float]:
    """Seconds of a command, and of the processor's for it: to its exit, or until it says so.

    Raises CalledProcessError where it fails, or exits without having said it.
    """
    began = time.perf_counter()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        said = bool(until) and any(until in line for line in process.stderr or ())
        if said:
            process.kill()
        elif process.stderr:
            process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if not said and (until or process.returncode):
        raise subprocess.CalledProcessError(process.returncode, command)
    return time.perf_counter() - began, used.ru_utime + used.ru_stime


def turn(image: str) -> dict[str, tuple[float, float]]:
    """Each once, one after the other."""
    found = {TORCH: spent([sys.executable, "-c", "import torch"])}
    command = [sys.executable, str(ROOT / "cli.py"), "-i", image, "-s", "[10]*8", "-e", "1", "--seed", "1"]
    for name, until in ((FIRST, "Epoch 1/"), (WHOLE, "")):
        with tempfile.TemporaryDirectory() as place:
            found[name] = spent([*command, "-o", place, "--snapshot-dir", place], until)
    return found


def table(turns: Sequence[dict[str, tuple[float, float]]]) -> str:
    """Medians, and those of their ratios to the same turn's `import torch`; by the clock and by the processor's."""
    rows = [
        f"| {len(turns)} turns | time | times `{TORCH}` | of processors | times `{TORCH}` |",
        "|---|---|---|---|---|",
    ]
    for name in turns[0]:
        cells = [name]
        for clock in (0, 1):
            ratio = statistics.median(one[name][clock] / one[TORCH][clock] for one in turns)
            cells += [seconds(statistics.median(one[name][clock] for one in turns)), f"{ratio:.2f}"]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def main(words: Sequence[str] | None = None) -> None:
    """Trains a peer's epoch, or prints Markdown of ours."""
    reader = argparse.ArgumentParser("python -m benches.start", description=__doc__)
    reader.add_argument("name", nargs="?", choices=ENTRIES, help="a peer, which trains an epoch")
    reader.add_argument("--turns", type=int, default=7, help="of each (default %(default)s)")
    reader.add_argument("--input", default=str(IMAGE), help="the image (default %(default)s)")
    chosen = reader.parse_args(words)
    if chosen.name:
        peer(chosen.name)
        return
    turn(chosen.input)  # compiles what it needs
    print(table([turn(chosen.input) for _ in range(chosen.turns)]))


if __name__ == "__main__":
    main()
