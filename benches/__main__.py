"""This checkout beside another revision, whole commands in turns: `python -m benches --base REVISION`.

The revision is checked out into a folder of its own, and both run the same command line one after the other, again and
again. Reported are the command's own seconds and the median epoch of its `metrics.csv`, with a verdict that knows their
noise; exit status 1 if something became slower. Words after `--` take the place of the cases: they are the flags of
one run, whose image is the example's.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from benches.compare import SLOWER, seconds, verdict
from benches.job import IMAGE
from benches.method import ROOT

WITHOUT_FRAMES = ["--no-film", "--save-interval", "1000000"]
WITH_TERM = ["--kolmogorov-shape", "[8, 8]", "--kolmogorov-weight", "0.05"]
CASES = {
    "the default run, no frames": ["-s", "[10]*8", "-e", "1500", *WITHOUT_FRAMES],
    "with the Kolmogorov term, no frames": ["-s", "[10]*8", "-e", "800", *WITH_TERM, *WITHOUT_FRAMES],
    "a small network, no frames": ["-s", "[4]*2", "-p", "200", "-b", "200", "-e", "3000", *WITHOUT_FRAMES],
    "a frame an epoch, PNG and film": ["-s", "[10]*8", "-e", "60"],
}
QUIET = ["--seed", "1", "--quiet"]


class Failed(Exception):
    """A command ended otherwise than well; the text is what it said."""


@dataclass(frozen=True)
class Side:
    """A checkout under measurement, and what it took: `whole` commands and their median `epochs`, in seconds."""

    name: str
    folder: Path
    whole: list[float] = field(default_factory=list)
    epochs: list[float] = field(default_factory=list)

    def run(self, words: Sequence[str]) -> tuple[float, float]:
        """One command: its seconds, and its median epoch's. Raises Failed."""
        with tempfile.TemporaryDirectory() as out:
            os.symlink(self.folder, Path(out) / "draw_poly")  # whatever is installed, this checkout is imported
            command = [sys.executable, str(self.folder / "cli.py"), "-i", str(IMAGE), *words, *QUIET]
            command += ["-o", f"{out}/results", "--snapshot-dir", f"{out}/snapshots"]
            started = time.perf_counter()
            done = subprocess.run(
                command, env=os.environ | {"PYTHONPATH": out}, capture_output=True, text=True, check=False
            )
            whole = time.perf_counter() - started
            if done.returncode not in (0, 1):  # 1: there was nothing more to learn
                raise Failed(f"{self.name}: status {done.returncode}: {done.stderr.strip()[-500:]}")
            (table,) = Path(out).glob("results/*/metrics.csv")
            with table.open() as file:
                epochs = [float(row["seconds"]) for row in csv.DictReader(file)]
        return whole, statistics.median(epochs[len(epochs) // 10 :])

    def measure(self, words: Sequence[str]) -> None:
        """Adds a turn. Raises Failed."""
        whole, epoch = self.run(words)
        self.whole.append(whole)
        self.epochs.append(epoch)


@contextmanager
def checked_out(revision: str) -> Iterator[Path]:
    """A folder with a revision, removed in the end. Raises Failed where git knows no such revision."""

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)

    with tempfile.TemporaryDirectory(prefix="benches-") as place:
        folder = Path(place) / "base"
        done = git("worktree", "add", "--detach", str(folder), revision)
        if done.returncode:
            raise Failed(f"--base was {revision!r}: {done.stderr.strip().splitlines()[-1]}")
        try:
            yield folder
        finally:
            git("worktree", "remove", "--force", str(folder))


def main(words: Sequence[str] | None = None) -> int:
    """Prints Markdown; exit status 1 if something became slower, 2 for what cannot be measured."""
    reader = argparse.ArgumentParser("python -m benches", description=__doc__)
    reader.add_argument("--base", required=True, metavar="REVISION", help="what git knows: main, HEAD~3, a tag")
    reader.add_argument("--turns", type=int, default=7, help="runs of each side (default %(default)s)")
    reader.add_argument("flags", nargs="*", help="one run's flags, in place of the cases")
    chosen = reader.parse_args(words)
    if chosen.turns < 1:
        reader.error(f"--turns was {chosen.turns}: give at least 1")
    cases = {" ".join(chosen.flags): chosen.flags} if chosen.flags else CASES
    slower = False
    try:
        with checked_out(chosen.base) as folder:
            print(
                f"| {chosen.turns} turns each | | {chosen.base} | this checkout | ratio | |\n|---|---|---|---|---|---|"
            )
            for title, flags in cases.items():
                sides = Side(chosen.base, folder), Side("this checkout", ROOT)
                for side in sides:
                    side.run(flags)  # compiles what it needs
                for _ in tqdm(range(chosen.turns), title, leave=False, disable=None):
                    for side in sides:
                        side.measure(flags)
                slower |= _told(title, *sides)
    except Failed as failure:
        print(f"benches: {failure}", file=sys.stderr)
        return 2
    return int(slower)


def _told(title: str, base: Side, here: Side) -> bool:
    """Prints a case's two rows; says whether one of them became slower."""
    slower = False
    for name, before, after in (("command", base.whole, here.whole), ("epoch", base.epochs, here.epochs)):
        found = verdict(before, after)
        medians = (seconds(statistics.median(values)) for values in (before, after))
        print(f"| {title} | {name} | {' | '.join(medians)} | {found.ratio:.2f} | {found.word} |", flush=True)
        slower |= found.word == SLOWER
    return slower


if __name__ == "__main__":
    sys.exit(main())
