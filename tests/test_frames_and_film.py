"""Frames and film, as flags ask for them: of which epochs, how large, kept or not."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from draw_poly.engine.record.encoder import FrameWriter
from draw_poly.engine.record.film import count_frames
from tests.conftest import Program


@pytest.mark.parametrize(("width", "height"), [(2, 1), (7, 3), (33, 12)])
def test_odd_and_tiny_images_train_and_draw(program: Program, tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "we[i]rd * é.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width), np.uint8)).save(path)
    outcome = program("-i", path, "-p", 1, "--snapshot-format", "jpg")
    assert outcome.status == 0, outcome.log
    frames = list((tmp_path / "out" / "snapshots").glob("*.jpg"))
    assert len(frames) == 5
    assert Image.open(frames[0]).size == (3 * width, height)


def test_no_film_means_no_film_and_a_later_resume_films_the_frames(program: Program, tmp_path: Path) -> None:
    assert program("--seed", 1, "-e", 3, "--no-film").status == 0
    assert not list((tmp_path / "out").rglob("*.mp4"))
    assert program("--seed", 1, "-e", 5, "--resume", tmp_path / "out" / "results").status == 0
    assert count_frames(next((tmp_path / "out").rglob("*.mp4"))) == 6


def test_the_film_alone_shows_every_frame_and_goes_on(program: Program, tmp_path: Path) -> None:
    words = ["--seed", 1, "--snapshot-format", "none", "--colour-regions"]
    assert program(*words, "-e", 3).status == 0
    place = tmp_path / "out"
    assert program(*words, "-e", 6, "--resume", place / "results").status == 0
    assert count_frames(next(place.rglob("*.mp4"))) == 7
    assert not list((place / "snapshots").iterdir())
    refused = program(*words, "--no-film", folder="none")
    assert refused.status == 2
    assert "--snapshot-format none keeps the film alone, but --no-film was given too" in refused.log


def test_frames_are_no_larger_than_asked_for(program: Program, tmp_path: Path) -> None:
    assert program("--seed", 1, "--frame-size", 12, "-e", 1).status == 0
    frames = sorted((tmp_path / "out" / "snapshots").iterdir())
    assert [Image.open(path).size for path in frames] == [(36, 9)] * 2
    (smoothed,) = (tmp_path / "out" / "results").glob("*smoothed.png")
    assert Image.open(smoothed).size == (24, 9)


def test_frames_that_no_film_can_be_made_from_are_refused(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "draw_poly.engine.prepare.prepare.can_be_filmed", lambda width, height: width * height <= 36 * 10
    )
    refused = program("--frame-size", 20)
    assert refused.status == 2
    assert "--frame-size was 20" in refused.log
    assert "give at most 12, or --no-film" in refused.log
    assert not (tmp_path / "out").exists()
    assert program("--frame-size", 12, "-e", 1).status == 0
    assert program("--frame-size", 20, "-e", 1, "--no-film", folder="without").status == 0


def test_frames_are_dropped_and_counted_while_the_encoders_are_behind(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def behind(_: FrameWriter) -> bool:
        asked.append(True)
        return len(asked) % 3 != 0

    monkeypatch.setattr(FrameWriter, "behind", property(behind))
    outcome = program("--seed", 1, "-e", 10, "--drop-frames")
    assert outcome.status == 0
    drawn = sorted(int(path.stem[-6:]) for path in (tmp_path / "out" / "snapshots").iterdir())
    assert drawn == [0, 3, 6, 9, 10]  # the last epoch's is never dropped
    assert count_frames(next((tmp_path / "out").rglob("*.mp4"))) == 5
    assert "Frames dropped because the encoders were behind: 6" in outcome.log
    (metrics,) = (tmp_path / "out" / "results").glob("*/metrics.csv")
    seen = [int(row["epoch"]) for row in csv.DictReader(metrics.open()) if row["polytopes"]]
    assert seen == [3, 6, 9, 10]
    asked.clear()
    patient = program("--seed", 1, "-e", 10, folder="patient")
    assert not asked
    assert "Frames dropped" not in patient.log
    assert len(list((tmp_path / "patient" / "snapshots").iterdir())) == 11


def test_a_sparser_and_sparser_film_goes_on_where_it_was(program: Program, tmp_path: Path) -> None:
    words = ["--seed", 1, "--save-interval", "log", "-p", 20]
    assert program(*words, "-e", 123).status == 0
    assert program(*words, "-e", 150, "--resume", tmp_path / "out" / "results").status == 0
    assert program(*words, "-e", 150, folder="straight").status == 0
    names = [sorted(path.name for path in (tmp_path / place / "snapshots").iterdir()) for place in ("out", "straight")]
    assert names[0] == names[1]
    assert len(names[0]) < 151
    films = [count_frames(next((tmp_path / place).rglob("*.mp4"))) for place in ("out", "straight")]
    assert films == [len(names[0])] * 2
    for said in ("0", "-3", "often", "1.5"):
        refused = program("--save-interval", said, folder="refused")
        assert refused.status == 2
        assert "a whole number" in refused.log


def test_the_log_says_what_a_frame_took(program: Program) -> None:
    log = program("--seed", 1, "-e", 2).log
    found = re.findall(r"Frame @ epoch (\d): (\d+) evaluations for 391 pixels, (\d+) polytopes", log)
    assert [row[0] for row in found] == ["0", "1", "2"]
    assert all(0 < int(row[1]) <= 391 and int(row[2]) > 0 for row in found)
