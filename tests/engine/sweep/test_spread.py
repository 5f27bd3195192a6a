"""Members spread over workers, here without any: pieces are trained in this process, and fail where a test wants it."""

import importlib
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from draw_poly.engine.sweep import spread
from draw_poly.engine.sweep.cluster import Cluster, Gone, Worker
from draw_poly.engine.sweep.piece import Piece, Trained, trained, versions
from tests.conftest import Program
from tests.engine.sweep.test_sweep import content, table

WORDS = ["-e", 12, "--vary", "seed=1..3", "--vary", "epochs=5,12"]
sweep_module = importlib.import_module("draw_poly.engine.sweep.sweep")


class Here(Cluster):
    """Workers `a`, `b`, … of which each trains what it is given when it is asked for; `fails` may raise instead."""

    def __init__(self, count: int, fails: Callable[[str, Piece], None] = lambda _, __: None) -> None:
        self.there = {name: Worker(name, False) for name in "abcdef"[:count]}
        self.fails = fails
        self.given: list[tuple[str, list[int], int]] = []

    def workers(self) -> dict[str, Worker]:
        return dict(self.there)

    def give(self, piece: Piece, worker: Worker) -> Any:
        self.given.append((worker.address, [one.number for one in piece.members], piece.until))
        return SimpleNamespace(piece=piece, worker=worker.address)

    def over(self, futures: Sequence[Any], seconds: float) -> list[Any]:
        return [one for one in futures if one.worker in self.there][:1]

    def result(self, future: Any) -> Trained:  # type: ignore[override]
        self.fails(future.worker, future.piece)
        return trained(future.piece)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Here], Here]:
    """Has the program find these workers, whatever `--cluster` says."""

    def patch(here: Here) -> Here:
        @contextmanager
        def reached(where: str | None) -> Iterator[Here | None]:
            yield here if where else None

        monkeypatch.setattr(sweep_module, "reached", reached)
        return here

    return patch


def same(tmp_path: Path, ours: str, theirs: str) -> None:
    """Two sweeps left the same: tables, checkpoints, rows, weights, lines."""
    one, other = (table(tmp_path / name / "results") for name in (ours, theirs))
    for row, there in zip(one, other, strict=True):
        for name in row:
            assert row[name] == there[name] or name == "seconds"
        (folder,), (far) = (
            list((tmp_path / name / "results").glob(f"sweep_*/{row['folder']}")) for name in (ours, theirs)
        )
        assert content(folder) == content(far[0])
        lines = [len((place / "run.log").read_text().splitlines()) for place in (folder, far[0])]
        assert lines == [int(row["epochs"])] * 2


@pytest.mark.parametrize("count", [1, 2, 4])
def test_it_leaves_what_one_machine_leaves(program: Program, tmp_path: Path, use: Any, count: int) -> None:
    here = use(Here(count))
    outcome = program(*WORDS, "--cluster", "here")
    assert outcome.status == 0, outcome.log
    assert {address for address, _, _ in here.given} == set(here.there)
    assert sum(len(numbers) for _, numbers, until in here.given if until == 1) == 6
    assert program(*WORDS, folder="alone").status == 0
    same(tmp_path, "out", "alone")
    assert not list(tmp_path.glob("out/results/sweep_*/*/.*"))


def test_a_stretch_is_a_checkpoint_interval(program: Program, tmp_path: Path, use: Any) -> None:
    here = use(Here(1))
    words = ["-e", 11, "--vary", "seed=1..2", "--checkpoint-interval", 4]
    assert program(*words, "--cluster", "here").status == 0
    assert [until for _, _, until in here.given] == [4, 8, 12]
    assert program(*words, folder="alone").status == 0
    ours, theirs = (
        sorted(path.relative_to(tmp_path / name) for path in tmp_path.glob(f"{name}/**/*.pt"))
        for name in ("out", "alone")
    )
    assert ours == theirs
    assert len(ours) == 6
    assert program(*words, "--keep-checkpoints", 1, "--cluster", "here", "--overwrite").status == 0
    assert len(list(tmp_path.glob("out/**/*_epoch_000010.pt"))) == len(list(tmp_path.glob("out/**/*.pt"))) == 2


def test_a_share_goes_to_another_worker_and_goes_on_there(program: Program, tmp_path: Path, use: Any) -> None:
    def fails(worker: str, piece: Piece) -> None:
        if worker == "a" and piece.until > 1:
            del here.there["a"]
            raise ConnectionError("it is gone")

    here = use(Here(2, fails))
    outcome = program(*WORDS, "--cluster", "here")
    assert outcome.status == 0, outcome.log
    (_, numbers, until) = next(one for one in here.given if one[0] == "a" and one[2] > 1)
    assert ("b", numbers, until) in here.given
    assert "a failed with 3 members from 1 on, try 1 of 3: ConnectionError: it is gone" in outcome.log
    assert program(*WORDS, folder="alone").status == 0
    same(tmp_path, "out", "alone")


def test_three_failures_end_a_share_and_not_the_sweep(program: Program, tmp_path: Path, use: Any) -> None:
    def fails(_: str, piece: Piece) -> None:
        if any(one.number == 2 for one in piece.members) and piece.until > 3:
            raise ValueError("a bad one")

    here = use(Here(3, fails))
    outcome = program("-e", 12, "--vary", "seed=1..3", "--cluster", "here")
    assert outcome.status == 3
    rows = table(tmp_path / "out" / "results")
    assert [row["status"] for row in rows] == ["done", "failed", "done"]
    assert rows[1]["epochs"] == "3"
    assert "3 workers failed with it" in rows[1]["reason"]
    assert rows[1]["reason"].endswith("ValueError: a bad one")
    tried = [address for address, numbers, until in here.given if numbers == [2] and until > 3]
    assert len(tried) == 3
    assert all(one != other for one, other in itertools.pairwise(tried))


def test_a_scheduler_that_is_gone_leaves_what_came_back(program: Program, tmp_path: Path, use: Any) -> None:
    class Lost(Here):
        def workers(self) -> dict[str, Worker]:
            if len(self.given) == 3:
                raise Gone("the scheduler is gone")
            return super().workers()

    use(Lost(1))
    outcome = program(*WORDS, "--cluster", "here")
    assert outcome.status == 3
    assert "the scheduler is gone: what came back by now is saved, and --resume goes on from it" in outcome.log
    assert [row["epochs"] for row in table(tmp_path / "out" / "results")] == ["5", "7"] * 3
    (place,) = (tmp_path / "out" / "results").glob("sweep_*")
    use(Here(2))
    assert program(*WORDS, "--cluster", "here", "--resume", place).status == 0
    assert program(*WORDS, folder="alone").status == 0
    for old in place.glob("*/checkpoint_*_000006.pt"):
        old.unlink()  # as an interrupted sweep leaves one
    same(tmp_path, "out", "alone")


def test_members_who_cannot_begin_fail_alone(program: Program, tmp_path: Path, use: Any) -> None:
    use(Here(2))
    outcome = program("-e", 3, "--vary", "points=100,999999", "--cluster", "here")
    assert outcome.status == 3
    rows = table(tmp_path / "out" / "results")
    assert [row["status"] for row in rows] == ["done", "failed"]
    assert rows[1]["reason"].startswith("--points was 999999")


def test_shares_are_cut_for_those_who_are_idle() -> None:
    runs: list[Any] = [SimpleNamespace(number=one, config=SimpleNamespace(epochs=500)) for one in range(7)]
    parts = spread.Share.of(runs).cut(3)
    assert [[one.number for one in part.runs] for part in parts] == [[0, 1, 2], [3, 4], [5, 6]]
    assert [len(part.runs) for part in parts[1].cut(5)] == [1, 1]


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (versions(), None),
        ({**versions(), "torch": "1.0"}, "the worker w has other versions: torch 1.0 there, "),
        ({}, "the worker w has other versions: draw-poly None there, "),
        (ModuleNotFoundError("No module named 'draw_poly'"), "the worker w cannot run draw-poly (ModuleNotFoundError"),
        (ConnectionError(), None),
    ],
)
def test_workers_with_other_versions_are_left_aside(there: Any, said: str | None, caplog: Any) -> None:
    known = {"w": {"resources": {}}, "v": {"resources": {"GPU": 1.0}}}
    answers = {"w": there, "v": versions()}
    client = SimpleNamespace(
        status="running",
        scheduler=SimpleNamespace(identity=lambda n_workers: {"workers": known}),
        sync=lambda call, **words: call(**words),
        run=lambda _, workers, on_error: {name: answers[name] for name in workers or known},
    )
    found = Cluster(client, "x").unfit()
    assert [said is None] == [not found]
    assert said is None or found["w"].startswith(said)
    assert list(Cluster(client, "x").workers()) == ["v"]  # who has a GPU, where some have
    del known["v"]
    assert list(Cluster(client, "x").workers()) == (["w"] if there == versions() else [])


def test_torch_builds_of_one_version_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.13.0+cu130")
    assert versions()["torch"] == "2.13.0"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cluster", "local:2"], "--cluster trains the members of a sweep: give --vary or --vary-from as well"),
        (["--vary", "seed=1,2", "--cluster", "local:2", "--member-frames"], "--cluster brings no pictures back"),
        (["--vary", "seed=1,2", "--cluster", "local:0"], "--cluster was 'local:0': give local:1 to local:"),
        (["--vary", "seed=1,2", "--cluster", "local:99999"], "give local:1 to local:"),
        (["--vary", "seed=1,2", "--cluster", "host:8786"], "no such file: give a scheduler's address"),
        (["--vary", "seed=1,2", "--cluster", __file__], "is not a scheduler's file that can be read"),
        (["--vary", "seed=1,2", "--cluster", "tcp://host:8786"], "python -m pip install distributed"),
    ],
)
def test_what_is_no_cluster_is_a_sentence(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[object], said: str
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    outcome = program(*words)
    assert outcome.status == 2
    assert said in outcome.log
    assert len(outcome.log.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_frames_come_back_with_the_members(monkeypatch: pytest.MonkeyPatch, program: Program, use: Any) -> None:
    seen: dict[int, set[int]] = {}
    exhibition = sweep_module.Exhibition
    monkeypatch.setattr(
        exhibition, "add", lambda self, epoch, drawn: seen.setdefault(epoch, set()).update(drawn) if drawn else None
    )
    use(Here(2))
    assert program("-e", 6, "--vary", "seed=1..3", "--save-interval", 4, "--cluster", "here").status == 0
    assert seen == {4: {1, 2, 3}, 6: {1, 2, 3}}
