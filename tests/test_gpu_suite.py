"""The tests that need a GPU, on a machine that has one: in a process that sees it, and compiles for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import with_gpus

ROOT = Path(__file__).parents[1]
SEES_ONE = "import sys, torch; sys.exit(not torch.cuda.is_available())"


def sees_a_gpu() -> bool:
    import torch

    built = torch.version.cuda is not None or torch.version.hip is not None
    return built and subprocess.run([sys.executable, "-c", SEES_ONE], env=environment()).returncode == 0


def environment() -> dict[str, str]:
    found = with_gpus(os.environ)
    for name in list(found):
        # An empty list of visible devices would hide all; xdist's workers have variables of their own.
        if (name.endswith("_VISIBLE_DEVICES") and not found[name]) or name.startswith("PYTEST_"):
            del found[name]
    return {name: value for name, value in found.items() if name != "TRITON_INTERPRET"}


@pytest.mark.slow
def test_the_tests_that_need_a_gpu_pass_where_there_is_one() -> None:
    if not sees_a_gpu():
        pytest.skip("no GPU that torch can use")
    command = [sys.executable, "-m", "pytest", "--gpu", "-n", "0", "-q", "tests"]
    outcome = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stdout[-20000:] + outcome.stderr[-2000:]
