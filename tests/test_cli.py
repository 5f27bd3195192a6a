"""The program as its users meet it: files, messages, exit statuses, signals."""

import csv
import errno
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from draw_poly import engine
from draw_poly.engine import allowance
from draw_poly.engine.backends.base import never
from draw_poly.engine.backends.reference import Eager
from draw_poly.engine.prepare.rehearsal import Pictures
from draw_poly.engine.record.encoder import FrameWriter
from draw_poly.engine.record.film import count_frames
from draw_poly.engine.training import setup
from draw_poly.engine.training.trainer import Launched, Trainer
from tests.conftest import Program, slow, untimed
from tests.processes import ROOT, Start, wait_for, words_for


def test_a_run_leaves_everything_one_looks_at_afterwards(program: Program, tmp_path: Path) -> None:
    outcome = program(
        "--seed", 1, "-e", 5, "--save-interval", 2, "--checkpoint-interval", 2, "--log-file", tmp_path / "log"
    )
    assert outcome.status == 0, outcome.log
    results, snapshots = tmp_path / "out" / "results", tmp_path / "out" / "snapshots"
    stem = "small.png_WzVdKjNfMTAwXzMyXzAuMDAxX2FkYW0=_1"
    assert sorted(path.name for path in snapshots.iterdir()) == [
        f"{stem}_epoch_00000{epoch}.png" for epoch in (0, 2, 4, 5)
    ]
    run = stem.removeprefix("small.png_")
    assert sorted(path.name for path in results.iterdir()) == sorted(
        [f"checkpoint_{run}_epoch_00000{epoch}.pt" for epoch in (1, 3, 4)]
        + [f"weights_{run}.txt", stem, f"{stem}-kernel-smoothed.png", f"{stem}.mp4"]
    )
    folder = results / stem
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "losses.png",
        "metrics.csv",
        "polytopes.png",
    ]
    assert count_frames(results / f"{stem}.mp4") == 4
    assert Image.open(snapshots / f"{stem}_epoch_000005.png").size == (69, 17)
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert [bool(row["polytopes"]) for row in rows] == [False, True, False, True, True]
    settings = json.loads((folder / "config.json").read_text())
    assert settings["version"] == engine.__version__
    assert settings["settings"]["points"] == 100
    assert settings["resolved"]["parameters"] == 81
    stored = torch.load(results / f"checkpoint_{run}_epoch_000004.pt", weights_only=False)
    weights = np.loadtxt(results / f"weights_{run}.txt").astype(np.float32)
    named = [value.flatten() for name, value in stored["model_state_dict"].items() if name.startswith("network")]
    assert np.array_equal(weights, torch.cat(named).numpy())
    assert (tmp_path / "log").read_text() == outcome.log
    lines = [line.split(" - INFO - ")[1] for line in outcome.log.splitlines()]
    assert lines[0] == "=== Starting polytope-viz-nn training ==="
    assert lines[-1] == "=== Training completed successfully ==="
    assert "Trainable parameters: 81" in lines
    assert sum(line.startswith("Epoch ") for line in lines) == 5
    assert sum(line.startswith("Checkpoint saved: ") for line in lines) == 2
    assert sum(bool(re.fullmatch(r"Visualization @ epoch \d: \d+\.\d\ds", line)) for line in lines) == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-p", 391], "--points was 391, but the image has 23 x 17 = 391 pixels: give at most 390"),
        (["-s", "[1.5]"], "--shape was '[1.5]': give a list of whole numbers"),
        (["-s", "[99999]*8"], "GiB, and this machine has"),
        (["-p", "many"], "'many' was given: give a whole number"),
        (["-l", "nan"], "--learning-rate was nan: give a number from 1e-30 to 1e+18"),
        (["--optimizer", "lion"], "invalid choice: 'lion'"),
        (["-i", "gone.png"], "gone.png: there is no such file"),
        (["-o", "/dev/null/x"], "cannot be written (Not a directory)"),
        (["--log-file", "/dev/null/x"], "--log-file /dev/null/x cannot be written"),
        (["--threads", 20_000], "--threads was 20000: give a whole number from 1 to 4096"),
        (["--threads", 3_000_000_000], "--threads was 3000000000: give a whole number from 1 to 4096"),
        (["-p", "9" * 300], "--points was " + "9" * 60 + "…: give a whole number from 1 to 4611686018427387904"),
        (["-p", "9" * 5000], "'" + "9" * 60 + "…' was given: give a whole number"),
        (["--smoothing-sigma", 1e-200], "--smoothing-sigma was 1e-200: give a number from 1e-30 to 1e+18"),
        (["--device", "cuda:99"], "'cuda:99', but this machine has"),
        (["--device", "tpu"], "--device was 'tpu': give auto, cpu, cuda or cuda:N"),
        (["--resume", ""], "--resume was empty: give a path"),
        (["-o", "x" * 300], "cannot be written (File name too long)"),
        (["--resume", "x" * 300], "no such file, folder or match of a pattern"),
        (
            ["--kolmogorov-shape", "[4]", "--kolmogorov-weight", 1, "--kolmogorov-weight-max", 1e308],
            "--kolmogorov-weight-max was 1e+308: give a number from -1e+18 to 1e+18",
        ),
        (
            ["-s", "[100]*4", "--kolmogorov-shape", "[4]", "--kolmogorov-weight", 1, "--kolmogorov-bins", 4 * 10**7],
            "bins 40000000 needs",
        ),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
    ],
)
def test_bad_input_is_one_sentence_and_no_work(
    program: Program, tmp_path: Path, words: list[object], said: str
) -> None:
    outcome = program(*words)
    assert outcome.status == 2
    sentences = [line for line in outcome.log.splitlines() if "=== Starting" not in line]
    assert len(sentences) == 1
    assert said in sentences[0]
    assert not list((tmp_path / "out").rglob("*.p*")) if (tmp_path / "out").exists() else True


def test_what_seems_too_large_but_is_not_works(program: Program) -> None:
    words = ["--chunk-size", 10**12, "-b", 10**18, "--smoothing-sigma", 1e18, "-s", "[20000]", "-e", 1]
    outcome = program(*words)
    assert outcome.status == 0, outcome.log


def test_the_smallest_numbers_work(program: Program) -> None:
    words = [
        "--smoothing-sigma",
        1e-30,
        "-l",
        1e-30,
        "-e",
        1,
        "--kolmogorov-shape",
        "[4]",
        "--kolmogorov-weight",
        1e-30,
    ]
    assert program(*words, "--kolmogorov-bins", 2, "--kolmogorov-lr", 1e-30, "--chunk-size", 1).status == 0


def test_a_home_is_found_in_a_path(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert program("--output-dir=~/r", "--snapshot-dir=~/s", "--log-file=~/run.log").status == 0
    assert {path.name for path in (tmp_path / "home").iterdir()} == {"r", "s", "run.log"}


def test_a_colon_in_a_folder_is_no_protocol(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert program("-o", "run:1", "--snapshot-dir", "run:1").status == 0
    assert count_frames(next(Path("run:1").glob("*.mp4"))) == 5


def test_a_disk_full_at_the_beginning_is_a_sentence(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    outcome = program("--seed", 1)
    assert outcome.status == 3
    assert "The run cannot begin: " in outcome.log
    assert re.search(r"out/\S+ cannot be written \(No space left on device\)", outcome.log)
    assert "Traceback" not in outcome.log


def test_a_log_file_that_fills_its_disk_does_not_stop_the_run(program: Program) -> None:
    outcome = program("--seed", 1, "--log-file", "/dev/full")
    assert outcome.status == 0
    assert outcome.log.count("--log-file /dev/full cannot be written any more") == 1
    assert "Traceback" not in outcome.log


def test_another_runs_files_are_kept_unless_told(program: Program, tmp_path: Path) -> None:
    assert program("--seed", 1).status == 0
    (film,) = (tmp_path / "out" / "results").glob("*.mp4")
    before = film.stat().st_mtime_ns
    again = program("--seed", 1)
    assert again.status == 2
    assert "the same settings" in again.log
    assert film.stat().st_mtime_ns == before
    assert program("--seed", 2).status == 0
    assert program("--seed", 1, "-e", 2, "--overwrite").status == 0
    assert count_frames(film) == 3
    assert len(list((tmp_path / "out" / "snapshots").glob("*_1_epoch_*"))) == 3
    assert len(list((tmp_path / "out" / "results").glob("checkpoint_*_1_epoch_*"))) == 1


def test_another_way_on_from_a_checkpoint_needs_overwrite(program: Program, tmp_path: Path) -> None:
    assert program("--seed", 1, "-e", 6, "--checkpoint-interval", 2).status == 0
    first = min((tmp_path / "out" / "results").glob("checkpoint_*"))
    words = ["--seed", 1, "-e", 6, "--resume", first, "--resume-lr", 0.5]
    refused = program(*words)
    assert refused.status == 2
    assert "Changing learning rate from 0.001 to 0.5" in refused.log
    assert program(*words, "--overwrite").status == 0


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_state(program: Program, tmp_path: Path) -> None:
    outcome = program("--seed", 1, "--optimizer", "sgd", "-l", 1e18)
    assert outcome.status == 1
    assert "Stopped at epoch 0: the loss was not finite in epoch 1, step 2 of 4" in outcome.log
    assert "completed successfully" not in outcome.log
    (weights,) = (tmp_path / "out" / "results").glob("weights_*")
    assert np.isfinite(np.loadtxt(weights)).all()


def test_a_loop_stops_at_its_true_epoch(program: Program, tmp_path: Path) -> None:
    outcome = program("--seed", 1, "-l", 1e-30, "-e", 50)
    assert outcome.status == 1
    assert "Stopped at epoch 2: the optimisation loops" in outcome.log
    (stored,) = (tmp_path / "out" / "results").glob("checkpoint_*_epoch_000001.pt")
    assert torch.load(stored, weights_only=False)["epoch"] == 1


@pytest.mark.parametrize("failing", ["png", "txt", "pt"])
def test_a_failed_write_stops_with_its_reason_after_a_checkpoint(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    real, failed = os.replace, list[str]()

    def full(source: object, target: object) -> None:
        name = str(target)
        if name.endswith({"png": "000003.png", "txt": ".txt", "pt": "000013.pt"}[failing]) and not failed[:1]:
            if failing == "pt":  # the final one may be written again
                failed.append(name)
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        real(source, target)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "replace", full)
    outcome = program("--seed", 1, "-e", 40, "--checkpoint-interval", 14)
    assert outcome.status == 3
    assert outcome.log.count("No space left on device") == 1
    assert "Traceback" not in outcome.log
    saved = list((tmp_path / "out" / "results").glob("checkpoint_*.pt"))
    assert saved
    if failing == "png":
        assert "Failed at epoch" in outcome.log
        assert int(re.findall(r"Epoch (\d+)/", outcome.log)[-1]) < 10


def test_an_unforeseen_failure_saves_the_last_finished_epoch(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(Trainer):
        def launch(self, interrupted: Callable[[], bool] = never, epochs: int = 1, following: int = 1) -> Launched:
            result = super().launch(interrupted, epochs, following)
            if self._state.epoch == 3:
                raise RuntimeError("the device is gone")
            return result

    monkeypatch.setattr(setup, "Trainer", Failing)
    outcome = program("--seed", 1)
    assert outcome.status == 3
    assert "Failed at epoch 2: RuntimeError: the device is gone" in outcome.log
    assert list((tmp_path / "out" / "results").glob("checkpoint_*_epoch_000001.pt"))


@pytest.mark.parametrize(("when", "saved"), [("visit", 2), ("evaluate", 3)])
def test_a_device_that_vanishes_leaves_the_last_finished_epoch(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str, saved: int
) -> None:
    """Within epoch 3, or while its frame is drawn; what the device held is lost."""
    words = ["--seed", 1, "--backend", "eager", "--checkpoint-interval", 1]
    assert program(*words, folder="whole").status == 0
    real = getattr(Eager, when)

    def lost(self: Eager, *rest: object) -> object:
        if self.state.epoch >= saved:
            for tensor in (self.state.main.parameters, self.state.main.moments, self.state.coefficients):
                tensor.fill_(-1)
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nCompile with more.")
        return real(self, *rest)

    monkeypatch.setattr(Eager, when, lost)
    outcome = program(*words, "--checkpoint-interval", 10)
    assert outcome.status == 3
    said = f"Failed at epoch {saved}: the device is lost (CUDA error: an illegal memory access was encountered)"
    assert outcome.log.count(said) == outcome.log.count("CUDA error") == 1
    assert "Traceback" not in outcome.log
    (ours,) = (tmp_path / "out" / "results").glob("checkpoint_*.pt")
    kept, whole = (torch.load(path, weights_only=False) for path in
                   (ours, tmp_path / "whole" / "results" / ours.name))  # fmt: skip
    assert kept["epoch"] == saved - 1
    for name, tensor in whole["model_state_dict"].items():
        assert torch.equal(kept["model_state_dict"][name], tensor)
    for index, moments in whole["optimizer_state_dict"]["state"].items():
        assert torch.equal(kept["optimizer_state_dict"]["state"][index]["exp_avg_sq"], moments["exp_avg_sq"])


def test_a_device_too_small_for_a_frame_draws_it_in_parts(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Eager.evaluate

    def full(self: Eager, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if inputs.shape[-1] > 20:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(self, inputs)

    monkeypatch.setattr(Pictures, "are_kept", lambda self: True)  # nothing is drawn to have it compiled
    monkeypatch.setattr(Eager, "evaluate", full)
    outcome = program("--seed", 1, "--backend", "eager")
    assert outcome.status == 0
    assert (
        1
        <= len(re.findall(r"WARNING - Out of memory with \d+ points evaluated at once: going on with", outcome.log))
        < 6
    )


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), slow(signal.SIGTERM, 143), slow(signal.SIGHUP, 129)]
)
def test_a_signal_ends_the_run_with_a_checkpoint(
    start: Start, tmp_path: Path, small_image: Path, number: int, status: int
) -> None:
    with start(words_for(small_image, tmp_path, "-e", 10**6, "--save-interval", 10**6)) as running:
        wait_for(running, "Epoch 30/")
        running.send_signal(number)
        _, rest = running.communicate(timeout=60)
    assert running.returncode == status
    assert f"Interrupted by {signal.Signals(number).name}" in rest
    (stored,) = tmp_path.glob("checkpoint_*.pt")
    done = torch.load(stored, weights_only=False)["epoch"] + 1
    (metrics,) = tmp_path.glob("*/metrics.csv")
    assert [int(row["epoch"]) for row in csv.DictReader(metrics.open())] == list(range(1, done + 1))


@pytest.mark.parametrize("format", ["png", slow("none")])
def test_a_killed_run_goes_on_as_if_it_had_not_been(
    start: Start, tmp_path: Path, small_image: Path, program: Program, format: str
) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    frames = ["--save-interval", 5, "--snapshot-format", format]
    with start(words_for(small_image, killed, "-e", 4000, "--checkpoint-interval", 20, *frames)) as running:
        wait_for(running, "Checkpoint saved")
        wait_for(running, "Checkpoint saved")
        time.sleep(0.05)
        running.kill()
    (film,) = killed.glob("*.mp4")
    # Every frame up to the second checkpoint is there, that of epoch 0 first.
    assert count_frames(film) >= 9
    assert bool(list((killed / "snap").iterdir())) == (format == "png")
    last = max(int(re.findall(r"(\d+)\.pt", path.name)[0]) for path in killed.glob("checkpoint_*.pt")) + 1
    target = last + 10
    resumed = words_for(small_image, killed, "-e", target, *frames, "--resume", killed)
    assert program(*resumed).status == 0
    straight = words_for(small_image, whole, "-e", target, *frames)
    assert program(*straight).status == 0
    rows = [untimed(next(place.glob("*/metrics.csv"))) for place in (killed, whole)]
    assert rows[0] == rows[1]
    assert count_frames(film) == count_frames(next(whole.glob("*.mp4"))) == target // 5 + 1


def test_a_terminal_has_a_progress_bar_and_what_is_none_has_none(
    start: Start, tmp_path: Path, small_image: Path, program: Program
) -> None:
    assert "epoch/s" not in program("--seed", 1, "-e", 5).log
    mine, theirs = pty.openpty()
    with start(words_for(small_image, tmp_path / "b", "-e", 5), into=theirs) as running:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(mine, 4096)
            except OSError:
                break
            if not part:
                break
            shown += part
    assert running.returncode == 0
    assert b"epoch/s" in shown
    assert b"Epoch 5/5 - Combined Loss" in shown


def test_quiet_says_nothing_and_version_and_help_say_what_they_should(
    program: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program("--seed", 1, "--quiet").log == ""
    for words, said in ((["--version"], f"draw-poly {engine.__version__}"), (["--help"], "exit status:")):
        done = subprocess.run([sys.executable, ROOT / "cli.py", *words], capture_output=True, text=True, check=True)
        assert said in done.stdout
    for flag in (
        "-i",
        "-s",
        "-e",
        "-p",
        "-b",
        "-l",
        "-o",
        "-d",
        "--kolmogorov-weight-min",
        "--resume-lr",
        "--use-compile",
    ):
        assert re.search(rf"^  {flag}[ ,\n]", done.stdout, re.MULTILINE), flag


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


def test_threads_are_those_asked_for_and_given_back(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, launch = set(), Trainer.launch

    def watched(self: Trainer, interrupted: Callable[[], bool], *epochs: int) -> Launched:
        seen.add(torch.get_num_threads())
        return launch(self, interrupted, *epochs)

    monkeypatch.setattr(Trainer, "launch", watched)
    for cores, taken in ((4, 3), (2, 2)):  # what this process may have bounds them
        seen.clear()
        monkeypatch.setattr(allowance, "cores", lambda cores=cores: cores)
        assert program("--threads", 3, "--backend", "cpu", folder=str(cores)).status == 0
        assert seen == {taken}
    assert torch.get_num_threads() == 1
