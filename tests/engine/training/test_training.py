"""Training as in a notebook: without a file, and with the notebook's own state left alone."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from draw_poly.engine.config import Config, ConfigError
from draw_poly.engine.training.training import Training
from tests.conftest import Program

TERM = ["--kolmogorov-shape", "[4]", "--kolmogorov-weight", 0.1, "--kolmogorov-bins", 20]
CELL = """
import json, logging, signal, sys, threading
import numpy as np, torch
from draw_poly.engine.config import Config
from draw_poly.engine.training.training import Training

def surroundings():
    loggers = [logging.getLogger(name) for name in (None, "polytope_nn", "polytope_nn.backend")]
    return (
        [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)],
        [(list(one.handlers), one.level, one.propagate, one.disabled) for one in loggers],
        torch.get_num_threads(), torch.get_default_dtype(), torch.empty(0).device, torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(), torch.get_float32_matmul_precision(), torch.get_rng_state().tolist(),
        np.random.get_state()[1].tolist(), [one.name for one in threading.enumerate()],
    )

torch.set_num_threads(3)
torch.set_default_dtype(torch.float64)
before = surroundings()
pixels, runs = json.loads(sys.argv[1])
found = []
for words in runs:
    training = Training.fresh(Config("an array", **words), np.array(pixels, np.uint8))
    rows = []
    for finished in training:
        assert surroundings() == before
        epoch = finished.epoch
        rows.append([finished.number, epoch.task, epoch.kolmogorov, epoch.validation, epoch.combined])
    assert surroundings() == before
    parameters = training.parameters.requires_grad_()
    parameters.square().sum().backward()
    assert training.stopped is None
    found.append([rows, parameters.tolist()])
json.dump(found, sys.stdout)
"""


def test_a_notebook_gets_what_a_run_writes_and_finds_nothing_changed(
    program: Program, tmp_path: Path, small_image: Path
) -> None:
    backends = ("cpu", "eager")
    runs = [{
        "shape": "[5]*3", "epochs": 4, "seed": 1, "points": 100, "batch_size": 32, "backend": backend, "device": "cpu",
        "kolmogorov_shape": "[4]", "kolmogorov_weight": 0.1, "kolmogorov_bins": 20,
    } for backend in backends]  # fmt: skip
    places = [tmp_path / name for name in ("cwd", "tmp")]
    for place in places:
        place.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", CELL, json.dumps([np.asarray(Image.open(small_image)).tolist(), runs])],
        cwd=places[0], env={**os.environ, "TMPDIR": str(places[1])}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert [list(place.iterdir()) for place in places] == [[], []]
    for backend, (rows, parameters) in zip(backends, json.loads(done.stdout), strict=True):
        assert program(*TERM, "--seed", 1, "--backend", backend, folder=backend).status == 0
        results = tmp_path / backend / "results"
        (table,), (weights,) = results.glob("*/metrics.csv"), results.glob("weights_*.txt")
        with table.open() as file:
            written = [
                [row[name] for name in ("epoch", "task", "kolmogorov", "validation", "combined")]
                for row in csv.DictReader(file)
            ]
        assert [[str(row[0]), *(f"{loss:.9g}" for loss in row[1:])] for row in rows] == written
        assert np.array_equal(np.float32(parameters), np.loadtxt(weights, dtype=np.float32))


def test_training_ends_where_there_is_nothing_more_to_learn() -> None:
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    words = {"shape": "[2]", "points": 20, "batch_size": 20, "seed": 1, "backend": "eager", "device": "cpu"}
    training = Training.fresh(Config("x", epochs=9, learning_rate=1e-30, **words), pixels)  # type: ignore[arg-type]
    assert [finished.number for finished in training] == [1, 2]
    assert training.stopped == "the optimisation loops: these parameters were seen before"
    assert training.state.epoch == 2
    assert list(training) == []
    wild = Config("x", epochs=9, learning_rate=1e18, optimizer="sgd", **words)  # type: ignore[arg-type]
    training = Training.fresh(wild, pixels)
    assert len(list(training)) == training.state.epoch
    assert training.stopped is not None
    assert "the loss was not finite in epoch" in training.stopped


def test_what_cannot_be_trained_is_said_at_once() -> None:
    with pytest.raises(ConfigError, match="--points was 5000"):
        Training.fresh(Config("x", "[2]", 1, device="cpu"), np.zeros((8, 8), np.uint8))


def test_what_is_due_is_told() -> None:
    config = Config(
        "x", "[2]", 5, points=20, batch_size=20, seed=1, backend="eager", device="cpu", save_interval=3,
        checkpoint_interval=2,
    )  # fmt: skip
    told = list(Training.fresh(config, np.arange(64, dtype=np.uint8).reshape(8, 8)))
    assert [one.number for one in told if one.scheduled] == [3]
    assert [one.number for one in told if one.framed] == [3, 5]
    assert [one.number for one in told if one.saved] == [2, 4]
