"""How everything here is measured: contenders in turns, medians and spread, the machine's own limit beside them.

A drift of the machine's speed meets all contenders of a group alike, since they take turns, each turn beginning with
another one; a ratio of two is the median of the ratios of turns. The first call is compilation and warm-up, and
told apart. A turn lasts long enough for the clock's jitter to vanish, and begins after a rest: OpenMP's threads keep
their cores busy for some milliseconds after their work, which would be charged to whoever comes next. Work on a GPU is
timed by its own events while a graph of many calls is replayed, without rests, which would let its clocks sink; or by
the host around whole epochs, synchronised.
Needs torch and nothing else.
"""

import gc
import importlib.metadata
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

Work = Callable[[], object]

ROOT = Path(__file__).parents[1]
# Seconds of a turn: a thousand times what the clock and a wakened thread are off by.
SHORTEST_TURN = 0.02
# Seconds before a turn: libgomp's threads spin for about 0.004 after their last work, those of others for longer.
REST = 0.05
PACKAGES = ("torch", "numpy", "numba", "triton", "jax", "jaxlib", "av", "pytest-benchmark")


@dataclass(frozen=True)
class Variant:
    """Work to time: one call does `share` units; `threads` is torch's number of them, None leaves it as it is.

    `calls` a turn are chosen by how long one takes, unless given. With `graph`, a GPU's are captured and replayed.
    What else the work finds out it writes into `notes`.
    """

    work: Work
    threads: int | None = None
    share: int = 1
    calls: int | None = None
    graph: bool = False
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Timing:
    """Seconds of a unit in each turn, and of the first call."""

    rounds: list[float]
    first: float
    calls: int
    threads: int

    @property
    def median(self) -> float:
        """Of the rounds."""
        return statistics.median(self.rounds)


def measure(
    variants: Mapping[str, Variant], turns: int, shortest: float = SHORTEST_TURN, failed: dict[str, str] | None = None
) -> dict[str, Timing]:
    """Times variants in turns; leaves torch's number of threads as it was.

    With `failed`, a variant that cannot be made ready is named there with the reason, and the others are timed.
    """
    threads = torch.get_num_threads()
    try:
        ready: dict[str, Ready] = {}
        for name, variant in variants.items():
            try:
                ready[name] = _prepare(variant, threads, shortest)
            except Exception as error:
                if failed is None:
                    raise
                failed[name] = f"{type(error).__name__}: {error}"[:500]
        rounds: dict[str, list[float]] = {name: [] for name in ready}
        names = list(ready)
        gc.collect()
        gc.disable()
        for turn in range(turns):
            start = turn % max(len(names), 1)
            for name in names[start:] + names[:start]:
                one = ready[name]
                torch.set_num_threads(one.threads)
                if not one.replayed:
                    time.sleep(REST)
                    if one.calls > 1:  # wakes this one's own threads
                        variants[name].work()
                rounds[name].append(one.clock() / (one.calls * variants[name].share))
    finally:
        gc.enable()
        torch.set_num_threads(threads)
    return {name: Timing(rounds[name], one.first, one.calls, one.threads) for name, one in ready.items()}


@dataclass(frozen=True)
class Ready:
    """What tells the seconds of a turn, and those of the first call; whether a turn is a graph's replay."""

    clock: Callable[[], float]
    first: float
    calls: int
    threads: int
    replayed: bool


def _prepare(variant: Variant, threads: int, shortest: float) -> Ready:
    own = variant.threads or threads
    torch.set_num_threads(own)
    first = _by_host(variant.work, 1)
    calls = variant.calls
    if calls is None:
        again = _by_host(variant.work, 1)
        calls = max(1, math.ceil(shortest / max(again, 1e-9)))
        # A call that is far shorter than a turn is told apart from the clock by many.
        if calls > 10:
            calls = max(1, math.ceil(shortest / max(_by_host(variant.work, 10) / 10, 1e-9)))
    if variant.graph and torch.cuda.is_available():
        return Ready(by_graph(variant.work, calls), first, calls, own, True)
    return Ready(lambda: _by_host(variant.work, calls), first, calls, own, False)


def _by_host(work: Work, calls: int) -> float:
    """Seconds of so many calls by the host's clock."""
    started = time.perf_counter()
    for _ in range(calls):
        work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def by_graph(work: Work, calls: int) -> Callable[[], float]:
    """Captures calls in a CUDA graph; what is returned replays it and tells the seconds by the device's events."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        for _ in range(calls):
            work()
    graph.replay()

    def replayed() -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        return 1e-3 * float(start.elapsed_time(end))

    return replayed


@dataclass(frozen=True)
class Rates:
    """What the machine can do: multiply-adds of a large float32 product, counted as two, and bytes copied, a second."""

    flops: float
    bytes: float

    def least(self, flops: float, moved: float) -> float:
        """The least seconds that so many operations and bytes moved can take here."""
        return max(flops / self.flops, moved / self.bytes)


class Limit:
    """The machine's own limit as two variants, to take turns with what is measured against it."""

    PRODUCT, COPY = "float32 product", "copy"

    def __init__(self, device: torch.device, small: bool = False) -> None:
        self._side, self._count = (8192, 2**28) if device.type == "cuda" else (1024, 2**24)
        if small:  # a rehearsal's rates mean nothing
            self._side, self._count = 16, 2**8
        self._square = torch.rand((self._side, self._side), device=device)
        self._result = torch.empty_like(self._square)
        self._source = torch.rand(self._count, device=device)
        self._target = torch.empty_like(self._source)

    def variants(self) -> dict[str, Variant]:
        """To be measured on all of torch's threads."""
        return {
            self.PRODUCT: Variant(lambda: torch.mm(self._square, self._square, out=self._result), graph=True),
            self.COPY: Variant(lambda: self._target.copy_(self._source), graph=True),
        }

    def rates(self, timings: Mapping[str, Timing]) -> Rates:
        """From the timings of the variants."""
        return Rates(2 * self._side**3 / timings[self.PRODUCT].median, 8 * self._count / timings[self.COPY].median)


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """The first and the third: between them lies half of the values."""
    if len(values) < 2:
        return values[0], values[0]
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, third


def ratio(slower: Sequence[float], faster: Sequence[float]) -> float:
    """How many times faster one contender was, by the median over turns that both took."""
    return statistics.median(a / b for a, b in zip(slower, faster, strict=True))


def growth(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The exponent with which values grow with sizes: the slope of a line through their logarithms."""
    return statistics.linear_regression([math.log(size) for size in sizes], [math.log(value) for value in values]).slope


def provenance(device: torch.device) -> dict[str, Any]:
    """What was measured, and on what: machine, threads, versions, commit, time."""
    status = _git("status", "--porcelain", "--untracked-files=no")
    found: dict[str, Any] = {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
        "commit": (_git("rev-parse", "--short=12", "HEAD") or "unknown") + (", changed" if status else ""),
        "time": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "device": "cpu",
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {"device": properties.name, "multiprocessors": properties.multi_processor_count}
        found |= {"capability": list(torch.cuda.get_device_capability(device)), "clocks": clocks()}
    return found


def processor() -> str:
    """The processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def clocks() -> str:
    """The GPU's clocks, temperature, power and driver as its own tool tells them at this moment."""
    asked = "--query-gpu=clocks.sm,clocks.mem,temperature.gpu,power.draw,driver_version"
    try:
        said = subprocess.run(
            ["nvidia-smi", asked, "--format=csv,noheader"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return "unknown"
    return said.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(*words: str) -> str:
    try:
        said = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return said.stdout.strip()
