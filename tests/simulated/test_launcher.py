"""Triton's own launcher takes every kernel of ours, with its arguments, grid, shared memory and attributes."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.simulated.native import HERE, compiler

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed"),
    pytest.mark.skipif(compiler(HERE / "libcuda.c") is None, reason="no C compiler"),
]
EACH = ["task [7,12,5]", "update adam, dependent", "validate [7,12,5]", "evaluate edges [7,12,5]"]
DEPENDENT = 6  # CUDA's number of programmatic stream serialisation


def launches(*words: str) -> dict[str, list[dict[str, Any]]]:
    # A process of its own: in this one, kernels are interpreted.
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.simulated.launcher", *words],
        capture_output=True, text=True, env=environment, cwd=Path(__file__).parents[2], check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, list[dict[str, Any]]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("words", [["--only", *EACH], pytest.param([], marks=pytest.mark.slow)], ids=["each", "all"])
def test_what_a_gpu_would_be_told(words: list[str]) -> None:
    found = launches(*words)
    assert set(found) == set(EACH) if words else len(found) > 40
    for name, rows in found.items():
        assert rows, name
        for row in rows:
            assert not row["wrong"], (name, row)
            assert row["arguments"] >= 8
            assert row["stream"] == 7
            assert row["block"][0] in (32, 64, 128, 256, 512)
            assert row["shared"] <= 166_912  # the least of the devices that are compiled for
            assert row["attributes"] == [DEPENDENT] * name.endswith("dependent"), (name, row)
    kernels = {row["kernel"] for rows in found.values() for row in rows}
    assert kernels >= {"gradient_kernel", "update_kernel", "validate_kernel", "grid_kernel"}


@pytest.mark.slow
def test_a_driver_refuses_what_a_device_would(tmp_path: Path) -> None:
    program = """
import torch, triton, triton.language as tl
from tests.simulated.launcher import launching

@triton.jit
def kernel(p, n, T: tl.constexpr):
    tl.store(p + tl.arange(0, T), n)

with launching() as launches:
    one = torch.zeros(32)
    kernel[(2, 3)](one, 5, T=32)
    assert launches[0]["grid"] == [2, 3, 1] and not launches[0]["wrong"], launches
    for grid, words in (((1, 70000), {}), ((1,), {"num_warps": 64})):
        try:
            kernel[grid](one, 5, T=32, **words)
        except Exception as error:
            print(type(error).__name__, str(error)[:100])
        else:
            raise SystemExit("taken")
"""
    path = tmp_path / "program.py"
    path.write_text(program)
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, path], capture_output=True, text=True, env=environment | {"PYTHONPATH": str(root)}, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "the simulated driver refuses" in done.stdout
