"""Each kernel alone, beside its reference: gradient with and without the Kolmogorov term, updates, evaluation, drawing.

A batch of the README's main job and of a large one: the first is what launches cost, the second what arithmetic does.
"""

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benches.bench_training import EVALUATED
from benches.conftest import Entry
from benches.entries import entries
from benches.job import Job
from benches.method import Variant
from benches.suite import Absent, Group, Make, Suite
from draw_poly.engine.model import kolmogorov
from draw_poly.kernels.spec import OPTIMIZERS, Optimizer
from draw_poly.kernels.support import unsupported_on_gpu

# By the contender that trains with them.
PACKAGES = {"eager": "reference", "cpu": "cpu", "triton": "gpu"}
NAMES = tuple(PACKAGES)
LARGE = 2**16
SHARE = 0.3  # of a run's turns


@dataclass(frozen=True)
class Work:
    """A package of kernels, and tensors on its device to call them with."""

    package: Any
    workspace: Any
    parameters: list[Tensor]
    positions: Tensor | None
    inputs: Tensor
    targets: Tensor

    @staticmethod
    def of(suite: Suite, job: Job, name: str, points: int) -> "Work":
        """A batch of so many points, its gradient taken once. Raises Absent."""
        config, on_gpu = job.config, suite.device.type == "cuda"
        if name == "cpu" and on_gpu:
            raise Absent("it needs a CPU")
        if name == "triton" and (reason := unsupported_on_gpu(config.network, config.kolmogorov_term, suite.device)):
            raise Absent(reason)
        package = importlib.import_module(f"draw_poly.kernels.{PACKAGES[name]}")
        state, term = job.state().to(suite.device), config.kolmogorov_term
        generator = torch.Generator().manual_seed(points)
        inputs, targets = (torch.rand((1, rows, points), generator=generator).to(suite.device) for rows in (2, 1))
        positions = kolmogorov.positions(config.network).to(suite.device) if term else None
        workspace = package.Workspace(config.network, term, points, suite.device)
        made = Work(package, workspace, [one.parameters for one in state.learners], positions, inputs, targets)
        made.gradient()
        return made

    def gradient(self) -> None:
        """A batch's losses and gradients."""
        self.package.gradient(self.workspace, self.parameters, self.positions, self.inputs, self.targets)


def gradient(points: int) -> Make:
    """The gradient of a batch."""

    def make(suite: Suite, job: Job, name: str) -> Variant:
        return Variant(Work.of(suite, job, name, points).gradient, suite.threads)

    return make


def update(kind: str) -> Make:
    """The sums of partial gradients and the optimiser's step."""

    def make(suite: Suite, job: Job, name: str) -> Variant:
        work = Work.of(suite, job, name, job.batch)
        optimizer = Optimizer(kind, 1e-9)
        moments = [torch.zeros((1, optimizer.moments, one.shape[1]), device=suite.device) for one in work.parameters]
        scalars = torch.tensor([[*optimizer.scalars(1)] * len(moments)], device=suite.device)
        losses = torch.empty((1, len(moments)), device=suite.device)
        call = work.package.update

        def run() -> None:
            call(work.workspace, [optimizer] * len(moments), work.parameters, moments, scalars, losses)

        return Variant(run, suite.threads)

    return make


def evaluation(suite: Suite, job: Job, name: str) -> Variant:
    """Outputs and signatures of a picture's pixels, whose coordinates are computed."""
    work, side = Work.of(suite, job, name, job.batch), 1024
    coefficients = job.state().coefficients.to(suite.device)
    outputs = torch.empty((1, 1, side, side), device=suite.device)
    signatures = torch.empty((1, side, side), dtype=torch.int64, device=suite.device)
    words: tuple[Any, ...] = (
        job.config.network,
        work.parameters[0],
        coefficients,
        (side, side),
        0,
        outputs,
        signatures,
    )

    def run() -> None:
        work.package.evaluate_grid(*words)

    return Variant(run, suite.threads)


def painting(suite: Suite, job: Job, name: str) -> Variant:
    """The CPU's picture: evaluated where a boundary passes, and painted."""
    if suite.device.type != "cpu":
        raise Absent("it needs a CPU")
    from draw_poly.kernels.cpu import Rasterizer

    state, side = job.state(), job.side
    rasterizer = Rasterizer(job.config.network, state.coefficients[0], side, side)
    gray, edges, none = np.empty((side, side), np.uint8), np.zeros((side, side), np.uint8), np.empty((0, 0), np.uint8)

    def run() -> None:
        edges[:] = 0
        rasterizer.draw(state.main.parameters[0], gray, edges, none)

    return Variant(run, suite.threads)


MAIN, WITH_TERM, LARGER = Job(), Job(bins=256), Job(batch=LARGE)
MILLION = MAIN.forward_operations(EVALUATED)
GROUPS = [
    Group("kernel: gradient", MAIN, NAMES, gradient(MAIN.batch), flops=MAIN.step_operations, turns=SHARE),
    Group("kernel: gradient, 65536 points", LARGER, NAMES, gradient(LARGE), flops=LARGER.step_operations, turns=SHARE),
    Group(
        "kernel: gradient with the term",
        WITH_TERM,
        NAMES,
        gradient(WITH_TERM.batch),
        flops=WITH_TERM.step_operations,
        turns=SHARE,
    ),
    *(
        Group(f"kernel: update by {kind}", MAIN, NAMES, update(kind), bytes=16.0 * 811, turns=SHARE)
        for kind in OPTIMIZERS
    ),
    Group("kernel: evaluation of a million pixels", MAIN, NAMES, evaluation, flops=MILLION, turns=SHARE),
    Group("kernel: painting", Job(trained=500), ("cpu",), painting, flops=MILLION, turns=SHARE),
]


@pytest.mark.parametrize(("group", "name"), entries(GROUPS))
def bench_kernels(entry: Entry, group: Group, name: str) -> None:
    """A contender's turns."""
    entry(group, name)
