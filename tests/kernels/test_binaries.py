"""Every configuration of the Triton kernels compiles to machine code for every target, without a GPU."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
# Layers of up to 16 neurons hold all they need in registers; wider ones may spill.
NARROW = ("[10]*8", "[16]*12", "[7,12,5]", "[10]*100", "update", "evaluate [5]*40")


@pytest.mark.slow
@pytest.mark.parametrize("target", ["sm_80", "sm_90", "sm_100", "gfx942"])
def test_every_configuration_compiles_and_narrow_ones_spill_nothing(target: str) -> None:
    # A process of its own: in this one, kernels are interpreted.
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "benches.binaries", "--json", "--targets", target],
        capture_output=True, text=True, env=environment, cwd=Path(__file__).parents[2], check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["binaries"][target]
    assert len(found) >= 30
    spilling = {
        name: binary["spilled"]
        for name, binaries in found.items()
        for binary in binaries
        if binary["spilled"] and any(part in name for part in NARROW)
    }
    assert not spilling
    assert not any(binary["approximate"] for binaries in found.values() for binary in binaries)
    assert all(binary["registers"] > 0 for binaries in found.values() for binary in binaries)
