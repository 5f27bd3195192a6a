"""An epoch, host and all: by the engine alone and by the command line; its wall time, and the device's share of it."""

import csv
import json
import statistics
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from benches.contenders import Ours, check
from benches.gpu import device as devices
from benches.gpu import tool
from benches.gpu.cases import Case
from benches.gpu.course import Bench
from benches.job import Job
from benches.method import Variant, Work, measure
from draw_poly.engine.backends.base import Data, never
from draw_poly.engine.backends.triton import Triton
from draw_poly.engine.model.state import Snapshot
from draw_poly.engine.training.trainer import Launched
from draw_poly.engine.training.watch import Watch

# Epochs of a visit; the profiler sees so many of them.
VISIT, TURNS, PROFILED = 64, 10, 3
# Epochs a second of the main job that were predicted for an H100, without dependent launches and with them.
PREDICTED = 20_000, 33_000
# Epochs of a run on the command line, and those that warm it up.
EPOCHS, WARM = 30_000, 3000


class Run(Ours):
    """The engine's visits with what a run does between two, while the next one is on its way."""

    def __init__(self, job: Job, available: int, name: str = "triton") -> None:
        super().__init__(job, available, name)
        self._watch, self._snapshot = Watch(), Snapshot(self.backend.state)
        self._ahead: Launched | None = None

    def epoch(self) -> tuple[float, float]:
        """See `Contender.epoch`."""
        return self._visit(1)

    def visit(self) -> None:
        """So many epochs as a run takes at once."""
        self._visit(VISIT)

    def _visit(self, count: int) -> tuple[float, float]:
        with torch.inference_mode():
            launched = self._ahead or self.trainer.launch(never, count, count)
            self._snapshot.take()
            self._ahead = self.trainer.launch(never, count, count) if self.trainer.runs_ahead else None
            epochs = launched.read()
            self._snapshot.keep()
            self._watch.epochs(epochs)
        return epochs[-1].task, epochs[-1].validation


def job(small: bool, device: torch.device, bins: int | None = None) -> Job:
    """The main job, or a small one."""
    if small:
        return Job("[5]*2", 40, 32, bins and 11, 32, device=str(device))
    return Job(bins=bins, device=str(device))


def ahead(one: Job, name: str = "triton") -> Run:
    """A run of a job."""
    return Run(one, torch.get_num_threads(), name)


JOBS = {"main": None, "with the term": 256}


def cases(small: bool) -> dict[str, Case]:
    """What compiles the kernels of each job's epoch."""
    return {name: Case(partial(_launched, small, bins), 1) for name, bins in JOBS.items()}


def _launched(small: bool, bins: int | None, device: torch.device) -> Work:
    one = job(small, device, bins)
    made = Triton(one.state().to(device), one.config)
    ours, others = (torch.cat(points)[None].to(device) for points in (one.training, one.validation))
    data = Data(ours, others, one.batch)
    return lambda: made.visit(data, np.arange(one.points)[None, None], never)


def work(bench: Bench) -> None:
    """Each job's epochs, checked before they are timed; then a run's on the command line."""
    runs: dict[str, Run] = {}
    for name, bins in JOBS.items():
        made = ahead(job(bench.small, bench.device, bins))
        bench.note(**{f"loss error {name}": check(made)})
        runs[name] = made
    turns = 1 if bench.small else TURNS
    timings = measure({name: Variant(made.visit, made.threads, VISIT) for name, made in runs.items()}, turns)
    found = {
        name: {"wall": 1e6 * one.median, "rounds": [1e6 * time for time in one.rounds]} for name, one in timings.items()
    }
    bench.note(microseconds=found)
    for name, made in runs.items():
        try:
            device = busy(bench.device, made.visit, PROFILED)
            found[name] |= {"device": None if device is None else device / VISIT}
        except Exception as error:  # a profiler that is not to be had takes nothing but its own figure away
            bench.wrong(f"the device's busy time {name} cannot be had: {type(error).__name__}: {error}")
        bench.note(microseconds=found)
    _by_the_command_line(bench, found)


def busy(device: torch.device, work: Work, calls: int) -> float | None:
    """Microseconds of a call in which the device has something in work; None where there is no device to watch."""
    if device.type != "cuda":
        return None
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
        for _ in range(calls):
            work()
        devices.wait(device)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        return covered(json.loads(path.read_text())["traceEvents"]) / calls


def covered(events: list[dict[str, Any]]) -> float:
    """Microseconds in which at least one kernel, copy or fill was in work. Raises RuntimeError where there is none."""
    kinds = {"kernel", "gpu_memcpy", "gpu_memset"}
    spans = sorted((one["ts"], one["ts"] + one["dur"]) for one in events if one.get("cat") in kinds)
    if not spans:
        raise RuntimeError("the profiler saw nothing that the device did")
    total, end = 0.0, float("-inf")
    for start, stop in spans:
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total


def _by_the_command_line(bench: Bench, alone: dict[str, dict[str, Any]]) -> None:
    """Wall time of an epoch by what the run itself notes, and how much of it the device works."""
    from benches.gpu.command_line import command, term

    epochs, warm = (2, 1) if bench.small else (EPOCHS, WARM)
    words = ["-e", str(epochs), "--save-interval", str(10 * epochs), *devices.words(bench.device)]
    found: dict[str, Any] = {}
    runs: dict[str, list[str]] = {"main": []} if bench.small else {"main": [], "with the term": term(bench)}
    for name, more in runs.items():
        with TemporaryDirectory() as folder:
            (said,) = tool.together({"": command(bench, Path(folder), [*words, *more])}, bench.left - 5).values()
            if said.status != 0:
                bench.wrong(f"the command line, {name}: {said.ending}, {said.tail(2)}")
                continue
            (metrics,) = Path(folder).rglob("metrics.csv")
            with metrics.open(newline="") as file:
                seconds = [float(row["seconds"]) for row in csv.DictReader(file)]
        wall = 1e6 * statistics.mean(seconds[warm:])
        device = alone[name].get("device")
        found[name] = {
            "wall": wall,
            "median": 1e6 * statistics.median(seconds[warm:]),
            "whole run, seconds": said.seconds,
            "epochs a second": 1e6 / wall,
        }
        found[name] |= {"epochs a second, predicted for an H100": PREDICTED} if name == "main" else {}
        found[name] |= {"device's share": device / wall} if device else {}
        bench.note(**{"command line, microseconds": found})
