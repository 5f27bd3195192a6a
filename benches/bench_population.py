"""Networks of one shape side by side: what an epoch of one of them takes, for 1 to 256 of them."""

from dataclasses import replace

import pytest
import torch

from benches.conftest import Entry
from benches.entries import entries
from benches.job import Job
from benches.method import Variant
from benches.suite import Absent, Group, Suite
from draw_poly.engine.backends import select as backend
from draw_poly.engine.backends.base import never
from draw_poly.engine.config import Config
from draw_poly.engine.sweep.population import Population
from draw_poly.engine.training.fresh import fresh_state
from draw_poly.engine.training.setup import Setup

MEMBERS = (1, 2, 8, 64, 256)
EPOCHS = 4  # of a visit
VMAP = "torch.func.vmap, compiled"
NAMES = ("cpu", "triton", "JAX", VMAP)
MAIN, WITH_TERM = Job(), Job(bins=256)


def population(suite: Suite, job: Job, members: int, name: str) -> Variant:
    """An epoch of each."""
    if name == VMAP:
        if suite.quick:
            raise Absent("left out of the quick mode: to compile it takes longer")
        from benches.torch_population import population as compiled

        with torch.inference_mode(False):
            return Variant(compiled(job, members), suite.threads, members)
    made = suite.contender(job, name)
    if name == "JAX":
        from benches.jax_network import JaxNetwork

        assert isinstance(made, JaxNetwork)
        return Variant(made.population(members), made.threads, members)
    config = Config(**{**vars(job.config), "backend": name, "device": str(suite.device)})
    setups = []
    for seed in range(members):
        state = fresh_state(config, torch.Generator().manual_seed(seed))
        setups.append(Setup(replace(config, seed=seed), state, job.training, job.validation))
    together = Population(setups, suite.device, backend.choose(config, suite.device)[0])

    def train() -> None:
        with torch.inference_mode():
            together.visit(EPOCHS, EPOCHS, never)
            together.keep()

    return Variant(train, suite.threads, members * EPOCHS)


def group(job: Job, members: int) -> Group:
    """The contenders with so many networks."""
    info = {"axis": "members", "size": members} if job is MAIN else {}
    title = "an epoch of each" if job is MAIN else "an epoch of each with the term"

    def make(suite: Suite, job: Job, name: str) -> Variant:
        return population(suite, job, members, name)

    return Group(
        f"population of {members}, {title}", job, NAMES if job is MAIN else NAMES[:2], make, flops=job.epoch_operations,
        turns=0.3, quick=members == 2, info=info,
    )  # fmt: skip


GROUPS = [*(group(MAIN, members) for members in MEMBERS), *(group(WITH_TERM, members) for members in (1, 8, 64))]


@pytest.mark.parametrize(("group", "name"), entries(GROUPS))
def bench_population(entry: Entry, group: Group, name: str) -> None:
    """A contender's turns."""
    entry(group, name)
