"""The whole program on a simulated device: an image in, a film out, whatever becomes of the device."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from draw_poly.engine.backends.base import Data, Report
from draw_poly.engine.training.trainer import Trainer
from tests.conftest import INTERPRETED, Outcome, Program, slow
from tests.simulated import Machine
from tests.test_run_ahead import left

pytestmark = INTERPRETED
SMALL = ["-s", "[4]*2", "-p", 40, "-b", 16, "-e", 4, "--save-interval", 2, "--checkpoint-interval", 2, "--seed", 1]
WITH_TERM = ["--kolmogorov-shape", "[3]", "--kolmogorov-weight", 0.2, "--kolmogorov-bins", 20]
CAPTURED = "one replay of a CUDA graph from here on"


@pytest.fixture
def on_cuda(program: Program, cuda: Machine) -> Iterator[Callable[..., Outcome]]:
    """Runs the command line there."""

    def started(*words: object, folder: str = "out") -> Outcome:
        return program(*SMALL, "--device", "cuda", *words, folder=folder)

    yield started
    assert torch.cuda.current_device() == 0
    assert torch.cuda.current_stream() == torch.cuda.default_stream()


def test_a_run_trains_draws_saves_and_films(program: Program, cuda: Machine, tmp_path: Path) -> None:
    outcome = program(*SMALL, "--device", "auto")
    assert outcome.status == 0, outcome.log
    assert "Backend: triton on cuda:0" in outcome.log
    assert CAPTURED in outcome.log
    assert cuda.replays == 3
    assert set(cuda.launches) >= {"gradient_kernel", "update_kernel", "grid_kernel"}
    left_behind = {path.suffix for path in tmp_path.joinpath("out").rglob("*") if path.is_file()}
    assert left_behind >= {".pt", ".png", ".mp4", ".csv", ".txt", ".json"}
    assert len(list(tmp_path.joinpath("out").rglob("*.pt"))) == 2


@pytest.mark.parametrize(
    ("words", "replays"),
    [
        ([], {"captured": 3, "launched": 0}),
        slow([], {"captured": 3, "waiting": 3, "windows": 6}),
        slow(WITH_TERM, {"captured": 3, "launched": 0}),
    ],
    ids=["alone", "otherwise", "with_term"],
)
def test_captured_launched_ahead_and_on_the_cpu_are_the_same_to_the_bit(
    program: Program, tmp_path: Path, words: list[object], replays: dict[str, int]
) -> None:
    from draw_poly.engine.backends.triton import Triton

    found: dict[str, object] = {}

    def started(name: str, device: str) -> str:
        outcome = program(*SMALL, *words, "--device", device, "--backend", "triton", folder=name)
        assert outcome.status == 0, outcome.log
        found[name] = left(outcome, tmp_path / name)
        return outcome.log

    def refuse(*words: object, **named: object) -> None:
        raise RuntimeError("there are no graphs")

    for name in replays:
        machine = Machine()
        with machine.installed(), pytest.MonkeyPatch.context() as patch:
            if name == "waiting":
                patch.setattr(Trainer, "runs_ahead", False)
            if name == "launched":
                patch.setattr(torch.cuda, "graph", refuse)
            if name == "windows":
                patch.setattr(Triton, "most_captured", 2)
            log = started(name, "cuda")
        machine.check()
        assert ("The epoch cannot be captured" in log) == (name == "launched")
        assert machine.replays == replays[name]
    started("interpreted", "cpu")
    for name, one in found.items():
        assert one == found["captured"], name


@pytest.mark.parametrize("name", ["SIGINT", slow("SIGTERM")])
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(
    on_cuda: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from draw_poly.engine.backends.triton import Triton

    visit = Triton.visit

    def interrupted(self: Triton, data: Data, orders: NDArray[np.int64], asked: Callable[[], bool]) -> Report:
        if self.state.epoch == 2:
            signal.raise_signal(signal.Signals[name])
        return visit(self, data, orders, asked)

    with monkeypatch.context() as patch:
        patch.setattr(Triton, "visit", interrupted)
        outcome = on_cuda()
    assert outcome.status == 128 + signal.Signals[name]
    assert f"Interrupted by {name} at epoch 2" in outcome.log
    resumed = on_cuda("--resume", tmp_path / "out" / "results")
    assert resumed.status == 0, resumed.log
    straight = on_cuda(folder="straight")
    ends = [re.findall(r"Epoch [34]/4.*", one.log) for one in (resumed, straight)]
    assert len(ends[0]) == 2
    assert ends[0] == ends[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-l", 1e-30], "Stopped at epoch 2: the optimisation loops"),
        (["--optimizer", "sgd", "-l", 1e4], "the loss was not finite in epoch"),
    ],
)
def test_an_early_stop_leaves_what_it_leaves_on_the_cpu(
    program: Program, tmp_path: Path, words: list[object], said: str
) -> None:
    machine = Machine()
    with machine.installed():
        there = program(*SMALL, *words, "--device", "cuda", folder="cuda")
    machine.check()
    here = program(*SMALL, *words, "--backend", "triton", folder="cpu")
    assert there.status == here.status == 1
    assert said in there.log
    assert left(there, tmp_path / "cuda") == left(here, tmp_path / "cpu")


def checkpoints(place: Path) -> dict[int, dict[str, object]]:
    """What each finished epoch's holds of the network."""
    found = {}
    for path in place.rglob("*.pt"):
        stored = torch.load(path, weights_only=False)
        found[stored["epoch"] + 1] = {name: value.tolist() for name, value in stored["model_state_dict"].items()}
    return found


def test_a_device_lost_at_any_call_leaves_the_last_finished_epoch(program: Program, tmp_path: Path) -> None:
    words = [*SMALL, "-e", 3, "--checkpoint-interval", 1, "--device", "cuda"]

    def lost_at(call: int | None) -> tuple[int, Outcome, dict[int, dict[str, object]]]:
        machine = Machine()
        machine.devices[0].lose_at = call
        with machine.installed():
            outcome = program(*words, folder=f"lost {call}")
        machine.check()
        return machine.devices[0].calls, outcome, checkpoints(tmp_path / f"lost {call}")

    calls, straight, epochs = lost_at(None)
    assert straight.status == 0, straight.log
    assert set(epochs) == {1, 2, 3}
    _, outcome, found = lost_at(2)  # while the kernels are tried
    assert (outcome.status, found) == (2, {})
    assert "--device cuda cannot be used: AcceleratorError: CUDA error: uncorrectable ECC error" in outcome.log
    for share in (0.4, 0.55, 0.7, 0.85, 0.97):
        _, outcome, found = lost_at(round(share * calls))
        assert outcome.status == 3, outcome.log
        assert "the device is lost (CUDA error: uncorrectable ECC error encountered)" in outcome.log
        assert max(found, default=0) == len(re.findall(r"Epoch \d/3", outcome.log))
        assert all(parameters == epochs[epoch] for epoch, parameters in found.items())


def test_a_frame_that_memory_does_not_hold_is_drawn_in_parts(program: Program, tmp_path: Path) -> None:
    found, memory = [], 2**30
    for little in (False, True):
        machine = Machine(memory=memory)
        with machine.installed():
            outcome = program(*SMALL, "-e", 1, "--device", "cuda", folder=str(little))
        machine.check()
        assert outcome.status == 0, outcome.log
        assert ("Out of memory while drawing: going on with" in outcome.log) == little
        found.append(left(outcome, tmp_path / str(little)))
        memory = machine.devices[0].memory.peak - 512
    assert found[0] == found[1]


@pytest.mark.parametrize("cuda", [{"memory": 4096}], indirect=True)
def test_a_network_that_memory_does_not_hold_ends_in_a_sentence(on_cuda: Callable[..., Outcome]) -> None:
    outcome = on_cuda()
    assert outcome.status == 3
    assert "out of memory: a smaller --chunk-size or --batch-size needs less" in outcome.log
    assert "Traceback" not in outcome.log


def test_the_second_device_alone_is_used(on_cuda: Callable[..., Outcome], cuda: Machine) -> None:
    outcome = on_cuda("--device", "cuda:1")
    assert outcome.status == 0, outcome.log
    assert "Backend: triton on cuda:1" in outcome.log
    assert CAPTURED in outcome.log
    assert cuda.devices[1].touched
    assert not cuda.devices[0].touched


@pytest.mark.parametrize("cuda", [{"capability": one} for one in ((8, 0), (10, 0))], indirect=True)
def test_newer_devices_take_triton(on_cuda: Callable[..., Outcome]) -> None:
    assert "Backend: triton on cuda:0" in on_cuda("-e", 1).log


@pytest.mark.parametrize("cuda", [{"capability": one} for one in ((7, 0), (7, 5))], indirect=True)
def test_older_devices_take_the_compiler(on_cuda: Callable[..., Outcome], cuda: Machine) -> None:
    outcome = on_cuda("--device", "auto")
    assert outcome.status == 0, outcome.log
    version = "{}.{}".format(*cuda.devices[0].capability)
    assert f"Backend: compile on cuda:0 (the GPU's compute capability {version} is below 8.0" in outcome.log
    assert CAPTURED in outcome.log
    assert set(cuda.launches) >= {"step", "evaluate"}


@pytest.mark.parametrize("cuda", [{"capability": (6, 1)}], indirect=True)
def test_the_oldest_take_the_reference(on_cuda: Callable[..., Outcome], cuda: Machine) -> None:
    outcome = on_cuda("--device", "auto", "-e", 2)
    assert outcome.status == 0, outcome.log
    assert "Backend: eager on cuda:0" in outcome.log
    assert not cuda.launches
    refused = on_cuda("--backend", "compile", folder="compile")
    assert refused.status == 2
    assert "torch.compile needs compute capability 7.0, and the GPU's is 6.1; give --backend eager" in refused.log


@pytest.mark.parametrize("cuda", [{"architectures": ("sm_70", "sm_80")}], indirect=True)
def test_a_device_that_torch_has_no_code_for_is_no_device(on_cuda: Callable[..., Outcome]) -> None:
    refused = on_cuda()
    assert refused.status == 2
    assert "no kernel image is available" in refused.log
    outcome = on_cuda("--device", "auto", "-s", "[300]", "-e", 1, folder="auto")
    assert outcome.status == 0, outcome.log
    assert "Backend: eager on cpu" in outcome.log  # too wide for the CPU's kernels, which take long to compile
    assert "no kernel image is available" in outcome.log


def test_a_thread_that_waits_for_a_frame_is_in_no_captures_way(on_cuda: Callable[..., Outcome], cuda: Machine) -> None:
    event = torch.cuda.Event()
    event.record()
    answers: list[bool] = []
    cuda.meanwhile = lambda: answers.append(event.query() or event.query())
    outcome = on_cuda()
    assert answers == [True]
    assert CAPTURED in outcome.log


@pytest.mark.slow
def test_two_processes_train_on_a_device_each(program: Program, tmp_path: Path, small_image: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "TRITON_INTERPRET": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    words = [*SMALL, "-e", 3, "-i", small_image, "--device", "auto", "-o", tmp_path / "r", "--snapshot-dir", tmp_path]
    members = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.simulated.python", "-m", "draw_poly.cli", *map(str, words)],
            env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, cwd=Path(__file__).parents[2],
            stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    logs = [member.communicate(timeout=300)[1] for member in members]
    assert [member.returncode for member in members] == [0, 0], logs
    assert "Backend: triton on cuda:0" in logs[0]
    assert "Processes: 2" in logs[0]
    alone = program(*SMALL, "-e", 3, "--backend", "eager", folder="alone")
    losses = [[float(one) for one in re.findall(r"Combined Loss: ([\d.]+)", log)] for log in (logs[0], alone.log)]
    assert len(losses[0]) == 3
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
