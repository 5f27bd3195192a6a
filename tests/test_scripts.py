"""The scripts of `examples/` run, made small, and leave what they say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.processes import ROOT

EXAMPLES = ROOT / "examples"
# What makes each small, and the pictures that it leaves.
SMALL: dict[str, tuple[dict[str, str], list[str]]] = {
    "fit_and_film": ({"EPOCHS, EVERY": "6, 2"}, ["film.gif"]),
    "sweep_and_heat_map": ({"EPOCHS, SEEDS": "2, 1", "SHAPES, RATES": '["[3]", "[4]"], [1e-3, 3e-3]'}, ["heat.png"]),
    "regions_over_training": ({"EPOCHS, EVERY": "4, 2"}, ["regions.png"]),
    "bits_against_error": ({"EPOCHS, BINS": "2, [16, 4096]"}, ["bits.png"]),
}


def test_every_script_is_tested_and_has_cells() -> None:
    found = sorted(EXAMPLES.glob("*.py"))
    assert {path.stem for path in found} == set(SMALL)
    for path in found:
        text = path.read_text()
        assert text.startswith("# %% [markdown]\n# # ")
        assert text.count("\n# %%\n") >= 3


@pytest.mark.parametrize("name", SMALL)
def test_a_script_runs_and_leaves_its_picture(name: str, tmp_path: Path) -> None:
    values, pictures = SMALL[name]
    text = (EXAMPLES / f"{name}.py").read_text()
    for names, value in values.items():
        text, count = re.subn(rf"^{names} = .*$", f"{names} = {value}", text, flags=re.MULTILINE)
        assert count == 1
    script = tmp_path / "script.py"
    script.write_text(text)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    for picture in pictures:
        with Image.open(tmp_path / picture) as file:
            assert min(file.size) > 100
            if picture == "film.gif":
                assert file.n_frames == 4
