"""What the tests share: small images, and the program run as a user runs it."""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import cli
from tests.simulated import Machine
from tests.simulated.native import compiler

GOLDEN = Path(__file__).parent / "golden"
# Triton compiles for a GPU where there is one; else its interpreter runs the kernels, chosen before their first import.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
INTERPRETED = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")


@dataclass
class Outcome:
    status: int
    log: str


Program = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    # Tests run side by side, one to a core.
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _compiler_forgets() -> Iterator[None]:
    # A program compiles its step once; many tests in one process would reach the compiler's limit of variants.
    yield
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()


@pytest.fixture
def small_image(tmp_path: Path) -> Path:
    """An image of 23 x 17 pixels: odd sizes, more than a test's points."""
    y, x = np.mgrid[:17, :23]
    path = tmp_path / "small.png"
    Image.fromarray(((x * 11 + y * 5) % 256).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def cuda(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A simulated CUDA device, one of compute capability 9.0 unless parametrised; the test fails that misuses it."""
    if compiler(Path("x.cpp")) is None:
        pytest.skip("no C++ compiler")
    machine = Machine(**getattr(request, "param", {}))
    with machine.installed():
        yield machine
    if "kernels.gpu.partials" in sys.modules:  # whose tables are of this machine's memory
        sys.modules["kernels.gpu.partials"].layer_table.cache_clear()
    machine.check()


@pytest.fixture
def program(tmp_path: Path, small_image: Path, capsys: pytest.CaptureFixture[str]) -> Program:
    """Runs the command line in a folder of its own on the small image; words given later win."""

    def run(*words: object, folder: str = "out") -> Outcome:
        place = tmp_path / folder
        base = ["-i", small_image, "-s", "[5]*3", "-p", 100, "-b", 32, "-e", 4, "--device", "cpu"]
        base += ["-o", place / "results", "--snapshot-dir", place / "snapshots"]
        try:
            status = cli.main([str(word) for word in (*base, *words)])
        except SystemExit as stop:
            status = int(stop.code or 0)
        return Outcome(status, capsys.readouterr().err)

    return run
