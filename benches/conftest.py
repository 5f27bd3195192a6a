"""`pytest benches`: how entries reach pytest-benchmark, and its file.

The figures are kept in `results/suite.local.json` unless `--benchmark-json` names another file.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benches.entries import CLOCK
from benches.method import provenance
from benches.suite import Absent, Group, Suite
from draw_poly.engine.backends.select import find_device

RESULTS = Path(__file__).parent / "results"
SUITE = pytest.StashKey[Suite]()
Entry = Callable[[Group, str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--quick`."""
    parser.addoption(
        "--quick", action="store_true", help="every group with few turns and nothing to compile, under a minute: it "
        "shows that the suite runs, and judges no time",
    )  # fmt: skip


def pytest_xdist_auto_num_workers() -> int:
    """None: what is timed is alone on the machine."""
    return 0


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Keeps the JSON where no other place was given; a compiler's caches of earlier runs would hide what it takes."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp(prefix="benches-")
    if config.option.benchmark_json is None and not config.option.collectonly:
        name = "quick.local.json" if config.option.quick else "suite.local.json"
        RESULTS.mkdir(exist_ok=True)
        config.option.benchmark_json = str(RESULTS / name)


def pytest_unconfigure() -> None:
    """Removes the compiler's cache."""
    shutil.rmtree(os.environ.pop("TORCHINDUCTOR_CACHE_DIR"), ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Adds what was measured, on what, and who was not there."""
    suite = config.stash.get(SUITE, None)
    found = provenance(device()) | {"mode": "quick" if config.option.quick else "full"}
    machine_info["provenance"] = found | {"absent": suite.absent if suite else {}}


def device() -> torch.device:
    """Where contenders run: the GPU, if there is one."""
    return find_device("auto")


@pytest.fixture(scope="session")
def suite(pytestconfig: pytest.Config) -> Iterator[Suite]:
    """The run."""
    made = Suite(device(), pytestconfig.option.quick)
    pytestconfig.stash[SUITE] = made
    with made.resources:
        yield made


@pytest.fixture
def entry(benchmark: Any, suite: Suite) -> Entry:
    """Tells a contender's rounds to pytest-benchmark; one that is absent is skipped, a wrong one fails."""

    def tell(group: Group, name: str) -> None:
        try:
            figure = suite.figure(group, name)
        except Absent as reason:
            pytest.skip(str(reason))
        rounds = iter(figure.timing.rounds)
        benchmark.group = group.title
        benchmark.extra_info |= {
            "contender": name,
            "threads": figure.timing.threads,
            "calls": figure.timing.calls,
            "first_call_seconds": figure.timing.first,
            "limit_seconds": figure.limit,
            "times_the_limit": figure.timing.median / figure.limit,
            **figure.info,
        }
        benchmark.pedantic(lambda: CLOCK.pass_by(next(rounds)), rounds=len(figure.timing.rounds))

    return tell
