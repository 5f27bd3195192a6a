"""What the tests share: small images, and the program run as a user runs it.

The suite sees no GPU, whether there is one or not: Triton's kernels are interpreted. The tests that need one run in a
process of their own, `pytest --gpu`, which `tests/test_gpu_suite.py` starts where there is one.

PyTorch is imported where it is used: the process that hands tests to the workers has no need of it.
"""

import csv
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from draw_poly import cli
from tests.processes import Forked, Start, begun

if TYPE_CHECKING:
    from tests.simulated import Machine

GOLDEN = Path(__file__).parent / "golden"
INTERPRETED = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
# What hides GPUs, and where a process that runs their tests finds what was there before.
VISIBLE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
BEFORE = "DRAW_POLY_TESTS_"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--gpu", action="store_true", help="run the tests that need a GPU, and no others")
    parser.addoption("--fuzz", type=int, default=40, help="damaged files of each kind of image; `-m slow` runs them")


def pytest_configure(config: pytest.Config) -> None:
    """Chosen before any kernel is imported, and before torch looks for a device."""
    if config.getoption("--gpu"):
        config.option.markexpr = config.option.markexpr.replace("not slow", "")  # there is no other time for those
        os.environ.update(with_gpus(os.environ))
        for name in ("TRITON_INTERPRET", *(name for name in VISIBLE if not os.environ.get(name))):
            os.environ.pop(name, None)
        return
    os.environ["TRITON_INTERPRET"] = "1"
    for name in VISIBLE:
        os.environ.setdefault(BEFORE + name, os.environ.get(name, ""))
        os.environ[name] = ""


def with_gpus(environment: "os._Environ[str] | dict[str, str]") -> dict[str, str]:
    """An environment as it was before the suite hid the GPUs."""
    found = {name: value for name, value in environment.items() if not name.startswith(BEFORE)}
    for name in VISIBLE:
        if BEFORE + name in environment:
            found[name] = environment[BEFORE + name]
    return found


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = bool(config.getoption("--gpu"))
    left_out = [item for item in items if (item.get_closest_marker("gpu") is not None) != chosen]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture
def fuzz(request: pytest.FixtureRequest) -> int:
    """How many damaged files of each kind to try."""
    return int(request.config.getoption("--fuzz"))


def untimed(table: Path) -> list[dict[str, str]]:
    """The rows of a run's `metrics.csv` without the time that its epochs took."""
    with table.open(newline="") as file:
        return [{name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(file)]


@dataclass
class Outcome:
    status: int
    log: str


Program = Callable[..., Outcome]


def slow(*values: object) -> Any:
    """A row that is left to `pytest -m slow`."""
    return pytest.param(*values, marks=pytest.mark.slow)


def rows(everything: Iterable[tuple[Any, ...]], quick: Sequence[tuple[Any, ...]]) -> list[Any]:
    """A grid's rows: slow are those that are not among the quick ones, which show a case of each kind."""
    return [pytest.param(*row) if row in quick else slow(*row) for row in everything]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    # Tests run side by side, one to a core.
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _compiler_forgets() -> Iterator[None]:
    # A program compiles its step once; many tests in one process would reach the compiler's limit of variants.
    yield
    if dynamo := sys.modules.get("torch._dynamo"):
        dynamo.reset()


@pytest.fixture(autouse=True)
def _exact_regions(request: pytest.FixtureRequest) -> Iterator[None]:
    # Of every network that a test's runs have saved, once all is as it was before the test.
    yield
    if place := request.node.funcargs.get("tmp_path"):
        for path in sorted(place.rglob("*.pt")):
            from tests.kernels.planar import check_checkpoint

            check_checkpoint(path)


@pytest.fixture(autouse=True, scope="session")
def _cheaper() -> Iterator[None]:
    from tests.cheaper import compiled_by_one
    from tests.interpreter import patch_once

    with pytest.MonkeyPatch.context() as patch, compiled_by_one():
        if os.environ.get("TRITON_INTERPRET") and importlib.util.find_spec("triton"):
            patch_once(patch)
        yield


@pytest.fixture
def sketches() -> Iterator[None]:
    """Plots are sketches in the runs of a test; a file that overrides this has them drawn."""
    from tests.cheaper import PLOTS, sketch

    with pytest.MonkeyPatch.context() as patch:
        for name in PLOTS:
            patch.setattr(name, sketch)
        yield


@pytest.fixture
def small_image(tmp_path: Path) -> Path:
    """An image of 23 x 17 pixels: odd sizes, more than a test's points."""
    y, x = np.mgrid[:17, :23]
    path = tmp_path / "small.png"
    Image.fromarray(((x * 11 + y * 5) % 256).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def pure(tmp_path: Path) -> Path:
    """An image of 40 x 30 pixels: red, green and blue fields, between them pixels of no class."""
    pixels = np.full((30, 40, 3), 90, np.uint8)
    pixels[2:14, 2:18], pixels[2:14, 22:38], pixels[16:29, 2:38] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    path = tmp_path / "pure.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def cuda(request: pytest.FixtureRequest) -> "Iterator[Machine]":
    """Two simulated CUDA devices, of compute capability 9.0 unless parametrised; the test fails that misuses them."""
    from tests.simulated import Machine
    from tests.simulated.native import compiler

    if compiler(Path("x.cpp")) is None:
        pytest.skip("no C++ compiler")
    machine = Machine(**getattr(request, "param", {}))
    with machine.installed():
        yield machine
    machine.check()


@pytest.fixture(params=["forked", slow("begun")])
def start(request: pytest.FixtureRequest) -> Start:
    """Begins the program in a process of its own."""
    return Forked if request.param == "forked" else begun


@pytest.fixture
def program(
    tmp_path: Path,
    small_image: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    sketches: None,
) -> Program:
    """Runs the command line in a folder of its own on the small image; words given later win.

    An epoch is a visit, whatever the time, unless the test sets `VISIT` to something else.
    """
    from draw_poly.engine.training import pace
    from tests.epochs import SINGLE

    monkeypatch.setattr(pace, "VISIT", SINGLE)

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
