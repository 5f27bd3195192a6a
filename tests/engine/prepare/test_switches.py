"""Moments and options over a change of optimiser: what means the same goes on, all else begins afresh."""

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch

from draw_poly.engine.model.initialisation import network_names
from draw_poly.engine.model.state import Learner
from draw_poly.engine.record.learner_dict import learner_of, optimizer_dict, options_of, parameter_dict
from draw_poly.kernels.oracle import random_parameters
from draw_poly.kernels.spec import OPTIMIZERS, Network, Optimizer
from tests.kernels.fused import SETTINGS

NETWORK = Network((2, 5, 4, 1))
NAMES = network_names(NETWORK)
ADAMS = ("adam", "adamw", "nadam")


def learner(optimizer: Optimizer, steps: int = 7) -> Learner:
    """One with moments that a run may have."""
    flat = random_parameters(NETWORK, 1, torch.float32)[None]
    made = Learner.fresh(NETWORK, optimizer, flat)
    made.moments.copy_(torch.rand(made.moments.shape, generator=torch.Generator().manual_seed(2)))
    if optimizer.rest:  # of matrices nobody reads the others
        matrices = torch.cat([torch.cat((torch.ones(out * into), torch.zeros(out))) for out, into in NETWORK.shapes])
        made.moments[:, 1:, matrices > 0] = 0
    made.steps = steps
    return made


@pytest.mark.parametrize(("kind", "options"), SETTINGS)
def test_a_learner_is_read_as_it_was_written(kind: str, options: dict[str, Any]) -> None:
    optimizer = Optimizer(kind, 0.01, 0.85, **options)
    one = learner(optimizer)
    stored = optimizer_dict(one, NAMES)
    plain = Optimizer(kind, 0.01, 0.85, grad_clip_norm=optimizer.grad_clip_norm)
    assert options_of(plain, stored) == optimizer
    two = learner_of(NETWORK, optimizer, NAMES, parameter_dict(one, NAMES), stored)
    assert torch.equal(one.parameters, two.parameters)
    assert torch.equal(one.moments, two.moments)
    assert two.steps == (7 if one.optimizer.rest or optimizer.record.counters else min(optimizer.moments, 1))


@pytest.mark.parametrize(("before", "after"), list(product(OPTIMIZERS, repeat=2)))
def test_moments_go_on_where_they_mean_the_same(before: str, after: str) -> None:
    one = learner(Optimizer(before, 0.01, weight_decay=0.1))
    two = one.switched(Optimizer(after, 0.02))
    assert torch.equal(two.parameters, one.parameters)
    assert two.moments.shape == (1, Optimizer(after, 0.02).moments, NETWORK.size)
    if before == after or {before, after} <= set(ADAMS):
        assert torch.equal(two.moments, one.moments)
        assert two.steps == 7
    else:
        assert not two.moments.any()
        assert two.steps == 0


@pytest.mark.parametrize("kind", ["adam", "adamw", "muon"])
def test_the_greatest_moment_comes_and_goes(kind: str) -> None:
    plain = Optimizer(kind, 0.01)
    one = learner(plain)
    two = one.switched(replace(plain, amsgrad=True))
    assert torch.equal(two.moments[:, :2], one.moments)
    assert not two.moments[:, 2].any()
    assert two.moments.shape[1] == 3
    assert torch.equal(two.switched(plain).moments, one.moments)
