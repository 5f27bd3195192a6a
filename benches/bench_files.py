"""A checkpoint written and read, and a start: from the command to the end of the first epoch, with peak memory."""

import os
import random
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from benches.conftest import Entry
from benches.contenders import ENTRIES, ORIGINAL, OURS, Original, Ours, WrongAnswer
from benches.entries import entries
from benches.job import IMAGE, Job
from benches.method import ROOT, Variant
from benches.suite import Absent, Group, Suite
from draw_poly.engine.files import Files, settings_of
from draw_poly.engine.model.state import State
from draw_poly.engine.record import checkpoint
from draw_poly.engine.training.watch import Watch

WITH_TERM, MAIN = Job(bins=256), Job()
COLD = "cpu, nothing cached"


def saved(suite: Suite, job: Job, name: str) -> Variant:
    """A checkpoint written, then read."""
    made = suite.contender(job, name)
    path = Path(suite.resources.enter_context(tempfile.TemporaryDirectory())) / "checkpoint_epoch_000001.pt"
    if isinstance(made, Original):
        baseline = made.baseline
        assert baseline.predictor
        predictor = baseline.predictor

        def original() -> object:
            content = {
                "model_state_dict": baseline.module.state_dict(),
                "optimizer_state_dict": baseline.optimizers[0].state_dict(),
                "weight_predictor_state_dict": predictor.state_dict(),
                "weight_predictor_optimizer_state_dict": baseline.optimizers[1].state_dict(),
                "pytorch_rng_state": torch.get_rng_state(),
                "numpy_rng_state": np.random.get_state(),
                "python_rng_state": random.getstate(),
            }
            torch.save(content, path)
            return torch.load(path, weights_only=False)

        return Variant(original)
    assert isinstance(made, Ours)
    content = beginning(job, made.backend.state)

    def ours() -> checkpoint.Checkpoint:
        checkpoint.save(path, content)
        return checkpoint.load(path)

    if not torch.equal(ours().state.main.parameters[0], made.parameters()):
        raise WrongAnswer("the parameters that were read are not those that were written")
    return Variant(ours)


def beginning(job: Job, state: State) -> checkpoint.Checkpoint:
    """What a run that has just begun saves."""
    numbers, python_state = np.random.RandomState(1).get_state(), random.Random(1).getstate()
    place, settings = Files.of(job.config), settings_of(job.config)
    return checkpoint.Checkpoint(
        state, numbers, python_state, place.identity, settings, uuid.uuid4().hex, job.picture.digest, job.split,
        Watch(), 0, 1, 1, place.image, [], [],
    )  # fmt: skip


def bytes_alone(suite: Suite, job: Job) -> Variant:
    """As many bytes as a checkpoint has, written until they are on the disk, and read."""
    path = Path(suite.resources.enter_context(tempfile.TemporaryDirectory())) / "bytes"
    made = Ours(job, suite.threads, "eager")
    checkpoint.save(path, beginning(job, made.backend.state))
    content = path.read_bytes()

    def work() -> None:
        with path.open("wb") as file:
            file.write(content)
            os.fsync(file.fileno())
        path.read_bytes()

    return Variant(work)


def start(suite: Suite, job: Job, name: str) -> Variant:
    """A process from its command to the line of its first epoch; compilers begin without what they have kept."""
    backend = "cpu" if name == COLD else name
    if reason := ENTRIES[backend].absent(job):
        raise Absent(reason)
    if suite.quick and (ENTRIES[backend].compiled or name not in OURS):
        raise Absent("left out of the quick mode: each start takes seconds")
    notes: dict[str, float] = {}

    def work() -> None:
        with tempfile.TemporaryDirectory() as place:
            command = [sys.executable, "-m", "benches.start", backend]
            if backend in OURS:
                words = ["-i", str(IMAGE), "-s", job.shape, "-e", "1", "--seed", "1", "--backend", backend]
                command = [sys.executable, str(ROOT / "cli.py"), *words, "-o", place, "--snapshot-dir", place]
            own = {"TORCHINDUCTOR_CACHE_DIR": place} | ({"NUMBA_CACHE_DIR": place} if name == COLD else {})
            notes["peak_resident_bytes"] = until_first_epoch(command, own)

    return Variant(work, calls=1, notes=notes)


def until_first_epoch(command: Sequence[str], environment: dict[str, str]) -> int:
    """Runs a command until it reports its first epoch, then ends it. Returns its peak resident bytes."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert process.stderr
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "Epoch 1/" in line:
            break
    else:
        process.wait()
        raise WrongAnswer(f"{' '.join(command)} reported no epoch: {''.join(lines)[-500:]}")
    process.kill()
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = -9
    process.stderr.close()
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def import_alone(suite: Suite, job: Job) -> Variant:
    """Python with torch imported."""
    return Variant(lambda: subprocess.run([sys.executable, "-c", "import torch"], check=True), calls=1)


GROUPS = [
    Group("checkpoint", WITH_TERM, (ORIGINAL, "eager"), saved, limit=bytes_alone),
    Group(
        "start", MAIN, (ORIGINAL, "torch.compile", "JAX", *OURS, COLD), start, limit=import_alone, turns=2 / 15
    ),
]  # fmt: skip


@pytest.mark.parametrize(("group", "name"), entries(GROUPS))
def bench_files(entry: Entry, group: Group, name: str) -> None:
    """A contender's turns."""
    entry(group, name)
