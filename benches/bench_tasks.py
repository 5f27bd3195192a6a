"""An epoch of each task, on points of one image in colour: what three outputs cost, and the cross-entropy."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benches.conftest import Entry
from benches.entries import entries
from benches.job import Job
from benches.method import Variant
from benches.suite import Group, Suite
from draw_poly.engine.backends import select as backend
from draw_poly.engine.backends.base import never
from draw_poly.engine.config import Config
from draw_poly.engine.data import image_file
from draw_poly.engine.data.image import Picture
from draw_poly.engine.sweep.population import Population
from draw_poly.engine.task import CLASS_COLOURS, TASKS
from draw_poly.engine.training.fresh import fresh
from draw_poly.engine.training.setup import Setup

EPOCHS = 16  # of a visit
MAIN = Job()


def visits_of(suite: Suite, config: Config, picture: Picture) -> Variant:
    """Epochs of a run, by the backend that is chosen here."""
    config = replace(config, backend="auto", device=str(suite.device))
    draw = fresh(config, picture)
    setup = Setup.of(config, draw.state, picture, draw.split)
    alone = Population([setup], suite.device, backend.choose(config, suite.device)[0])

    def train() -> None:
        with torch.inference_mode():
            alone.visit(EPOCHS, EPOCHS, never)
            alone.keep()

    return Variant(train, suite.threads, EPOCHS)


def epochs_of(suite: Suite, job: Job, task: str) -> Variant:
    """Epochs of a task."""
    gray = job.picture.pixels
    # Of each third of the gray values one pure colour: there are points of every class.
    colours = np.array(CLASS_COLOURS, np.uint8)[np.minimum(gray // 86, 2)]
    picture = image_file.picture_of(colours if TASKS[task].colour else gray, TASKS[task])
    return visits_of(suite, replace(job.config, task=task), picture)


GROUPS = [Group("epoch by task", MAIN, tuple(TASKS), epochs_of, flops=MAIN.epoch_operations, turns=0.3, quick=True)]


@pytest.mark.parametrize(("group", "name"), entries(GROUPS))
def bench_tasks(entry: Entry, group: Group, name: str) -> None:
    """A task's turns."""
    entry(group, name)
