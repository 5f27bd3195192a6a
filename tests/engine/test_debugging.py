import os
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from draw_poly import engine
from draw_poly.engine import debugging
from draw_poly.engine.backends.cpu import Cpu
from draw_poly.engine.backends.reference import Eager
from draw_poly.engine.config import Config
from draw_poly.engine.data import image
from draw_poly.engine.debugging import Phases
from draw_poly.engine.model.inspection import Inspector
from draw_poly.engine.prepare import memory
from draw_poly.engine.processes import Group
from draw_poly.engine.training.fresh import fresh_state
from draw_poly.kernels import support
from tests.conftest import Program, untimed

CPU = torch.device("cpu")
PICTURE = image.Picture(np.arange(30, dtype=np.uint8).repeat(30).reshape(30, 30), kind="PNG, L")
SPLIT = image.split(PICTURE, 101, 40, np.random.RandomState(2))


def config(**words: object) -> Config:
    return Config("x", "[5]*2", 1, points=101, batch_size=40, **words)  # type: ignore[arg-type]


def test_the_machine_is_told_with_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debugging, "PACKAGES", ("numpy", "no-such-package"))
    monkeypatch.setattr(memory, "total_memory", lambda: 3 * 2**29)
    monkeypatch.setattr(os, "environ", {"OMP_NUM_THREADS": "3", "SECRET": "hidden", "LANG": "de"})
    versions, _, threads, total, environment = debugging.machine()
    assert f"draw-poly {engine.__version__}, Python 3." in versions
    assert f"numpy {np.__version__}, no-such-package is not installed" in versions
    assert threads.startswith("Threads: 1 of torch, on ")
    assert total == "Memory: 1.5 GiB"
    assert environment == "Environment: LANG='de', OMP_NUM_THREADS='3'"
    monkeypatch.setattr(os, "environ", {"SECRET": "hidden"})
    assert list(debugging.machine())[-1] == "Environment: nothing that matters is set"


def test_each_backend_that_is_left_aside_has_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "interpreted", lambda: False)
    monkeypatch.setattr("draw_poly.engine.backends.select.missing_compiler", lambda device: "there is no compiler")
    wide = Config("x", "[300]", 1)
    said = list(debugging.backends(wide, CPU, Eager, "why"))
    assert [line.split(" ")[1] for line in said] == ["cpu", "triton", "compile"]
    assert "it cannot run here, since layer width 300 is above 256" in said[0]
    assert "it cannot run here, since layer width 300 is above 64" in said[1]
    assert "it cannot run here, since there is no compiler" in said[2]
    said = list(debugging.backends(config(), CPU, Cpu, "it is fast"))
    assert "Triton kernels need a GPU" in said[0]
    assert said[2] == "Backend eager is left aside: cpu was chosen, it is fast"
    said = list(debugging.backends(config(backend="eager"), CPU, Eager, "asked for"))
    assert said[0] == "Backend cpu is left aside: eager was chosen, asked for"


def test_a_gpu_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = SimpleNamespace(name="a GPU", total_memory=80 * 2**30, multi_processor_count=132, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: found)
    said = list(debugging.backends(config(), torch.device("cuda"), Eager, "nothing else can be launched"))
    assert said[0] == "Device: a GPU, 80.0 GiB, 132 processors"
    assert said[1] == "Backend cpu is left aside: it cannot run here, since the CPU kernels do not run on cuda"
    assert said[2] == "Backend triton is left aside: eager was chosen, nothing else can be launched"


def test_the_image_is_told_as_it_was_found() -> None:
    first, second = debugging.picture(PICTURE, SPLIT)
    assert first.startswith("Image: PNG, L, 30 x 30 pixels, gray values from 0 to 29, mean 14.5, 30 different, SHA-256")
    assert first.endswith(PICTURE.digest)
    assert second == "Points: 101 train, 40 validate, 759 of the image are not used"


@pytest.mark.parametrize(
    ("kind", "way"), [(Cpu, "a block of pixels at once on each thread"), (Eager, "at most 131072 at once")]
)
def test_batch_visit_and_chunk_are_told(kind: type[Cpu] | type[Eager], way: str) -> None:
    given = config(kolmogorov_shape="[4]", kolmogorov_weight=0.1, kolmogorov_bins=7)
    made = kind(fresh_state(given, torch.Generator().manual_seed(2)), given)
    made.state.main.steps = 6
    batch, visit, chunk, main, predictor, threads = debugging.work(given, SPLIT, (30, 20), made, Group(size=2))
    assert batch == (
        "Batch: 40 points a step, shared by 2 processes: inputs (2, 40), targets (1, 40), activations of 1.7 KiB, "
        "float32"
    )
    assert visit == "Visit: an epoch visits each training point once, in a fresh order: 3 steps, the last of 21 points"
    assert chunk.startswith("Chunk: a frame of 30 x 20 = 600 pixels is evaluated ")
    assert way in chunk
    assert main == (
        "Parameters of the network: 51 in layers 2-5-5-1, adam with 2 moments, learning rate 0.001, 6 steps taken"
    )
    assert predictor.startswith("Parameters of the predictor: 51 in layers 3-4-7, adam")
    assert threads == "Threads: 1 of torch while training on cpu"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    ticks = count()
    monkeypatch.setattr("draw_poly.engine.debugging.time.perf_counter", lambda: float(next(ticks)))
    return ticks


def test_a_phase_within_another_counts_for_itself_alone(clock: Iterator[int]) -> None:
    phases = Phases(timed=True)  # 0
    with phases("outer"):  # 1 to 6
        for _ in range(2):
            with phases("inner"):  # 2 to 3, 4 to 5
                pass
    with pytest.raises(KeyError), phases("outer"):  # 7 to 8
        raise KeyError
    assert list(phases.told()) == [  # 9
        "Phase inner: 2.000 s in 2, 1000.000 ms each",
        "Phase outer: 4.000 s in 2, 2000.000 ms each",
        "Phases: 9.000 s in all, 3.000 s of it in none of them",
    ]


def test_phases_that_are_not_timed_ask_no_clock(clock: Iterator[int]) -> None:
    phases = Phases(timed=False)
    with phases("outer"), phases("inner"):
        pass
    assert list(phases.told()) == []
    assert next(clock) == 0


def rows(folder: Path) -> list[dict[str, str]]:
    (table,) = folder.glob("results/*/metrics.csv")
    return untimed(table)


def test_the_flag_tells_everything_and_changes_nothing(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--seed", 1, "--save-interval", 2, "--kolmogorov-shape", "[4]", "--kolmogorov-weight", 0.01]
    told = program(*words, "--debug", "--checkpoint-interval", 2, folder="told")
    assert told.status == 0, told.log
    lines = [line.split(" - DEBUG - ")[1] for line in told.log.splitlines() if " - DEBUG - " in line]
    kinds = [re.split(r"[:@]| is left| of | \d", line)[0].strip() for line in lines]
    frame = ["Layer"] * 4 + ["Predictor's layer"] * 2 + ["Gradient"]
    assert kinds[:14] == [
        "Versions", "Machine", "Threads", "Memory", "Environment", "Backend triton", "Backend compile", "Backend eager",
        "Image", "Points", "Batch", "Visit", "Chunk", "Parameters",
    ]  # fmt: skip
    assert kinds[14:16] == ["Parameters", "Threads"]
    assert kinds[16:37] == frame * 3
    assert [re.findall(r"@ epoch (\d)", line)[0] for line in lines[16:37:7]] == ["0", "2", "4"]
    phases = [re.sub(r"Phase (.*): .*", r"\1", line) for line in lines[37:-1]]
    assert phases == [
        "begin", "compile", "prepare", "draw", "look at the network", "train", "hand frames over",
        "wait for the epoch", "watch", "code networks", "smooth", "save checkpoints", "plot", "finish",
    ]  # fmt: skip
    assert lines[-1].startswith("Phases: ")

    def forbidden(*words: object, **named: object) -> None:
        raise AssertionError("found out without the flag")

    for name in ("machine", "backends", "picture", "work"):
        monkeypatch.setattr(debugging, name, forbidden)
    monkeypatch.setattr(Phases, "_measured", forbidden)
    for name in ("__init__", "look"):
        monkeypatch.setattr(Inspector, name, forbidden)
    silent = program(*words, folder="silent")
    assert silent.status == 0, silent.log
    assert "DEBUG" not in silent.log
    assert rows(tmp_path / "told") == rows(tmp_path / "silent")
    (ours,), (theirs,) = (sorted((tmp_path / name).glob("results/weights_*")) for name in ("told", "silent"))
    assert ours.read_bytes() == theirs.read_bytes()
