"""Runs of every task: what they learn, say, write and draw, what they go on from, and what they refuse."""

import base64
import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from draw_poly.engine.config import Config
from draw_poly.engine.record import checkpoint
from draw_poly.engine.training.training import Training
from tests.conftest import Outcome, Program, untimed

CLASSES = ["--task", "classes"]


def saved(path: Path, pixels: NDArray[np.uint8]) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def sentence(done: Outcome) -> str:
    """What a refusal says, past the log's first line."""
    lines = [line for line in done.log.splitlines() if " - INFO - " not in line]
    assert len(lines) == 1, done.log
    return lines[0]


def frame(place: Path, epoch: int) -> NDArray[np.uint8]:
    [path] = (place / "snapshots").glob(f"*_epoch_{epoch:06d}.png")
    return np.asarray(Image.open(path))


def table(place: Path) -> list[dict[str, str]]:
    [path] = (place / "results").glob("*/metrics.csv")
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.mark.parametrize("backend", ["cpu", "eager"])
def test_classes_are_learnt_logged_and_drawn(program: Program, tmp_path: Path, pure: Path, backend: str) -> None:
    done = program("-i", pure, *CLASSES, "-s", "[12]*3", "-p", 500, "-b", 100, "-e", 150, "-l", 0.01, "--seed", 1,
                   "--save-interval", 50, "--final-activation", "leaky_relu", "--backend", backend)  # fmt: skip
    assert done.status == 0, done.log
    lines = [line for line in done.log.splitlines() if " - INFO - " in line]
    assert all(" - polytope_classifier" in line for line in lines)
    assert lines[0].endswith("=== Starting polytope-classifier training ===")
    missed = [
        int(row) for row in re.findall(r"Visualization @ epoch \d+: \d+\.\d\ds - Misclassified: (\d+)/500\n", done.log)
    ]
    assert len(missed) == 4
    assert missed[-1] < 25 < missed[0]
    assert [row["misclassified"] for row in table(tmp_path / "out") if row["misclassified"]] == list(
        map(str, missed[1:])
    )
    drawn = frame(tmp_path / "out", 150)
    assert drawn.shape == (60, 120, 3)
    classes, outputs = drawn[30:, 40:80], (drawn[:30, :40], drawn[30:, :40], drawn[:30, 40:80])
    truth = np.asarray(Image.open(pure))
    inner = (truth != 90).any(2)
    assert (classes[inner] == truth[inner]).all(1).mean() > 0.95
    for channel, panel in enumerate(outputs):
        assert not np.delete(panel, channel, 2).any()
    assert {tuple(pixel) for pixel in drawn[30:, 80:].reshape(-1, 3)} >= {(255, 0, 255), (0, 255, 255)}


def test_points_are_of_pixels_with_a_class_alone(program: Program, tmp_path: Path, pure: Path) -> None:
    assert program("-i", pure, *CLASSES, "-p", 400, "-b", 50, "--seed", 2).status == 0
    [path] = (tmp_path / "out" / "results").glob("checkpoint_*.pt")
    stored = checkpoint.load(path)
    assert stored.split
    used = torch.cat((stored.split.training, stored.split.validation))
    assert len(used.unique()) == 450
    assert (np.asarray(Image.open(pure)).reshape(-1, 3)[used.numpy()].sum(1) == 255).all()


def test_names_tell_the_activation_of_outputs(program: Program, tmp_path: Path, pure: Path) -> None:
    words = ["-i", pure, *CLASSES, "--optimizer", "sgd_momentum", "--final-activation", "sigmoid"]
    assert program(*words, "--seed", 1).status == 0
    [path] = (tmp_path / "out" / "results").glob("checkpoint_*.pt")
    identity = path.name.split("_")[1]
    assert base64.b64decode(identity) == b"[5]*3_100_32_0.001_sgd_momentum_sigmoid_mom0.9"


@pytest.mark.parametrize("task", ["rgb", "classes"])
def test_a_resume_is_exact(program: Program, tmp_path: Path, pure: Path, task: str) -> None:
    words = ["-i", pure, "--task", task, "--seed", 1, "--save-interval", 2]
    assert program(*words, "-e", 6, folder="straight").status == 0
    assert program(*words, "-e", 3, folder="parts").status == 0
    done = program(*words, "-e", 6, "--resume", tmp_path / "parts" / "results", folder="parts")
    assert done.status == 0, done.log
    whole, parts = tmp_path / "straight", tmp_path / "parts"
    for epoch in (4, 6):
        assert np.array_equal(frame(whole, epoch), frame(parts, epoch))
    paths = [next((place / "results").glob("*/metrics.csv")) for place in (whole, parts)]
    assert untimed(paths[0]) == untimed(paths[1])


def test_a_resume_of_another_task_is_refused(program: Program, tmp_path: Path, pure: Path) -> None:
    assert program("-i", pure, *CLASSES, "--seed", 1).status == 0
    for words, said in (
        (["--task", "rgb"], "may not change --task rgb"),
        ([], "may not change --task gray"),
        ([*CLASSES, "--final-activation", "sigmoid"], "--final-activation sigmoid (there relu)"),
        ([*CLASSES, "--class-tolerance", 3], "--class-tolerance 3 (there 0)"),
    ):
        done = program("-i", pure, "--seed", 1, "-e", 6, "--resume", tmp_path / "out" / "results", *words)
        assert done.status == 2
        assert said in sentence(done)


def test_the_original_classifiers_checkpoint_resumes(program: Program, tmp_path: Path, pure: Path) -> None:
    """As far as its keys are the original's: without our settings, whose task its outputs tell."""
    words = ["-i", pure, *CLASSES, "--seed", 1, "--final-activation", "leaky_relu"]
    assert program(*words, "-e", 6, folder="straight").status == 0
    assert program(*words, "-e", 3, folder="half").status == 0
    [path] = (tmp_path / "half" / "results").glob("checkpoint_*.pt")
    content = torch.load(path, weights_only=False)
    kept = ("epoch", "model_state_dict", "optimizer_state_dict", "optimizer_type", "learning_rate", "momentum", "args",
            "pytorch_rng_state", "numpy_rng_state", "python_rng_state", "network_shape_b64", "random_seed")  # fmt: skip
    original = tmp_path / "checkpoint_original_epoch_000002.pt"
    stored = {key: content[key] for key in kept}
    del stored["args"]["final_activation"]
    torch.save(stored, original)
    done = program(*words, "-e", 6, "--resume", original, folder="resumed")
    assert done.status == 0, done.log
    losses = [re.findall(r"Epoch 6/6 - (.*)", log) for log in (done.log,)]
    straight = table(tmp_path / "straight")[-1]
    assert f"{float(straight['task']):.6f}" in losses[0][0]
    refused = program("-i", pure, "--seed", 1, "-e", 6, "--resume", original, folder="gray")
    assert refused.status == 2
    assert "was trained with --task classes" in refused.log


@pytest.mark.parametrize(
    ("pixels", "words", "said"),
    [
        ((10, 20, 30), CLASSES, "it has no pixel that is pure red, green or blue"),
        ((250, 4, 9), CLASSES, "600 more are within 60 levels of those: --class-tolerance 60 takes them"),
        ((250, 4, 9), [*CLASSES, "--class-tolerance", 8], "within 8 levels of pure"),
        ((255, 0, 0), ["--final-activation", "sigmoid"], "--final-activation is of --task classes"),
        ((255, 0, 0), ["--task", "rgb", "--class-tolerance", 9], "--class-tolerance is of --task classes"),
        ((255, 0, 0), [*CLASSES, "--class-tolerance", 128], "give a whole number from 0 to 127"),
    ],
)
def test_what_has_nothing_to_learn_is_refused_in_a_sentence(
    program: Program, tmp_path: Path, pixels: tuple[int, int, int], words: list[object], said: str
) -> None:
    path = saved(tmp_path / "flat.png", np.full((20, 30, 3), pixels, np.uint8))
    done = program("-i", path, *words)
    assert done.status == 2
    assert said in sentence(done)


def test_one_class_alone_is_warned_of_and_near_ones_are_counted(program: Program, tmp_path: Path) -> None:
    pixels = np.full((20, 30, 3), (255, 0, 0), np.uint8)
    pixels[:3] = (20, 250, 20)
    path = saved(tmp_path / "two.png", pixels)
    done = program("-i", path, *CLASSES, "--seed", 1)
    assert done.status == 0
    assert "all its pixels with a class are red: there is nothing to learn" in done.log
    assert "510 of its pixels have a class, and 90 more are within 60 levels of those" in done.log
    done = program("-i", path, *CLASSES, "--seed", 1, "--class-tolerance", 20, folder="wide")
    assert done.status == 0
    assert "nothing to learn" not in done.log


def test_colours_are_learnt_and_drawn(program: Program, tmp_path: Path) -> None:
    y, x = np.mgrid[:30, :40]
    pixels = np.stack((x * 6, y * 8, 255 - 3 * (x + y)), 2).astype(np.uint8)
    path = saved(tmp_path / "colours.png", pixels)
    done = program("-i", path, "--task", "rgb", "-s", "[12]*3", "-p", 800, "-b", 100, "-e", 150, "-l", 0.01,
                   "--seed", 1, "--save-interval", 50)  # fmt: skip
    assert done.status == 0, done.log
    assert "polytope_nn - INFO - === Starting polytope-viz-nn training ===" in done.log
    drawn = frame(tmp_path / "out", 150)
    assert drawn.shape == (30, 120, 3)
    error = np.square(drawn[:, 40:80].astype(float) - pixels).mean()
    psnr = 10 * np.log10(255**2 / error)
    assert float(table(tmp_path / "out")[-1]["psnr"]) == pytest.approx(psnr, abs=1e-3)
    assert psnr > 25
    assert f"PSNR {psnr:.2f} dB" in done.log
    [smooth] = (tmp_path / "out" / "results").glob("*-kernel-smoothed.png")
    both = np.asarray(Image.open(smooth)).astype(float)
    assert np.array_equal(both[:, 40:], pixels)
    assert np.abs(both[5:-5, 5:35] - pixels[5:-5, 5:35]).mean() < 12


def test_gray_of_a_colour_image_is_what_it_was_and_says_so(program: Program, tmp_path: Path) -> None:
    y, x = np.mgrid[:30, :40]
    colours = Image.fromarray(np.stack((x * 6, y * 8, 255 - 3 * (x + y)), 2).astype(np.uint8))
    colours.save(tmp_path / "a.png")
    colours.convert("L").save(tmp_path / "b.png")
    logs = [program("-i", tmp_path / f"{name}.png", "--seed", 1, folder=name).log for name in "ab"]
    assert ["--task rgb learns the colours" in log for log in logs] == [True, False]
    tables = [untimed(next((tmp_path / name / "results").glob("*/metrics.csv"))) for name in "ab"]
    assert tables[0] == tables[1]
    assert "psnr" not in tables[0][0]


@pytest.mark.parametrize("task", ["gray", "rgb", "classes"])
def test_transparent_pixels_are_no_points(program: Program, tmp_path: Path, pure: Path, task: str) -> None:
    alpha = np.full((30, 40), 255, np.uint8)
    alpha[:, :20] = 0
    path = saved(tmp_path / "holes.png", np.dstack((np.asarray(Image.open(pure)), alpha)))
    words = ["-i", path, "--task", task, "-p", 300, "-b", 50, "--seed", 1]
    done = program(*words, "--ignore-transparent")
    assert done.status == 0, done.log
    assert "600 of its pixels are transparent, and left out" in done.log
    [stored] = (tmp_path / "out" / "results").glob("checkpoint_*.pt")
    split = checkpoint.load(stored).split
    assert split
    assert (torch.cat((split.training, split.validation)) % 40 >= 20).all()
    record = json.loads(next((tmp_path / "out" / "results").glob("*/config.json")).read_text())
    assert record["settings"]["ignore_transparent"] is True
    refused = program(*words, "--ignore-transparent", "-p", 600)
    assert refused.status == 2
    assert "of which" in refused.log
    assert {102, 153} <= set(np.unique(frame(tmp_path / "out", 4)[-28:-20, -36:-24]))  # a chequerboard
    plain = program(*words, folder="plain")
    assert "its transparency is ignored" in plain.log


def test_a_constant_class_and_a_constant_colour_are_told() -> None:
    """The output with the widest range tells: two of three that are constant are no constant picture."""
    pixels = np.zeros((20, 20, 3), np.uint8)
    pixels[..., 1] = 255
    config = Config("x", "[3]", 40, task="rgb", points=200, batch_size=100, seed=1, learning_rate=0.05, device="cpu")
    training = Training.fresh(config, pixels)
    training.backend.state.main.parameters.zero_()
    assert next(iter(training)).epoch.constant
    training = Training.fresh(config, pixels)
    assert not next(iter(training)).epoch.constant
    pixels[:, 10:] = (255, 0, 0)
    config = Config("x", "[3]", 40, task="classes", points=200, batch_size=100, seed=1, device="cpu")
    training = Training.fresh(config, pixels)
    training.backend.state.main.parameters.zero_()
    assert next(iter(training)).epoch.constant


def test_arrays_are_of_the_tasks_shape() -> None:
    gray, colours = np.zeros((20, 20), np.uint8), np.zeros((20, 20, 3), np.uint8)
    colours[:, ::2, 0], colours[:, 1::2, 2] = 255, 255
    config = Config("x", "[3]", 1, points=200, batch_size=100, device="cpu")
    with pytest.raises(ValueError, match=r"shape \(20, 20, 3\): give \(height, width\) for --task gray"):
        Training.fresh(config, colours)
    for task, pixels in (("rgb", gray), ("rgb", colours), ("classes", colours)):
        made = Config("x", "[3]", 1, task=task, points=200, batch_size=100, device="cpu")
        assert Training.fresh(made, pixels).parameters.isfinite().all()
