"""States as they are after many epochs: an epoch, evaluation and drawing beside those of fresh ones, and the growth.

Numbers that shrink become subnormal, which costs a processor a hundred times as much as others unless it is told to
take them for zeros: what a fresh state takes says nothing of the hours after it.
"""

import pytest

from benches.bench_scaling import drawing
from benches.bench_training import EVALUATED, MAIN, epoch, evaluate
from benches.conftest import Entry
from benches.contenders import ORIGINAL
from benches.entries import entries
from benches.job import Job
from benches.suite import Group

NAMES = ("eager", "cpu", "triton")  # others take minutes over such states
LATE, WITH_TERM = Job(late=True), Job(bins=256, late=True)
EPOCHS = (1, 500, 1500, 3000, 5000)
SHARE = 0.3  # of a run's turns
PIXELS = MAIN.forward_operations(MAIN.side**2)


def trained(epochs: int) -> Group:
    """An epoch with the Kolmogorov term after so many."""
    job = Job(bins=256, trained=epochs)
    return Group(
        f"epoch with the Kolmogorov term, epochs {epochs}", job, (ORIGINAL, *NAMES), epoch, flops=job.epoch_operations,
        turns=SHARE, quick=epochs == 500, info={"axis": "epochs", "size": epochs},
    )  # fmt: skip


GROUPS = [
    Group("late epoch", LATE, NAMES, epoch, flops=LATE.epoch_operations, turns=SHARE, info={"fresh": "epoch"}),
    Group(
        "late epoch with the Kolmogorov term", WITH_TERM, (*NAMES, "compile"), epoch, flops=WITH_TERM.epoch_operations,
        turns=SHARE, info={"fresh": "epoch with the Kolmogorov term"},
    ),
    Group(
        "late evaluation of a million points", LATE, NAMES, evaluate, flops=LATE.forward_operations(EVALUATED),
        bytes=(8.0 + 4.0 + 8.0) * EVALUATED, turns=SHARE, info={"fresh": "evaluate a million points"},
    ),
    Group("draw", MAIN, NAMES, drawing, flops=PIXELS, turns=SHARE, quick=False),
    Group("late draw", LATE, NAMES, drawing, flops=PIXELS, turns=SHARE, quick=False, info={"fresh": "draw"}),
    *map(trained, EPOCHS),
]  # fmt: skip


@pytest.mark.parametrize(("group", "name"), entries(GROUPS))
def bench_late(entry: Entry, group: Group, name: str) -> None:
    """A contender's turns."""
    entry(group, name)
