"""An epoch with each optimiser and with clipped gradients; and Muon beside PyTorch's own, on the plain module."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benches.bench_tasks import visits_of
from benches.conftest import Entry
from benches.entries import entries
from benches.job import Job
from benches.method import Variant
from benches.suite import Group, Suite
from draw_poly.kernels.spec import OPTIMIZERS

MAIN = Job()
CLIPPED = "adam, clipped"
OPTIONS: dict[str, dict[str, Any]] = {
    **{kind: {"optimizer": kind} for kind in OPTIMIZERS},
    CLIPPED: {"grad_clip_norm": 1.0},
}
PLAIN = "torch.optim.Muon"


def epochs_of(suite: Suite, job: Job, name: str) -> Variant:
    """Epochs with an optimiser, by the backend that is chosen here, or by PyTorch's Muon and AdamW."""
    if name != PLAIN:
        return visits_of(suite, replace(job.config, **OPTIONS[name]), job.picture)
    module = job.baseline().module.to(suite.device)
    matrices = [one for one in module.parameters() if one.ndim == 2]
    others = [one for one in module.parameters() if one.ndim != 2]
    both = torch.optim.Muon(matrices, lr=job.config.learning_rate), torch.optim.AdamW(others, job.config.learning_rate)
    inputs, targets = (part.t().contiguous().to(suite.device) for part in job.training)

    def step(points: Tensor, values: Tensor) -> None:
        for one in both:
            one.zero_grad()
        nn.functional.mse_loss(module(points)[0], values).backward()
        for one in both:
            one.step()

    def train() -> None:
        order = torch.randperm(len(inputs), device=suite.device)
        for batch in order.split(job.batch):
            step(inputs[batch], targets[batch])

    return Variant(train, suite.threads)


GROUPS = [
    Group("epoch by optimiser", MAIN, (*OPTIONS, PLAIN), epochs_of, flops=MAIN.epoch_operations, turns=0.3, quick=True)
]


@pytest.mark.parametrize(("group", "name"), entries(GROUPS))
def bench_optimizers(entry: Entry, group: Group, name: str) -> None:
    """An optimiser's turns."""
    entry(group, name)
