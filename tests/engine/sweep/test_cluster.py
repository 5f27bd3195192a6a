"""Sweeps over real workers: one that is killed, one that comes late, a scheduler that stops, Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from draw_poly.engine.files import CHECKPOINT_EPOCH
from draw_poly.engine.record import journal
from draw_poly.engine.sweep import cluster
from draw_poly.engine.sweep.cluster import Cluster, Worker, reached
from draw_poly.engine.sweep.piece import Piece
from tests.conftest import Program
from tests.engine.sweep.test_spread import same
from tests.engine.sweep.test_sweep import table
from tests.processes import ROOT, wait_for, words_for

pytest.importorskip("distributed")
pytestmark = pytest.mark.slow

# No picture but the last sheet: what comes back is looked at, not how it is drawn.
WORDS: list[object] = ["-e", 9000, "--vary", "seed=1..4", "--checkpoint-interval", 3000, "--keep-checkpoints", 1]
WORDS += ["--save-interval", 10**6, "--no-film"]


class Machines:
    """A scheduler and workers as Dask's own commands start them, on this machine."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "scheduler.json"
        self._started: list[subprocess.Popen[bytes]] = []
        words = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        self.scheduler = self._start("scheduler", *words)
        wait_until(self.file.exists)

    def worker(self, *words: str) -> "subprocess.Popen[bytes]":
        return self._start("worker", "--nthreads", "1", "--no-nanny", "--no-dashboard", *words)

    def _start(self, what: str, *words: str) -> "subprocess.Popen[bytes]":
        line = [sys.executable, "-m", "dask", what, "--scheduler-file", str(self.file), *words]
        started = subprocess.Popen(line, cwd=self.file.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._started.append(started)
        return started

    def end(self) -> None:
        for process in self._started:
            process.kill()
            process.wait()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    there = Machines(tmp_path)
    yield there
    there.end()


def wait_until(condition: Callable[[], object], seconds: float = 120.0) -> None:
    last = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < last
        time.sleep(0.05)


def process_of(processes: Sequence["subprocess.Popen[bytes]"], worker: Worker) -> "subprocess.Popen[bytes]":
    """The process that is a worker."""
    import psutil  # Dask's own dependency

    def ports(process: "subprocess.Popen[bytes]") -> set[int]:
        every = psutil.Process(process.pid).net_connections()
        return {one.laddr.port for one in every if one.status == psutil.CONN_LISTEN}

    (found,) = (one for one in processes if int(worker.address.rpartition(":")[2]) in ports(one))
    return found


class Given(list[tuple[Piece, Worker]]):
    then: Callable[[Cluster, int], object] = staticmethod(lambda _, __: None)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Given:
    """What is given to whom; after each, its `then` is called with how many it were."""
    found = Given()
    real = Cluster.give

    def give(self: Cluster, piece: Piece, worker: Worker) -> Any:
        future = real(self, piece, worker)
        found.append((piece, worker))
        found.then(self, len(found))
        return future

    monkeypatch.setattr(Cluster, "give", give)
    return found


def test_a_worker_that_is_killed_costs_a_stretch(
    machines: Machines, program: Program, tmp_path: Path, given: Given
) -> None:
    workers = [machines.worker("--name", name) for name in ("one", "two")]

    def then(there: Cluster, count: int) -> None:
        if count == 1:
            wait_until(lambda: len(there.workers()) == 2)
        if count == 4:  # whoever was just given a piece
            killed = process_of(workers, given[-1][1])
            killed.send_signal(signal.SIGKILL)
            killed.wait()

    given.then = then
    outcome = program(*WORDS, "--cluster", machines.file)
    assert outcome.status == 0, outcome.log
    assert "the worker is gone" in outcome.log
    assert [row["status"] for row in table(tmp_path / "out" / "results")] == ["done"] * 4
    assert len({worker.address for _, worker in given}) == 2
    again = [(part.number, piece.until) for piece, _ in given for part in piece.members]
    assert 0 < len(again) - len(set(again)) <= 4  # one piece's members, for one stretch
    assert program(*WORDS, folder="alone").status == 0
    same(tmp_path, "out", "alone")


def test_workers_that_come_late_take_their_share(
    machines: Machines, program: Program, tmp_path: Path, given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = journal.log.warning

    def warning(text: str, *words: object) -> None:
        real(text, *words)
        if "no worker" in text:
            machines.worker()

    monkeypatch.setattr(journal.log, "warning", warning)

    def then(there: Cluster, count: int) -> None:
        if count == 2:
            machines.worker()
            wait_until(lambda: len(there.workers()) == 2)

    given.then = then
    outcome = program(*WORDS, "--cluster", machines.file)
    assert outcome.status == 0, outcome.log
    assert outcome.log.count("There is no worker: waiting for one") == 1
    assert [len(piece.members) for piece, _ in given[:2]] == [4, 4]
    assert len({worker.address for _, worker in given}) == 2
    assert program(*WORDS, folder="alone").status == 0
    same(tmp_path, "out", "alone")


def test_a_scheduler_that_stops_leaves_what_came_back(
    machines: Machines, program: Program, tmp_path: Path, given: Given
) -> None:
    machines.worker()

    def then(_: Cluster, count: int) -> None:
        if count == 2:
            machines.scheduler.kill()
            machines.scheduler.wait()
            stopped.append(time.monotonic())

    stopped: list[float] = []
    given.then = then
    outcome = program(*WORDS, "--cluster", machines.file)
    assert outcome.status == 3
    assert time.monotonic() - stopped[0] < 60
    (line,) = [line for line in outcome.log.splitlines() if " - ERROR - " in line]
    assert "is gone" in line
    assert "Traceback" not in outcome.log
    rows = table(tmp_path / "out" / "results")
    assert [(row["status"], row["epochs"]) for row in rows] == [("running", "3000")] * 4
    (place,) = (tmp_path / "out" / "results").glob("sweep_*")
    assert program(*WORDS, "--resume", place).status == 0
    assert program(*WORDS, folder="alone").status == 0
    same(tmp_path, "out", "alone")


def test_a_scheduler_that_is_not_there_is_a_sentence(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "REACHED", 2.0)
    for address, said in (("tcp://127.0.0.1:1", "cannot be reached ("), ("tls://127.0.0.1:1", "needs certificates: ")):
        started = time.monotonic()
        outcome = program("--vary", "seed=1,2", "--cluster", address)
        assert outcome.status == 2
        (line,) = outcome.log.splitlines()
        assert line.startswith(f"draw-poly: --cluster {address} {said}")
        assert time.monotonic() - started < 30
    assert not (tmp_path / "out").exists()


def test_nothing_listens_beyond_this_machine() -> None:
    import psutil

    with reached("local:1") as there:
        assert there is not None
        assert len(there.workers()) == 1
        this = psutil.Process()
        every = [this, *this.children(recursive=True)]
        listening = [one.laddr.ip for process in every for one in process.net_connections() if one.status == "LISTEN"]
    assert len(listening) >= 2
    assert set(listening) == {"127.0.0.1"}


def test_an_interrupted_sweep_ends_its_workers(tmp_path: Path, small_image: Path) -> None:
    import psutil

    words = ["-e", 10**7, "--vary", "seed=1..4", "--checkpoint-interval", 2000, "--cluster", "local:2"]
    line = [sys.executable, str(ROOT / "cli.py"), *words_for(small_image, tmp_path, *words, "--keep-checkpoints", 1)]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True, start_new_session=True) as running:
        wait_for(running, "4 running")
        others = psutil.Process(running.pid).children(recursive=True)
        assert len(others) >= 2
        os.killpg(running.pid, signal.SIGINT)
        _, rest = running.communicate(timeout=100)
    assert running.returncode == 130
    assert "Interrupted by SIGINT: what was trained is saved" in rest
    assert "Traceback" not in rest
    _, alive = psutil.wait_procs(others, 20)
    assert not alive
    rows = table(tmp_path)
    assert any(row["epochs"] != "0" for row in rows)
    for row in rows:  # whole stretches, the first of which may not be over
        (place,) = tmp_path.glob(f"sweep_*/{row['folder']}")
        there = [int(CHECKPOINT_EPOCH.findall(path.name)[0]) + 1 for path in place.glob("*.pt")]
        assert there == [int(row["epochs"])] * (row["epochs"] != "0")
        assert int(row["epochs"]) % 2000 == 0
