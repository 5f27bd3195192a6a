"""Packages that a container of a GPU cluster may lack: what they make is left out or made otherwise, and said."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Program
from tests.processes import ROOT, Start, begun


def words_for(image: Path, place: Path) -> list[object]:
    base = ["-i", image, "-s", "[4]", "-p", 100, "-b", 32, "-e", 2, "--seed", 1, "--device", "cpu"]
    return [*base, "--backend", "eager", "-o", place, "--snapshot-dir", place / "snap"]


def run_without(missing: list[str], start: Start, image: Path, place: Path, *words: object) -> tuple[int | None, str]:
    """The status of a run to which these packages are not installed, and what it said."""
    with start([str(word) for word in (*words_for(image, place), *words)], missing=missing) as running:
        said = running.communicate()[1]
    return running.returncode, said


def test_without_av_there_is_no_film_and_without_isal_zlib_writes_the_frames(
    start: Start, tmp_path: Path, small_image: Path
) -> None:
    status, said = run_without(["av", "isal"], start, small_image, tmp_path)
    assert status == 0, said
    warned = [line for line in said.splitlines() if " - WARNING - " in line]
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
    status, said = run_without(["av"], begun, small_image, tmp_path, "--snapshot-format", "none")
    assert status == 2
    assert "--snapshot-format none keeps the film alone, but PyAV" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_run_that_had_no_film_gets_one_where_av_is(tmp_path: Path, small_image: Path, program: Program) -> None:
    assert run_without(["av"], begun, small_image, tmp_path, "--save-interval", 1)[0] == 0
    outcome = program(*words_for(small_image, tmp_path), "-e", 4, "--resume", tmp_path)
    assert outcome.status == 0, outcome.log
    from draw_poly.engine.record.film import count_frames

    (film,) = tmp_path.glob("*.mp4")
    assert count_frames(film) == 5


@pytest.mark.slow
def test_ffmpeg_is_not_loaded_before_it_is_needed() -> None:
    code = "import sys, draw_poly.cli, draw_poly.engine.run; sys.exit('av' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
