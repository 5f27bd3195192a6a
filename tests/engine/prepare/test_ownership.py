"""Whose files are whose: nobody loses one, and nobody is sent away who need not be."""

import csv
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from draw_poly.engine.prepare import claim
from draw_poly.engine.record.film import count_frames
from draw_poly.engine.training.trainer import Launched, Trainer
from tests.conftest import Program
from tests.processes import Start, begun, wait_for, words_for

TERM = ["--kolmogorov-shape", "[4]", "--kolmogorov-weight", 0.1, "--kolmogorov-bins", 20]
RUN = "WzVdKjNfMTAwXzMyXzAuMDAxX2FkYW0="


def content_of(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def assert_kept(before: dict[str, bytes], place: Path) -> None:
    after = content_of(place)
    assert {name: after.get(name) == content for name, content in before.items()} == dict.fromkeys(before, True)


def inverted(image: Path, path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(255 - np.asarray(Image.open(image))).save(path)
    return path


def test_another_image_has_names_of_its_own_and_a_resume_finds_them(
    program: Program, tmp_path: Path, place: Path, small_image: Path
) -> None:
    words, other = ["--seed", 1], inverted(small_image, tmp_path / "other.png")
    namesake = inverted(small_image, tmp_path / "elsewhere" / small_image.name)
    assert program(*words).status == 0
    before = content_of(place)
    for image, number, told in ((other, 2, f"--input {small_image} there, {other} here"), (namesake, 3, "there")):
        outcome = program(*words, "-i", image)
        assert outcome.status == 0, outcome.log
        assert f'have "-{number}" in them' in outcome.log
        assert told in outcome.log
        assert_kept(before, place)
        results = place / "results"
        for name in (f"checkpoint_{RUN}_1-{number}_epoch_000003.pt", f"weights_{RUN}_1-{number}.txt"):
            assert (results / name).exists()
        stem = f"{image.name}_{RUN}_1-{number}"
        assert count_frames(results / f"{stem}.mp4") == 5
        resumed = program(*words, "-i", image, "-e", 6, "--resume", results)
        assert resumed.status == 0, resumed.log
        assert f"checkpoint_{RUN}_1-{number}_epoch_000003.pt" in resumed.log
        assert count_frames(results / f"{stem}.mp4") == 7
        rows = list(csv.DictReader((results / stem / "metrics.csv").open()))
        assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5, 6]
        assert_kept(before, place)
        before = content_of(place)
        refused = program(*words, "-i", image)
        assert refused.status == 2
        assert f"--resume {results}/checkpoint_{RUN}_1-{number}_epoch_000005.pt" in refused.log


def test_the_image_is_what_it_shows_however_one_gets_there(
    program: Program, tmp_path: Path, small_image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert program("--seed", 1).status == 0
    monkeypatch.chdir(tmp_path)
    again = program("--seed", 1, "-i", f"./{small_image.name}")
    assert again.status == 2
    assert "the same settings already" in again.log
    edited = inverted(small_image, small_image)
    outcome = program("--seed", 1)
    assert outcome.status == 0
    assert f"--input {edited} with other pixels there" in outcome.log


@pytest.mark.parametrize("words", [TERM, ["--save-interval", 2]])
def test_what_names_leave_out_gives_a_number_and_the_same_again_is_refused(
    program: Program, place: Path, words: list[object]
) -> None:
    assert program("--seed", 1).status == 0
    before = content_of(place)
    outcome = program("--seed", 1, *words)
    assert outcome.status == 0
    assert f"{words[0]} " in next(line for line in outcome.log.splitlines() if 'have "-2" in them' in line)
    assert_kept(before, place)
    before = content_of(place)
    for again in ([], words):
        refused = program("--seed", 1, *again)
        assert refused.status == 2
        assert "the same settings already" in refused.log
    assert_kept(before, place)
    resumed = program("--seed", 1, *words, "-e", 6, "--resume", place / "results")
    assert resumed.status == 0
    assert "_1-2_epoch_000003.pt" in resumed.log
    assert "Changing" not in resumed.log
    assert program("--seed", 1, *words, "-e", 2, "--overwrite").status == 0
    after = content_of(place)
    assert {name: after.get(name) for name in before if "_1-2" not in name} == {
        name: content for name, content in before.items() if "_1-2" not in name
    }
    assert not [name for name in after if name.endswith("_1-2_epoch_000003.pt")]


def test_without_a_seed_each_run_has_names_of_its_own(program: Program, place: Path) -> None:
    logs = [program().log for _ in range(3)]
    assert "have" not in logs[0]
    assert 'have "-3" in them, since another run has them without (no --seed was given' in logs[2]
    names = sorted(path.name for path in (place / "results").glob("*.mp4"))
    assert names == [f"small.png_{RUN}_none{suffix}.mp4" for suffix in ("-2", "-3", "")]
    assert all(count_frames(place / "results" / name) == 5 for name in names)
    assert len(list((place / "snapshots").iterdir())) == 15
    for path in (place / "results").glob("*none-2*.pt"):
        path.unlink()
    newest = program("-e", 6, "--resume", place / "results")
    assert "_none-3_epoch_000003.pt" in newest.log
    shell = sorted((place / "results").glob("checkpoint_*.pt"))
    assert "_none-3_epoch_000005.pt" in program("-e", 7, "--resume", *shell).log


def test_an_originals_files_are_left_to_it(program: Program, place: Path) -> None:
    results = place / "results"
    results.mkdir(parents=True)
    for seed in ("none", "1"):
        (results / f"weights_{RUN}_{seed}.txt").write_text("its own")
    before = content_of(place)
    assert program().status == 0
    assert_kept(before, place)
    refused = program("--seed", 1)
    assert refused.status == 2
    assert "settings are not known" in refused.log
    assert_kept(before, place)


def test_another_process_is_told_whose_the_files_are_and_they_stay_whole(
    start: Start, tmp_path: Path, small_image: Path, program: Program
) -> None:
    """One process is paused, others come, and it goes on: nobody else has written."""
    place = tmp_path / "run"
    words = words_for(small_image, place, "--save-interval", 50, "--checkpoint-interval", 20, "-e", 10**6)
    with start(words) as running:
        try:
            wait_for(running, "Checkpoint saved")
            running.send_signal(signal.SIGSTOP)
            before = content_of(place)
            for more in ([], ["--overwrite"], ["--resume", place]):
                refused = program(*words[:-1], 1000, *more)
                assert refused.status == 2, refused.log
                assert f"process {running.pid} on {os.uname().nodename}, since " in refused.log
                assert len(refused.log.splitlines()) == 2
                assert content_of(place) == before
            other = program(*words[:-1], 2, *TERM)
            assert other.status == 0
            assert 'have "-2" in them' in other.log
            running.send_signal(signal.SIGCONT)
            wait_for(running, "Checkpoint saved")
            running.send_signal(signal.SIGTERM)
            running.communicate()
        finally:
            running.kill()
    assert running.returncode == 143
    done = torch.load(max(place.glob("checkpoint_*_1_*.pt")), weights_only=False)["epoch"] + 1
    (metrics,) = place.glob("*_1/metrics.csv")
    assert [int(row["epoch"]) for row in csv.DictReader(metrics.open())] == list(range(1, done + 1))
    assert not list(place.rglob("*.owner"))


@pytest.mark.slow
def test_two_that_begin_at_once_are_one_run_and_one_refusal(tmp_path: Path, small_image: Path) -> None:
    both = [begun(words_for(small_image, tmp_path, "-e", 3)) for _ in range(2)]
    logs = [process.communicate()[1] for process in both]
    statuses = [process.returncode for process in both]
    assert sorted(statuses) == [0, 2]
    refusal = logs[statuses.index(2)]
    assert f"process {both[statuses.index(0)].pid} on" in refusal or "the same settings already" in refusal
    assert len(list(tmp_path.glob("*.mp4"))) == 1


@pytest.mark.parametrize("when", ["frame", "checkpoint", "finish"])
def test_an_owner_whose_claim_was_taken_ends_and_writes_over_nothing(
    program: Program, place: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """As one on another machine that was asleep for longer than its claim holds."""
    monkeypatch.setattr(claim, "TRUST", -1.0)
    left: dict[str, bytes] = {}

    def taken() -> None:
        for path in place.rglob(".*.owner"):
            path.write_text(json.dumps({**json.loads(path.read_text()), "token": "another", "pid": 1, "host": "far"}))
        left.update(content_of(place))

    launch, replace = Trainer.launch, os.replace

    def launching(self: Trainer, *words: Any, **named: Any) -> Launched:
        launched = launch(self, *words, **named)
        if when == "frame" and launched.last == 3:
            taken()
        return launched

    def replacing(source: str, target: str) -> None:
        replace(source, target)
        if when == "checkpoint" and str(target).endswith("000001.pt"):
            taken()
        if when == "finish" and str(target).endswith("000003.pt"):
            taken()

    monkeypatch.setattr(Trainer, "launch", launching)
    monkeypatch.setattr(os, "replace", replacing)
    outcome = program("--seed", 1, "--checkpoint-interval", 2)
    assert outcome.status == 3
    assert "its files were taken over by process 1 on far, since" in outcome.log
    assert "Traceback" not in outcome.log
    assert_kept({name: content for name, content in left.items() if not name.endswith((".csv", ".mp4"))}, place)
    new = set(content_of(place)) - set(left)
    assert not {name for name in new if not name.endswith(".png")}  # a frame may have been on its way
    assert len(list(place.rglob(".*.owner"))) == 2
