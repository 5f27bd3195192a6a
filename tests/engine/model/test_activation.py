"""`--activation` and `--slope`: every backend trains the network that they say, and whatever reads it knows them."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from draw_poly import cli
from draw_poly.engine.config import Config
from draw_poly.engine.record import checkpoint
from draw_poly.engine.regions.source import load
from draw_poly.engine.training.fresh import fresh_state
from draw_poly.kernels import reference
from draw_poly.kernels.regions import regions
from draw_poly.kernels.spec import RELU2
from tests.conftest import INTERPRETED, Program, slow
from tests.simulated import Machine

RELU, STEEP, SQUARED = ["--activation", "relu"], ["--slope", 0.25], ["--activation", "relu2"]
FEW: list[object] = ["--seed", 1, "-e", 3, "--no-film", "--save-interval", 3]


def losses(log: str) -> list[float]:
    return [float(loss) for loss in re.findall(r"Task: ([\d.]+)", log)]


@pytest.mark.parametrize("words", [RELU, STEEP, SQUARED])
@pytest.mark.parametrize("name", ["cpu", slow("compile")])
def test_backends_agree(program: Program, name: str, words: list[object]) -> None:
    plain = program(*FEW, *words, "--backend", "eager", folder="eager")
    ours = program(*FEW, *words, "--backend", name)
    assert ours.status == 0, ours.log
    assert losses(ours.log) == pytest.approx(losses(plain.log), rel=1e-5)
    assert losses(program(*FEW, "--backend", name, folder="default").log) != losses(ours.log)


@INTERPRETED
@pytest.mark.parametrize("words", [RELU, SQUARED])
def test_a_gpu_agrees(program: Program, words: list[object]) -> None:
    plain = program(*FEW, *words, "--backend", "eager", folder="eager")
    machine = Machine()
    with machine.installed():
        ours = program(*FEW, *words, "--device", "cuda")
    assert ours.status == 0, ours.log
    assert "Backend: triton" in ours.log
    assert losses(ours.log) == pytest.approx(losses(plain.log), rel=1e-5)


@pytest.mark.parametrize(("words", "module"), [(RELU, torch.nn.ReLU()), (STEEP, torch.nn.LeakyReLU(0.25))])
def test_a_checkpoints_network_is_that_module(
    program: Program, tmp_path: Path, words: list[object], module: torch.nn.Module
) -> None:
    assert program(*FEW, *words).status == 0
    source = load(str(tmp_path / "out" / "results"))
    layers = []
    for weight, bias in reference.layers(torch.from_numpy(source.parameters).float(), source.network):
        linear = torch.nn.Linear(*weight.shape[::-1])
        linear.weight.data, linear.bias.data = weight, bias.flatten()
        layers += [linear, module]
    same = regions(torch.nn.Sequential(*layers[:-1]))
    found = regions(source.network, source.parameters)
    assert found.cells == same.cells > 1
    assert np.array_equal(found.patterns, same.patterns)
    with (next((tmp_path / "out" / "results").glob("*/regions.csv"))).open() as file:
        *_, last = file
    assert int(last.split(",")[1]) == found.cells


def test_a_resume_goes_on_with_it_and_refuses_another(program: Program, tmp_path: Path) -> None:
    straight = program(*FEW, *STEEP, "-e", 6, folder="straight")
    assert program(*FEW, *STEEP).status == 0
    refused = program(*FEW, "-e", 6, "--resume", tmp_path / "out" / "results")
    assert refused.status == 2
    assert "a resume may not change the activation's slope 0.01 (there 0.25)" in refused.log
    again = program(*FEW, *STEEP, "-e", 6, "--resume", tmp_path / "out" / "results")
    assert losses(again.log) == losses(straight.log)[3:]


def test_squares_have_frames_of_every_pixel_and_no_regions(program: Program, tmp_path: Path) -> None:
    done = program(*FEW, *SQUARED)
    assert done.status == 0, done.log
    assert "Exact regions are not found: relu2 is not piecewise affine" in done.log
    assert "Frame @ epoch 3: 391 evaluations for 391 pixels" in done.log
    results = tmp_path / "out" / "results"
    assert not list(results.glob("*/regions.csv"))
    network = checkpoint.load(next(results.glob("*.pt"))).state.main.network
    assert network.activation == RELU2
    assert program(*FEW, *SQUARED, "--backend", "eager", folder="eager").status == 0
    (frame,) = (tmp_path / "out" / "snapshots").glob("*000003.png")
    (plain,) = (tmp_path / "eager" / "snapshots").glob("*000003.png")
    ours, theirs = (np.asarray(Image.open(path), int)[:, :46] for path in (frame, plain))
    assert (np.abs(ours - theirs).max(2) > 1).mean() < 0.02  # levels are cut off, and a boundary may be rounding's
    refused = program("-e", 6, *FEW[:2], "--resume", results)
    assert refused.status == 2
    assert "a resume may not change --activation leaky_relu (there relu2)" in refused.log
    with pytest.raises(SystemExit) as ended:
        cli.main(["regions", str(results), "-o", str(tmp_path / "regions")])
    assert ended.value.code == 2
    refused = program(*FEW, *SQUARED, "--colour-regions", "area", folder="coloured")
    assert refused.status == 2
    assert "is of exact regions, but relu2 is not piecewise affine" in refused.log


def test_slopes_vary_in_a_sweep(program: Program, tmp_path: Path) -> None:
    outcome = program("--seed", 1, "-e", 3, "--vary", "slope=0.01,0.25")
    assert outcome.status == 0, outcome.log
    assert program(*FEW, *STEEP, folder="alone").status == 0
    (alone,) = (tmp_path / "alone" / "results").glob("weights_*.txt")
    (ours,) = (tmp_path / "out" / "results").glob("sweep_*/*slope=0.25*/weights_*.txt")
    assert ours.read_text() == alone.read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--slope", 0], "--slope was 0"),
        (["--slope", 1.5], "--slope was 1.5"),
        ([*SQUARED, *STEEP], "--activation relu2 has slope 0, but --slope 0.25 was given too"),
        ([*RELU, *STEEP], "--activation relu has slope 0, but --slope 0.25 was given too"),
        (["--activation", "gelu"], "choose from 'leaky_relu', 'relu', 'relu2'"),
    ],
)
def test_what_cannot_be_is_a_sentence(program: Program, words: list[object], said: str) -> None:
    outcome = program(*words)
    assert outcome.status == 2
    assert said in outcome.log


def test_it_changes_no_draw() -> None:
    states = [
        fresh_state(Config("x", "[5]*2", 1, **words), torch.Generator().manual_seed(3))
        for words in ({}, {"activation": "relu"}, {"slope": 0.5})
    ]
    assert all(torch.equal(states[0].main.parameters, other.main.parameters) for other in states[1:])
