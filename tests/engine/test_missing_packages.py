"""Packages that a container of a GPU cluster may lack: what they make is left out or made otherwise, and said."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Program

ROOT = Path(__file__).parents[2]
# Run in a process of its own, whose imports fail as if nothing of that name were installed.
WITHOUT = """
import sys
for name in {missing!r}:
    sys.modules[name] = None
from draw_poly import cli
sys.exit(cli.main(sys.argv[1:]))
"""


def words_for(image: Path, place: Path) -> list[object]:
    base = ["-i", image, "-s", "[4]", "-p", 100, "-b", 32, "-e", 2, "--seed", 1, "--device", "cpu"]
    return [*base, "--backend", "eager", "-o", place, "--snapshot-dir", place / "snap"]


def run_without(missing: list[str], image: Path, place: Path, *words: object) -> "subprocess.CompletedProcess[str]":
    base = [*words_for(image, place), *words]
    command = [sys.executable, "-c", WITHOUT.format(missing=missing), *(str(word) for word in base)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_without_av_there_is_no_film_and_without_isal_zlib_writes_the_frames(tmp_path: Path, small_image: Path) -> None:
    outcome = run_without(["av", "isal"], small_image, tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    warned = [line for line in outcome.stderr.splitlines() if " - WARNING - " in line]
    assert len(warned) == 2
    assert "python -m pip install isal" in warned[0]
    assert "There will be no film: PyAV, which encodes the film, cannot be loaded" in warned[1]
    assert not list(tmp_path.glob("*.mp4"))
    frames = sorted((tmp_path / "snap").iterdir())
    assert [Image.open(frame).convert("RGB").size for frame in frames] == [(69, 17)] * 3
    (settings,) = tmp_path.glob("*/config.json")
    assert json.loads(settings.read_text())["settings"]["no_film"] is True


@pytest.mark.slow
def test_a_film_alone_needs_av(tmp_path: Path, small_image: Path) -> None:
    outcome = run_without(["av"], small_image, tmp_path, "--snapshot-format", "none")
    assert outcome.returncode == 2
    assert "--snapshot-format none keeps the film alone, but PyAV" in outcome.stderr
    assert "Traceback" not in outcome.stderr


@pytest.mark.slow
def test_a_run_that_had_no_film_gets_one_where_av_is(tmp_path: Path, small_image: Path, program: Program) -> None:
    assert run_without(["av"], small_image, tmp_path, "--save-interval", 1).returncode == 0
    outcome = program(*words_for(small_image, tmp_path), "-e", 4, "--resume", tmp_path)
    assert outcome.status == 0, outcome.log
    from draw_poly.engine.record.film import count_frames

    (film,) = tmp_path.glob("*.mp4")
    assert count_frames(film) == 5


@pytest.mark.slow
def test_ffmpeg_is_not_loaded_before_it_is_needed() -> None:
    code = "import sys, draw_poly.cli, draw_poly.engine.run; sys.exit('av' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
