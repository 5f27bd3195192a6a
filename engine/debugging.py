"""What `--debug` tells a person who looks for a fault; nothing of it is found out without the flag."""

import importlib.metadata
import os
import platform
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np
import torch

from draw_poly import engine
from draw_poly.engine.backends import select as backend
from draw_poly.engine.backends.base import Backend
from draw_poly.engine.config import Config
from draw_poly.engine.data.contrast import histogram
from draw_poly.engine.data.image import Picture, Split
from draw_poly.engine.prepare import memory
from draw_poly.engine.processes import Group
from draw_poly.engine.record.journal import log
from draw_poly.kernels.support import unsupported_on_cpu, unsupported_on_gpu

PACKAGES = ("torch", "numpy", "numba", "triton", "pillow", "scipy", "matplotlib", "av", "isal", "tqdm")
# What changes how these packages work begins with one of these.
VARIABLES = (
    "CUDA_", "GOMP_", "KMP_", "LC_", "LANG", "MKL_", "MPL", "NCCL_", "NUMBA_", "OMP_", "OPENBLAS_", "PYTHON", "TORCH",
    "TRITON_",
)  # fmt: skip
NOTHING = nullcontext()


def tell(lines: Iterable[str]) -> None:
    """Logs lines."""
    for line in lines:
        log.debug("%s", line)


def machine() -> Iterator[str]:
    """Versions, threads, memory, and what the environment sets."""
    versions = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    yield f"Versions: draw-poly {engine.__version__}, Python {platform.python_version()}, {versions}"
    yield f"Machine: {platform.platform()}"
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield f"Threads: {torch.get_num_threads()} of torch, on {allowed} of {os.cpu_count()} processors"
    if total := memory.total_memory():
        yield f"Memory: {total / 2**30:.1f} GiB"
    given = [f"{name}={value!r}" for name, value in sorted(os.environ.items()) if name.startswith(VARIABLES)]
    yield f"Environment: {', '.join(given) or 'nothing that matters is set'}"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "is not installed"


def backends(config: Config, device: torch.device, chosen: type[Backend], why: str) -> Iterator[str]:
    """The device, and why each backend but the one that was chosen, for a reason, was left aside."""
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        yield f"Device: {found.name}, {found.total_memory / 2**30:.1f} GiB, {found.multi_processor_count} processors"
    limits = {
        "cpu": unsupported_on_cpu(config.network, config.kolmogorov_term, device),
        "triton": unsupported_on_gpu(config.network, config.kolmogorov_term, device),
        "compile": backend.missing_compiler(device),
        "eager": None,
    }
    for name, limit in limits.items():
        if name == chosen.name:
            continue
        said = f"it cannot run here, since {limit}" if limit else f"{chosen.name} was chosen, {why}"
        yield f"Backend {name} is left aside: {said}"


def picture(found: Picture, split: Split) -> Iterator[str]:
    """What was found in the image, and which of its points are used."""
    values = found.pixels
    what = "gray values" if values.ndim == 2 else "levels"
    levels = np.count_nonzero(histogram(values.reshape(found.height, -1)))
    yield (
        f"Image: {found.kind or 'of no file'}, {found.width} x {found.height} pixels, {what} from {values.min()} "
        f"to {values.max()}, mean {values.mean():.1f}, {levels} different, SHA-256 {found.digest}"
    )
    counts = split.training.numel(), split.validation.numel()
    yield f"Points: {counts[0]} train, {counts[1]} validate, {found.size - sum(counts)} of the image are not used"


def work(config: Config, split: Split, size: tuple[int, int], made: Backend, group: Group) -> Iterator[str]:
    """What a batch, a visit of the points and a chunk are; panels are of `size` (width, height)."""
    points = split.training.numel()
    batch = min(config.batch_size, points)
    steps, widths = -(-points // batch), config.network.dims
    last = points - (steps - 1) * batch
    shared = "" if group.size == 1 else f", shared by {group.size} processes"
    yield (
        f"Batch: {batch} points a step{shared}: inputs ({widths[0]}, {batch}), targets "
        f"({config.network.targets}, {batch}), "
        f"activations of {_bytes(4 * batch * sum(widths[1:]))}, float32"
    )
    yield f"Visit: an epoch visits each training point once, in a fresh order: {steps} steps, the last of {last} points"
    pixels = size[0] * size[1]
    ways = {
        "points": f"at points where a boundary may pass, at most {config.chunk_size} at once",
        "grid": f"at every pixel, at most {config.chunk_size} at once",
        "picture": "where a boundary may pass, a block of pixels at once on each thread; --chunk-size bounds nothing",
    }
    yield f"Chunk: a frame of {size[0]} x {size[1]} = {pixels} pixels is evaluated {ways[made.drawn_by]}"
    learners = [("network", made.state.main)]
    learners += [("predictor", made.state.predictor)] if made.state.predictor else []
    for name, one in learners:
        layers, optimizer = "-".join(map(str, one.network.dims)), one.optimizer
        yield (
            f"Parameters of the {name}: {one.network.size} in layers {layers}, {optimizer.kind} with "
            f"{optimizer.moments} moments, learning rate {optimizer.learning_rate:g}, {one.steps} steps taken"
        )
    yield f"Threads: {torch.get_num_threads()} of torch while training on {made.device}"


def _bytes(count: int) -> str:
    return f"{count / 2**10:.1f} KiB" if count < 2**20 else f"{count / 2**20:.1f} MiB"


class Phases:
    """How long the phases of a run take, each a `with phases(name):`; times nothing unless `timed`.

    What a phase within another takes counts for the inner one alone.
    """

    def __init__(self, timed: bool) -> None:
        self._timed, self._began = timed, time.perf_counter() if timed else 0.0
        self._spent: dict[str, tuple[float, int]] = {}
        self._within = [0.0]  # what inner phases took, of each phase that is open

    def __call__(self, name: str) -> AbstractContextManager[None]:
        """What is within is of this phase."""
        return self._measured(name) if self._timed else NOTHING

    @contextmanager
    def _measured(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        self._within.append(0.0)
        try:
            yield
        finally:
            whole = time.perf_counter() - started
            own = whole - self._within.pop()
            self._within[-1] += whole
            seconds, times = self._spent.get(name, (0.0, 0))
            self._spent[name] = seconds + own, times + 1

    def told(self) -> Iterator[str]:
        """The time of each phase up to now, and of what is in none."""
        if not self._timed:
            return
        whole = time.perf_counter() - self._began
        for name, (seconds, times) in self._spent.items():
            yield f"Phase {name}: {seconds:.3f} s in {times}, {1000 * seconds / times:.3f} ms each"
        yield f"Phases: {whole:.3f} s in all, {whole - self._within[0]:.3f} s of it in none of them"
