"""One owner of a run's files, whatever becomes of the owner, of the machine, and of those who come at the same time."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from draw_poly.engine.prepare import claim, liveness
from draw_poly.engine.prepare.claim import Claim, Owned, Owner, Taken

# Takes the claim that its first argument names, says so, and waits for its input to end.
TAKER = (
    "import pathlib, sys; from draw_poly.engine.prepare.claim import Claim\n"
    "claim = Claim(); claim.take([pathlib.Path(sys.argv[1])], {}); print('taken', flush=True); sys.stdin.read()\n"
)


@contextmanager
def another(path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process, which owns by this claim; killed at the end."""
    words = [sys.executable, "-c", TAKER, str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "taken\n"
            yield process
        finally:
            process.kill()


def written(path: Path, age: float = 0.0, **changes: object) -> None:
    """A claim of this process with some changes, last renewed so many seconds ago."""
    owner = dataclasses.replace(Owner.this({}), **changes)  # type: ignore[arg-type]
    path.write_text(json.dumps(dataclasses.asdict(owner)))
    now = path.stat().st_mtime
    os.utime(path, (now - age, now - age))


def refused(path: Path) -> Owned:
    with Claim() as mine, pytest.raises(Owned) as caught:
        mine.take([path], {})
    return caught.value


def test_the_second_is_told_who_the_first_is(tmp_path: Path) -> None:
    path = tmp_path / "claim"
    with another(path) as process:
        said = refused(path)
        assert f"process {process.pid} on {os.uname().nodename}, since {time.strftime('%Y-%m-%d')}" in str(said)
        assert "seconds" not in str(said)
        process.send_signal(signal.SIGSTOP)
        assert refused(path).owner == said.owner
        process.send_signal(signal.SIGCONT)
        process.communicate()
        assert process.returncode == 0


def test_the_claim_of_a_dead_process_is_void_even_before_anyone_has_waited_for_it(tmp_path: Path) -> None:
    path = tmp_path / "claim"
    with another(path) as process:
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and still listed
        with Claim() as mine:
            mine.take([path], {})
            mine.check()
    assert not path.exists()


def test_a_process_that_has_a_dead_ones_number_is_not_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "claim"
    written(path, started="long ago")
    with Claim() as mine:
        mine.take([path], {})


def test_where_no_process_can_be_seen_renewal_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "claim"
    written(path, machine="elsewhere", host="elsewhere", age=claim.LAPSE - 5)
    assert "on elsewhere, since" in str(refused(path))
    assert "wait for its end or, if it has died, for 60 seconds" in str(refused(path))
    written(path, machine="", age=claim.LAPSE - 5)
    refused(path)
    written(path, machine="elsewhere", age=claim.LAPSE + 5)
    with Claim() as mine:
        mine.take([path], {})
    monkeypatch.setattr(liveness, "start_of", lambda _: None)  # as where /proc shows a user's own processes alone
    written(path, age=claim.LAPSE - 5)
    refused(path)


def test_an_owner_renews_its_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "BEAT", 0.01)
    path = tmp_path / "claim"
    with Claim() as mine:
        mine.take([path], {})
        os.utime(path, (1, 1))
        deadline = time.monotonic() + 20
        while path.stat().st_mtime == 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_an_owner_whose_claim_was_taken_finds_out_and_leaves_it_to_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "claim"
    with Claim() as mine:
        mine.take([path], {})
        os.utime(path, (1, 1))
        monkeypatch.setattr(liveness, "machine", lambda: "elsewhere")
        with Claim() as theirs:
            theirs.take([path], {})
            later = claim._now() + 1
            monkeypatch.setattr(claim, "_now", lambda: later)
            with pytest.raises(Taken, match=f"taken over by process {os.getpid()} on"):
                mine.check()
            mine.give_up()
            theirs.check()
            assert path.exists()


def test_a_claim_that_someone_removed_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "TRUST", 0.0)
    path = tmp_path / "claim"
    with Claim() as mine:
        mine.take([path], {})
        path.unlink()
        mine.check()
        refused(path)


@pytest.mark.parametrize("content", [b"", b'{"host": "a', b"[]", b'{"host": "a"}', b"\xff"])
def test_a_crash_while_a_claim_is_written_blocks_nobody_for_long(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "claim"
    path.write_bytes(content)
    refused(path)
    os.utime(path, (1, 1))
    with Claim() as mine:
        mine.take([path], {})


def test_all_or_none_is_claimed(tmp_path: Path) -> None:
    with Claim() as first:
        first.take([tmp_path / "b"], {})
        with Claim() as second, pytest.raises(Owned):
            second.take([tmp_path / "c", tmp_path / "b", tmp_path / "a"], {})
        assert [path.name for path in tmp_path.iterdir()] == ["b"]
        first.check()


def at_once(path: Path, count: int) -> list[Claim]:
    """The claims that were taken, of so many that are taken at the same time."""
    barrier, taken = threading.Barrier(count), []

    def take() -> None:
        mine = Claim()
        barrier.wait()
        try:
            mine.take([path], {})
        except Owned:
            return
        taken.append(mine)

    threads = [threading.Thread(target=take) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken


def nothing(_: Path) -> None:
    """No claim is there."""


def void(path: Path) -> None:
    """A claim of the dead."""
    written(path, started="long ago")


@pytest.mark.parametrize("before", [nothing, void])
def test_of_those_who_come_at_once_one_is_the_owner(tmp_path: Path, before: Callable[[Path], None]) -> None:
    for attempt in range(20):
        path = tmp_path / str(attempt)
        before(path)
        (owner,) = at_once(path, 4)
        owner.check()
        owner.give_up()


def test_without_locks_one_of_them_stays_the_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("draw_poly.engine.prepare.claim.fcntl.flock", no_locks)
    monkeypatch.setattr(claim, "TRUST", -1.0)
    for attempt in range(20):
        path = tmp_path / str(attempt)
        void(path)
        stay = []
        for one in at_once(path, 4):
            try:
                one.check()
                stay.append(one)
            except Taken:
                one.give_up()
        (owner,) = stay
        owner.give_up()
