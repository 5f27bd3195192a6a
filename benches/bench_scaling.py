"""How times grow with points, batch, width, depth, bins and the image's side, and shrink with threads."""

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest
import torch

from benches.bench_pictures import folder
from benches.bench_training import epoch, step
from benches.conftest import Entry
from benches.contenders import ORIGINAL, Original, Ours
from benches.entries import entries
from benches.job import Job
from benches.method import Variant
from benches.suite import Group, Make, Suite
from draw_poly.engine.pictures.drawing import AdaptiveRasterizer
from draw_poly.engine.pictures.select import rasterizer_for

NAMES: tuple[str, ...] = (ORIGINAL, "eager", "cpu", "triton")
CORES = os.cpu_count() or 1
SIZES: dict[str, Sequence[int]] = {
    "points": (1250, 5000, 20000, 80000),
    "batch": (128, 1024, 8192, 65536),
    "width": (4, 16, 64, 256),
    "depth": (2, 8, 32, 96),
    "bins": (16, 64, 256, 1024),
    "side": (512, 1024, 2048, 4096, 8192),
    "threads": sorted({1, 2, CORES // 2, CORES} & set(range(1, CORES + 1))),
}
# What draws evaluates where a boundary may pass; it is held against itself, made to evaluate every pixel.
EVERY_PIXEL = ", every pixel"
DRAWING = ("cpu", "cpu" + EVERY_PIXEL)
DRAWING_TOO, LARGEST = (ORIGINAL, "eager", "eager" + EVERY_PIXEL, "triton"), 2048
# Enough work for every thread.
THREADED = Job(batch=8192, points=8192)
# Shown in the quick mode, too, which has no time for all.
QUICK = {("points", 1250), ("width", 4), ("side", 512)}


def job(axis: str, size: int) -> Job:
    """The main job, but for one size."""
    if axis == "width":
        return Job(shape=f"[{size}]*8")
    if axis == "depth":
        return Job(shape=f"[10]*{size}")
    if axis == "batch":
        return Job(batch=size, points=max(5000, size))
    if axis == "side":
        return Job(side=size, trained=500)
    if axis == "threads":
        return THREADED
    return Job(points=size) if axis == "points" else Job(bins=size)


def drawing(suite: Suite, job: Job, name: str) -> Variant:
    """A frame drawn, not encoded; the original's without its file."""
    made = suite.contender(job, name.removesuffix(EVERY_PIXEL))
    width, height = job.picture.width, job.picture.height
    if isinstance(made, Original):
        path, pixels = folder(suite) / "frame.png", job.picture.pixels
        return Variant(lambda: made.baseline.frame(pixels, path), made.threads)
    assert isinstance(made, Ours)
    kind = partial(AdaptiveRasterizer, tile=1) if name.endswith(EVERY_PIXEL) else rasterizer_for
    rasterizer, notes = kind(made.backend, width, height, job.config.chunk_size), dict[str, int]()

    def draw() -> None:
        with torch.inference_mode():
            notes["evaluations"] = rasterizer.draw().evaluations

    return Variant(draw, made.threads, notes=notes)


def on_threads(suite: Suite, job: Job, name: str, threads: int) -> Variant:
    """Steps on so many threads, whatever the engine would give them."""
    return replace(step(suite, job, name), threads=threads)


def group(axis: str, size: int) -> Group:
    """The contenders at one size."""
    one = job(axis, size)
    info, quick = {"axis": axis, "size": size}, (axis, size) in QUICK
    title = f"{axis} {size}"
    if axis == "points":
        return Group(
            f"epoch, {title}", one, NAMES, epoch, flops=one.epoch_operations, turns=0.3, quick=quick, info=info
        )
    if axis == "side":
        work = one.forward_operations(size * size)
        names: tuple[str, ...] = DRAWING if size > LARGEST else (*DRAWING_TOO, *DRAWING)
        return Group(f"drawing, {title}", one, names, drawing, flops=work, turns=0.3, quick=quick, info=info)
    make: Make = partial(on_threads, threads=size) if axis == "threads" else step
    # JAX compiles each size anew, which takes seconds.
    names = (*NAMES, "JAX") if axis == "batch" else NAMES
    return Group(f"step, {title}", one, names, make, flops=one.step_operations, turns=0.3, quick=quick, info=info)


GROUPS = [group(axis, size) for axis, sizes in SIZES.items() for size in sizes]


@pytest.mark.parametrize(("group", "name"), entries(GROUPS))
def bench_scaling(entry: Entry, group: Group, name: str) -> None:
    """A contender's turns."""
    entry(group, name)
