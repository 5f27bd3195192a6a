"""How a run comes to its first epoch: with nothing imported that it does not use by then."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import slow

ROOT = Path(__file__).parents[1]
# Each a tenth of a second or more. Of Numba: what it compiles with.
UNUSED = (
    "numba.np.linalg",
    "scipy.linalg",
    "scipy.ndimage",
    "matplotlib",
    "triton",
    "torch._dynamo",
    "torch._inductor",
)


def imported_before_the_first_epoch(words: list[object]) -> set[str]:
    command = [sys.executable, "-X", "importtime", str(ROOT / "cli.py"), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    before, found, _ = done.stderr.partition("Epoch 1/1 - ")
    assert found
    return set(re.findall(r"^import time: .*\| +(\S+)$", before, re.MULTILINE))


@pytest.mark.parametrize("film", [True, slow(False)])
def test_what_a_run_does_not_use_is_not_imported(film: bool, small_image: Path, tmp_path: Path) -> None:
    words = ["-i", small_image, "-s", "[4]", "-p", 50, "-b", 20, "-e", 1, "--seed", 1, "--device", "cpu", "--overwrite"]
    words += ["-o", tmp_path, "--snapshot-dir", tmp_path, "--kolmogorov-shape", "[3]", "--kolmogorov-weight", "0.1"]
    words += [] if film else ["--no-film"]
    found = imported_before_the_first_epoch(words)
    if "numba.np.linalg" in found:  # once, where kernels had to be compiled
        found = imported_before_the_first_epoch(words)
    assert {"torch", "numba", "numpy"} <= found
    assert ("av" in found) == film
    assert not found.intersection(UNUSED)
