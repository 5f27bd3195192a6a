"""Step, epoch, epoch with the Kolmogorov term, and the network evaluated, by every contender."""

import pytest
import torch

from benches.conftest import Entry
from benches.contenders import ENTRIES
from benches.entries import entries
from benches.job import Job
from benches.method import Variant
from benches.suite import Group, Suite

ALL = tuple(ENTRIES)
MAIN, WITH_TERM = Job(), Job(bins=256)
EVALUATED = 2**20


def step(suite: Suite, job: Job, name: str) -> Variant:
    """Steps on whole batches."""
    made = suite.contender(job, name)
    return Variant(made.steps, made.threads, made.steps_a_call)


def epoch(suite: Suite, job: Job, name: str) -> Variant:
    """Whole epochs."""
    made = suite.contender(job, name)
    return Variant(made.epoch, made.threads)


def evaluate(suite: Suite, job: Job, name: str) -> Variant:
    """Outputs and signatures of many points, on all threads."""
    made = suite.contender(job, name)
    inputs = torch.rand((2, EVALUATED), generator=torch.Generator().manual_seed(3)).to(suite.device)
    return Variant(lambda: made.evaluate(inputs), suite.threads)


GROUPS = [
    Group("step", MAIN, ALL, step, flops=MAIN.step_operations),
    Group("epoch", MAIN, ALL, epoch, flops=MAIN.epoch_operations),
    Group("epoch with the Kolmogorov term", WITH_TERM, ALL, epoch, flops=WITH_TERM.epoch_operations),
    # Coordinates are read, an output and a signature written.
    Group(
        "evaluate a million points", MAIN, ALL, evaluate, flops=MAIN.forward_operations(EVALUATED),
        bytes=(8.0 + 4.0 + 8.0) * EVALUATED, turns=0.5,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("group", "name"), entries(GROUPS))
def bench_training(entry: Entry, group: Group, name: str) -> None:
    """A contender's turns."""
    entry(group, name)
