"""The program as its users meet it: files, messages, exit statuses."""

import csv
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from draw_poly import engine
from draw_poly.engine import allowance
from draw_poly.engine.record.film import count_frames
from draw_poly.engine.training.trainer import Launched, Trainer
from tests.conftest import Program
from tests.processes import ROOT, Start, words_for


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
        "networks.bin",
        "polytopes.png",
        "regions.csv",
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
        (["--optimizer", "lioness"], "invalid choice: 'lioness'"),
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


def test_threads_are_those_asked_for_and_given_back(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, launch = set(), Trainer.launch

    def watched(self: Trainer, *words: Any, **named: Any) -> Launched:
        seen.add(torch.get_num_threads())
        return launch(self, *words, **named)

    monkeypatch.setattr(Trainer, "launch", watched)
    for cores, taken in ((4, 3), (2, 2)):  # what this process may have bounds them
        seen.clear()
        monkeypatch.setattr(allowance, "cores", lambda cores=cores: cores)
        assert program("--threads", 3, "--backend", "cpu", folder=str(cores)).status == 0
        assert seen == {taken}
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--optimizer", "sgd", "--amsgrad"], "--amsgrad was given, and sgd does not read it"),
        (["--momentum", 0.5], "--momentum was given, and adam does not read it"),
        (["--optimizer", "lion", "--muon-ns-steps", 3], "--muon-ns-steps was given, and lion does not read it"),
    ],
)
def test_an_option_that_the_optimiser_does_not_read_is_told(program: Program, words: list[object], said: str) -> None:
    outcome = program(*words, "--no-film", "-e", 1)
    assert outcome.status == 0
    assert outcome.log.count("does not read it") == outcome.log.count(said) == 1


def test_options_that_the_optimiser_reads_are_not_told(program: Program) -> None:
    words = ["--optimizer", "muon", "--muon-momentum", 0.9, "--adam-eps", 1e-7, "--weight-decay", 0.1]
    outcome = program(*words, "--grad-clip-norm", 1, "--no-film", "-e", 1)
    assert outcome.status == 0, outcome.log
    assert "does not read" not in outcome.log
