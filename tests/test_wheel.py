"""The wheel, installed beside a package that has our folders' names for its own: each works, and goes alone."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
THEIRS = {"kernels/__init__.py": "WHOSE = 'theirs'\n", "engine/__init__.py": "", "engine/run.py": "", "cli.py": ""}
OPERATOR = """
import torch
from draw_poly.kernels.operator import mlp
generator = torch.Generator().manual_seed(1)
parameters = torch.randn(2 * 5 + 5 + 5 + 1, generator=generator)
print(mlp(parameters, torch.rand((2, 7), generator=generator), [5]).shape[-1])
import kernels
assert kernels.WHOSE == "theirs"
"""


class Installed:
    """A Python environment of its own, which has this one's libraries but not its `draw_poly`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        self.python = folder / "bin" / "python"
        (self.packages,) = folder.glob("lib/python*/site-packages")
        # A path in a .pth file brings packages along, and none of the .pth files beside them: no editable install.
        (self.packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def pip(self, *words: str | Path) -> None:
        self.run([sys.executable, "-m", "pip", "--python", self.python, "-q", *words], cwd=ROOT)

    def run(self, words: Sequence[str | Path], cwd: Path) -> str:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """The wheel of a copy of the sources, which a build leaves its traces in."""
    copy = tmp_path / "sources"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "build", "*.egg-info", "tests", "images")
    shutil.copytree(ROOT, copy, ignore=ignored)
    words: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        tmp_path,
        copy,
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = tmp_path.glob("*.whl")
    return found


@pytest.mark.slow
def test_the_wheel_lives_beside_packages_with_its_folders_names(wheel: Path, small_image: Path, tmp_path: Path) -> None:
    place = Installed(tmp_path / "environment")
    for name, text in THEIRS.items():
        (place.packages / name).parent.mkdir(exist_ok=True)
        (place.packages / name).write_text(text)
    place.pip("install", "--no-deps", "--no-index", "--ignore-installed", wheel)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    words: list[str | Path] = [
        "-i",
        small_image,
        "-s",
        "[3]*2",
        "-p",
        "50",
        "-b",
        "20",
        "-e",
        "2",
        "--seed",
        "1",
        "--device",
        "cpu",
    ]
    place.run([place.folder / "bin" / "draw-poly", *words], elsewhere)
    assert len(list((elsewhere / "results").glob("*.mp4"))) == 1
    assert place.run([place.python, "-c", OPERATOR], elsewhere) == "7\n"
    found = place.run([place.python, "-c", "from draw_poly import engine; print(engine.__file__)"], elsewhere)
    assert Path(found.strip()).is_relative_to(place.packages)

    place.pip("uninstall", "-y", "draw-poly")
    assert {name: (place.packages / name).read_text() for name in THEIRS} == THEIRS
    assert not list(place.packages.glob("draw_poly*/**/*.py"))  # what Numba compiled may stay
    assert place.run([place.python, "-c", "import kernels; print(kernels.WHOSE)"], elsewhere) == "theirs\n"


def test_every_folder_of_the_package_is_in_the_wheel() -> None:
    (text,) = re.findall(r"^packages = \[(\n.*?)\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL)
    listed = set(re.findall(r'"(.*?)"', text))
    folders = {path.parent for name in ("engine", "kernels") for path in (ROOT / name).rglob("*.py")}
    names = {".".join(["draw_poly", *folder.relative_to(ROOT).parts]) for folder in folders}
    assert listed == names | {"draw_poly"}


def test_a_checkout_that_is_not_installed_says_so(tmp_path: Path) -> None:
    words: list[str | Path] = [sys.executable, "-I", "-S", ROOT / "cli.py", "--version"]  # without what is installed
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install -e ." in done.stderr
