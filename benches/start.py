"""A peer's start, to be timed from outside: `python -m benches.start NAME` trains one epoch and says so."""

import sys
import tempfile
from pathlib import Path

import torch

from benches.contenders import ENTRIES, Original
from benches.job import Job


def main(name: str) -> None:
    """Builds a contender, trains an epoch, draws a frame where the original would, and reports."""
    job = Job()
    made = ENTRIES[name].build(job, torch.get_num_threads())
    torch.set_num_threads(made.threads)
    loss, error = made.epoch()
    if isinstance(made, Original):
        with tempfile.TemporaryDirectory() as place:
            made.baseline.frame(job.picture.pixels, Path(place) / "frame.png")
    print(f"Epoch 1/1 - {loss:.6f}, {error:.6f}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
