"""An epoch of the main job against the original's way of working, interleaved in one run.

    python -m benches.epoch                      # about a minute; a table on standard output
    python -m benches.epoch --json epoch.json    # the figures too

Variants take turns, so that a drift of the machine's speed meets them all; a ratio is the median of the ratios of
turns. Compile time and the first epoch are warm-up, and reported apart. Before it is timed, each variant must reach the
baseline's loss.
"""

import argparse
import json
import math
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benches.baseline import Baseline, Module, Predictor
from engine import backend, image, kolmogorov, network
from engine.backends.plain import Compile, Eager, Stepwise
from engine.begin import fresh_state
from engine.config import Config
from engine.state import State
from engine.trainer import Epoch, Trainer

IMAGE = Path(__file__).parent / "images" / "moon.png"
WANTED = {"epoch": {"eager": 15, "compile": 20}, "kolmogorov": {"compile": 10}}
THREADS = torch.get_num_threads()
BACKENDS = {"eager": Eager, "compile": Compile}


class Job:
    """The same draws for every variant: image, split, parameters, predictor."""

    def __init__(self, bins: int | None) -> None:
        words: dict[str, Any] = (
            {"kolmogorov_shape": "[8, 8]", "kolmogorov_weight": 0.05, "kolmogorov_bins": bins} if bins else {}
        )
        self.config = Config(str(IMAGE), "[10]*8", 1, seed=1, **words)
        self.picture = image.load(str(IMAGE))
        self.split = image.split(self.picture, self.config.points, self.config.batch_size, np.random.RandomState(1))
        self.training = image.samples(self.picture, self.split.training)
        self.validation = image.samples(self.picture, self.split.validation)

    def state(self) -> State:
        """A fresh state."""
        return fresh_state(self.config, torch.Generator().manual_seed(1))

    def baseline(self) -> Baseline:
        """The original's way of working on a fresh state."""
        state, code = self.state(), self.config.code_length
        main = state.main
        named = network.named_views(main.parameters, main.network, network.network_names(main.network))
        module = Module(main.network, named, list(state.coefficients.split(main.network.dims[1:-1])))
        predictor = None
        if code and state.predictor:
            named = network.named_views(
                state.predictor.parameters, code.predictor, network.predictor_names(code.predictor)
            )
            predictor = Predictor(code, kolmogorov.positions(main.network).t().contiguous(), named)
        weight = code.weight if code else 0.0
        return Baseline(module, predictor, weight, self.training, self.validation, self.config.batch_size)

    def ours(self, name: str) -> tuple[Stepwise, Trainer]:
        """A backend and its trainer on a fresh state."""
        made = BACKENDS[name](self.state(), self.config)
        return made, Trainer(made, self.training, self.validation, self.config.batch_size)


def machine() -> str:
    """The processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def timed(work: Callable[[], object]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def as_run(job: Job, work: Callable[[], object]) -> Callable[[], object]:
    """The work with the threads that a run of ours takes for a step of this size."""
    config = job.config
    threads = backend.training_threads(config.network, config.code_length, config.batch_size, THREADS)

    def wrapped() -> None:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            work()
        torch.set_num_threads(THREADS)

    return wrapped


def interleave(variants: dict[str, Callable[[], object]], turns: int) -> dict[str, list[float]]:
    """Seconds of each variant in each turn; a variant before its turn runs once unmeasured."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(turns):
        for name, work in variants.items():
            times[name].append(timed(work))
    return times


def many(trainer: Trainer, count: int, results: list[Epoch]) -> None:
    """That many epochs."""
    results.extend(trainer.epoch() for _ in range(count))


def epochs(bins: int | None, turns: int) -> dict[str, object]:
    """Epochs without a frame."""
    job = Job(bins)
    baseline = job.baseline()
    check = [baseline.epoch()[1] for _ in range(10)][-1]
    variants: dict[str, Callable[[], object]] = {"original": baseline.epoch}
    compile_seconds = {}
    for name in BACKENDS:
        _, trainer = job.ours(name)
        compile_seconds[name] = timed(as_run(job, trainer.epoch))
        results: list[Epoch] = []
        as_run(job, partial(many, trainer, 9, results))()
        # Other orders of points, so not the same loss; a wrong gradient is far off.
        if not math.isclose(results[-1].validation, check, rel_tol=0.25):
            sys.exit(
                f"{name} reached {results[-1].validation}, the original's way {check}: no figure for a wrong answer"
            )
        # Ten at a time: one epoch of ours is as short as the clock's own jitter.
        variants[name] = as_run(job, partial(many, trainer, 10, results))
    times = interleave(variants, turns)
    for name in BACKENDS:
        times[name] = [value / 10 for value in times[name]]
    return {"times": times, "first_epoch_seconds": compile_seconds}


def start_up() -> float:
    """Seconds from the command to the first epoch's line."""
    import subprocess

    with tempfile.TemporaryDirectory() as folder:
        words = ["-i", str(IMAGE), "-s", "[10]*8", "-e", "1", "--seed", "1", "-o", folder, "--snapshot-dir", folder]
        command = [sys.executable, str(Path(__file__).parents[1] / "cli.py"), *words]
        started = time.perf_counter()
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
            assert running.stderr
            seconds = next(time.perf_counter() - started for line in running.stderr if "Epoch 1/" in line)
            running.communicate()
    return seconds


def main() -> None:
    """Measures, prints a table, and writes JSON if asked to."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--turns", type=int, default=15, help="measured turns of each variant (default 15)")
    reader.add_argument("--json", type=Path, help="write the figures here")
    chosen = reader.parse_args()
    print(f"{machine()}, {THREADS} threads, torch {torch.__version__}")
    results = {
        "epoch": epochs(None, chosen.turns),
        "kolmogorov": epochs(256, chosen.turns),
    }
    print(f"\n{'what':12} {'variant':14} {'median ms':>10} {'min':>8} {'max':>8} {'faster':>8} {'wanted':>7}")
    for what, result in results.items():
        times = result["times"]
        assert isinstance(times, dict)
        for name, values in times.items():
            ratio = statistics.median(a / b for a, b in zip(times["original"], values, strict=True))
            wanted = WANTED[what].get(name, "")
            milliseconds = [1e3 * value for value in values]
            print(
                f"{what:12} {name:14} {statistics.median(milliseconds):10.2f} {min(milliseconds):8.2f} "
                f"{max(milliseconds):8.2f} {ratio:7.1f}x {wanted:>7}"
            )
    for what in ("epoch", "kolmogorov"):
        print(f"first epoch with compilation, {what}:", results[what]["first_epoch_seconds"])
    starts = sorted(start_up() for _ in range(3))
    print(f"start to first epoch, eager: {starts[1]:.2f} s (of {starts})")
    if chosen.json:
        content = {"machine": machine(), "threads": THREADS, "torch": torch.__version__}
        chosen.json.write_text(json.dumps({**content, "results": results, "start_up_seconds": starts}, indent=1) + "\n")


if __name__ == "__main__":
    main()
