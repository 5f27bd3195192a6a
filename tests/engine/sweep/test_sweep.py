"""Sweeps as a user starts them: each member is a run of its own, whoever is trained beside it."""

import csv
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from draw_poly.engine.config import Config, ConfigError
from draw_poly.engine.data.image import Picture
from draw_poly.engine.prepare import memory
from draw_poly.engine.record.film_reader import count_frames
from draw_poly.engine.sweep import train
from draw_poly.engine.sweep.member import MemberRun
from draw_poly.engine.sweep.notebook import sweep
from draw_poly.engine.sweep.population import Population
from draw_poly.engine.training.setup import Setup
from draw_poly.engine.training.trainer import Epochs
from draw_poly.engine.training.training import Training
from tests.conftest import INTERPRETED, Program, slow, untimed
from tests.simulated import Machine
from tests.test_run_ahead import flat

TERM = ["--kolmogorov-shape", "[4]", "--kolmogorov-weight", 0.2, "--kolmogorov-bins", 20]
# Where and how a run is, and what it draws or knows of its regions.
APART = ("run", "settings", "film_frames", "regions")


def table(results: Path) -> list[dict[str, str]]:
    (path,) = results.glob("sweep_*/members.csv")
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def content(folder: Path) -> dict[str, object]:
    """What a run left that may be compared: checkpoint, rows, weights, the lines of its epochs."""
    (checkpoint,) = folder.glob("checkpoint_*.pt")
    stored: Any = flat(torch.load(checkpoint, weights_only=False))
    (metrics,) = folder.glob("*/metrics.csv")
    (weights,) = folder.glob("weights_*.txt")
    kept = {key: value for key, value in stored.items() if key not in APART}
    rows = [{name: cell for name, cell in row.items() if name != "polytopes"} for row in untimed(metrics)]
    return {"checkpoint": kept, "rows": rows, "weights": weights.read_text(), "name": checkpoint.name}


def content_of_last(folder: Path) -> dict[str, object]:
    """The same, of a member with several checkpoints."""
    for path in sorted(folder.glob("checkpoint_*.pt"))[:-1]:
        path.unlink()
    return content(folder)


def alone(
    program: Program, tmp_path: Path, row: Mapping[str, str], words: list[object], folder: str
) -> dict[str, object]:
    """What the run of a member leaves whose flags are given alone."""
    flags: list[object] = []
    for name in ("seed", "learning-rate", "kolmogorov-weight", "epochs", "momentum"):
        if name in row:
            flags += [f"--{name}", row[name]]
    status = program("-e", 12, *words, *flags, "--no-film", "--save-interval", 1000, folder=folder).status
    assert status in (0, 1)
    return content(tmp_path / folder / "results")


@pytest.mark.parametrize(
    ("words", "varied"),
    [
        ([], ["seed=1..3", "learning-rate=1e-3,0.01"]),
        (["--seed", 3, *TERM], ["kolmogorov-weight=0.05,0.3", "epochs=12,7"]),
        slow(["--seed", 3, "--optimizer", "sgd_momentum"], ["momentum=0.5,0.9", "seed=4..5"]),
    ],
    ids=["seeds", "term", "momentum"],
)
@pytest.mark.parametrize("backend", ["cpu", "eager"])
def test_a_member_is_the_run_of_its_flags(
    program: Program, tmp_path: Path, backend: str, words: list[object], varied: list[str]
) -> None:
    words = [*words, "--backend", backend]
    outcome = program("-e", 12, *words, *(word for one in varied for word in ("--vary", one)))
    assert outcome.status == 0, outcome.log
    rows = table(tmp_path / "out" / "results")
    assert [row["status"] for row in rows] == ["done"] * len(rows)
    for row in rows[:: max(1, len(rows) - 1)] + rows[1:2]:
        (folder,) = (tmp_path / "out" / "results").glob(f"sweep_*/{row['folder']}")
        theirs = alone(program, tmp_path, row, words, f"alone{row['member']}")
        assert content(folder) == theirs
        assert len((folder / "run.log").read_text().splitlines()) == int(row["epochs"])


def test_members_on_a_gpu_are_trained_in_the_same_launches(program: Program, tmp_path: Path) -> None:
    pytest.importorskip("triton")
    words: list[object] = ["-s", "[5]*2", "-p", 70, "-e", 6, "--device", "cuda"]
    machine = Machine()
    with machine.installed():
        assert program(*words, "--vary", "seed=1..3").status == 0
        launches = len(machine.launches)
        rows = table(tmp_path / "out" / "results")
        machine.launches.clear()
        assert program(*words, "--seed", 2, "--save-interval", 1000, "--no-film", folder="alone").status == 0
    assert launches <= len(machine.launches)
    (folder,) = (tmp_path / "out" / "results").glob(f"sweep_*/{rows[1]['folder']}")
    ours, theirs = content(folder), content(tmp_path / "alone" / "results")
    assert ours == theirs


# A loss that is not finite in epoch 9 of one member; the others go on.
def test_a_member_that_stops_leaves_the_others(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words: list[object] = ["-s", "[4]*2", "-p", 60, "--optimizer", "sgd", "--seed", 1]
    left: list[int] = []
    real = Population.leave

    def leave(self: Population, indices: list[int]) -> None:
        real(self, indices)
        left.append(len(self))

    monkeypatch.setattr(Population, "leave", leave)
    outcome = program("-e", 40, *words, "--vary", "l=0.1,1.2,0.2")
    assert outcome.status == 0, outcome.log
    rows = table(tmp_path / "out" / "results")
    assert [row["status"] for row in rows] == ["done", "stopped", "done"]
    assert [row["epochs"] for row in rows] == ["40", "8", "40"]
    assert rows[1]["reason"] == "the loss was not finite in epoch 9, step 2 of 2"
    assert left[0] == 2
    for row in rows:
        (folder,) = (tmp_path / "out" / "results").glob(f"sweep_*/{row['folder']}")
        more: list[object] = [*words, "-e", 40]
        assert content(folder) == alone(program, tmp_path, row, more, f"alone{row['member']}")


def interrupting(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """A signal in the visit after so many epochs."""
    real = Population.visit

    def visit(self: Population, epochs: int, following: int, interrupted: Callable[[], bool]) -> list[Epochs]:
        if self.epoch >= at:
            signal.raise_signal(signal.SIGINT)
        return real(self, epochs, following, interrupted)

    monkeypatch.setattr(Population, "visit", visit)


def test_an_interrupted_sweep_goes_on_as_if_it_had_not_been(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words: list[object] = ["-e", 12, "--vary", "seed=1..3", "--vary", "epochs=3,12"]
    monkeypatch.setattr(train, "VISIT", 0.0)
    with monkeypatch.context() as patch:
        interrupting(patch, 5)
        outcome = program(*words)
    assert outcome.status == 130
    assert "Interrupted by SIGINT: what was trained is saved" in outcome.log
    rows = table(tmp_path / "out" / "results")
    assert [row["status"] for row in rows] == ["done", "running"] * 3
    assert [row["epochs"] for row in rows] == ["3", "5"] * 3
    begun: list[int] = []
    real = MemberRun.begin

    def begin(self: MemberRun, picture: Picture, resumed: bool) -> Setup:
        begun.append(self.number)
        return real(self, picture, resumed)

    monkeypatch.setattr(MemberRun, "begin", begin)
    place = next((tmp_path / "out" / "results").glob("sweep_*"))
    assert program(*words, "--resume", place).status == 0
    assert begun == [2, 4, 6]
    assert program(*words, folder="straight").status == 0
    for row in rows:
        (straight,) = (tmp_path / "straight" / "results").glob(f"sweep_*/{row['folder']}")
        ours = place / row["folder"]
        for old in list(ours.glob("checkpoint_*_000004.pt")):
            old.unlink()
        assert content(ours) == content(straight)


def test_a_member_killed_before_it_had_ended_ends_at_its_last_epoch(program: Program, tmp_path: Path) -> None:
    """Its checkpoint was written, and nothing else that it leaves; another goes on beside it from the same epoch."""
    words: list[object] = ["--seed", 1, "--vary", "learning-rate=1e-3,2e-3", "--vary", "epochs=3,12"]
    assert program(*words, "--checkpoint-interval", 3, "--keep-checkpoints", 9).status == 0
    place = next((tmp_path / "out" / "results").glob("sweep_*"))
    rows = table(tmp_path / "out" / "results")
    whole = [content_of_last(place / row["folder"]) for row in rows]
    for row in rows:
        for path in (place / row["folder"]).glob("checkpoint_*.pt"):
            if not path.name.endswith("_000002.pt"):
                path.unlink()
        next((place / row["folder"]).glob("weights_*.txt")).unlink()
    (place / "members.csv").unlink()
    assert program(*words, "--checkpoint-interval", 3, "--keep-checkpoints", 9, "--resume", place).status == 0
    assert [row["epochs"] for row in table(tmp_path / "out" / "results")] == ["3", "12"] * 2
    assert [content_of_last(place / row["folder"]) for row in rows] == whole


def test_a_member_may_be_gone_on_with_alone(program: Program, tmp_path: Path) -> None:
    assert program("-e", 5, "--vary", "seed=1..2").status == 0
    (folder,) = (tmp_path / "out" / "results").glob("sweep_*/0002*")
    words = ["--seed", 2, "-e", 9, "--no-film", "--save-interval", 1000]
    outcome = program(*words, "--resume", folder, "-o", folder)
    assert outcome.status == 0, outcome.log
    assert program(*words, folder="straight").status == 0
    newest = max(folder.glob("checkpoint_*.pt"))
    (straight,) = (tmp_path / "straight" / "results").glob("checkpoint_*.pt")
    ours, theirs = (flat(torch.load(path, weights_only=False)) for path in (newest, straight))
    assert isinstance(ours, dict)
    assert isinstance(theirs, dict)
    assert ours["model_state_dict"] == theirs["model_state_dict"]
    assert ours["optimizer_state_dict"] == theirs["optimizer_state_dict"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--vary", "seed="], "seed"),
        (["--vary", "sed=1"], "sed"),
        (["--vary", "output-dir=a,b"], "output-dir"),
        (["--vary", "seed=1..9999999"], "members"),
        (["--vary", "seed=1..2", "--resume", "elsewhere"], "elsewhere"),
        (["--vary", "batch-size=0,5"], "batch-size"),
    ],
)
def test_what_cannot_be_varied_is_a_sentence(
    program: Program, capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[object], said: str
) -> None:
    outcome = program(*words)
    assert outcome.status == 2
    assert said in outcome.log
    assert "Traceback" not in outcome.log
    assert len([line for line in outcome.log.splitlines() if line.startswith("draw-poly: ")]) == 1
    assert not list(tmp_path.glob("out/results/sweep_*/0*"))


def test_regions_of_every_epoch_are_refused_in_a_sweep(program: Program) -> None:
    outcome = program("--vary", "seed=1..2", "--regions", "every")
    assert outcome.status == 2
    assert "--regions was every, and members of a sweep keep no regions.csv: give frames or off" in outcome.log


def test_the_same_sweep_again_is_refused_and_replaced_if_asked(program: Program) -> None:
    words = ["-e", 2, "--vary", "seed=1..2"]
    assert program(*words).status == 0
    again = program(*words)
    assert again.status == 2
    assert "go on with --resume" in again.log
    assert program(*words, "--overwrite").status == 0


def test_members_may_have_frames_of_their_own(program: Program, tmp_path: Path) -> None:
    words: list[object] = ["-e", 6, "--save-interval", 2]
    assert program(*words, "--vary", "seed=1..2", "--member-frames").status == 0
    assert program(*words, "--seed", 2, folder="alone").status == 0
    (folder,) = (tmp_path / "out" / "results").glob("sweep_*/0002*")
    frames = {path.name: path.read_bytes() for path in (folder / "snapshots").iterdir()}
    assert frames == {path.name: path.read_bytes() for path in (tmp_path / "alone" / "snapshots").iterdir()}
    assert len(frames) == 4
    (film,), (theirs,) = folder.glob("*.mp4"), (tmp_path / "alone" / "results").glob("*.mp4")
    assert count_frames(film) == count_frames(theirs) == 4
    (ours,), (rows,) = folder.glob("*/metrics.csv"), (tmp_path / "alone" / "results").glob("*/metrics.csv")
    assert untimed(ours) == untimed(rows)
    went_on = program(
        "-e",
        8,
        "--save-interval",
        2,
        "--seed",
        2,
        "--resume",
        folder,
        "-o",
        folder,
        "--snapshot-dir",
        folder / "snapshots",
    )
    assert went_on.status == 0
    assert count_frames(film) == 5


@INTERPRETED
def test_networks_that_differ_in_shape_are_trained_in_groups(program: Program, tmp_path: Path) -> None:
    outcome = program("-e", 4, "--seed", 1, "--vary", "shape=[4]*2,[6]", "--vary", "batch-size=32,40")
    assert outcome.status == 0
    assert outcome.log.count("Group ") == 4
    assert [row["status"] for row in table(tmp_path / "out" / "results")] == ["done"] * 4


def test_so_many_members_are_trained_at_once_as_memory_holds(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config("x", "[10]*8", 1)
    assert memory.networks_that_fit(config, 2**37) == pytest.approx(
        4 * (memory.networks_that_fit(config, 2**35) or 0), 0.01
    )
    assert memory.networks_that_fit(config, 1) == 1
    assert program("-e", 3, "--vary", "seed=1..5", folder="whole").status == 0
    monkeypatch.setattr(memory, "networks_that_fit", lambda config, on_device: 2)
    outcome = program("-e", 3, "--vary", "seed=1..5")
    assert outcome.status == 0
    assert "2 members of the group train at once" in outcome.log
    ours, theirs = (table(tmp_path / name / "results") for name in ("out", "whole"))
    assert [row["combined"] for row in ours] == [row["combined"] for row in theirs]


def test_a_member_whose_files_cannot_be_written_fails_alone(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = MemberRun.record

    def record(self: MemberRun, epochs: Epochs) -> None:
        if self.number == 2:
            raise OSError(28, "No space left on device", "run.log")
        real(self, epochs)

    monkeypatch.setattr(MemberRun, "record", record)
    outcome = program("-e", 4, "--vary", "seed=1..3")
    assert outcome.status == 3
    assert "Member 2 failed: " in outcome.log
    assert [row["status"] for row in table(tmp_path / "out" / "results")] == ["done", "failed", "done"]


def test_a_notebook_gets_members_as_they_end_and_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pixels = (np.arange(900, dtype=np.uint8) * 7).reshape(30, 30)
    flags: dict[str, Any] = {"shape": "[5]*2", "points": 100, "batch_size": 32, "epochs": 9}
    found = list(sweep({"seed": [1, 2], "epochs": [9, 4]}, pixels, **{**flags}))
    assert [(one.varied["seed"], one.varied["epochs"]) for one in found] == [(1, 4), (2, 4), (1, 9), (2, 9)]
    assert all(one.status == "done" and len(one.columns["combined"]) == one.config.epochs for one in found)
    training = Training.fresh(Config("an array", seed=2, **flags), pixels)
    for _ in training:
        pass
    assert found[3].state is not None
    assert torch.equal(found[3].state.main.parameters, training.state.main.parameters)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="seed"):
        sweep({"seed": ["x"]}, pixels, **flags)
