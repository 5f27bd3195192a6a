"""The program under torchrun: what one process writes, and an end with a checkpoint for all."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import GOLDEN
from tests.engine.backends.groups import ENDLESS, LOST, TERM, assert_close, free_port, saved_epoch, words_for
from tests.processes import ROOT
from tests.test_parity import CASES, NAMES, RELATIVE, SIX_DECIMALS, losses


def torchrun(place: Path, words: list[str]) -> list[str]:
    """The command, each process's output in a file of its own."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", 2, "--master-port", free_port()]
    return [str(word) for word in (*launcher, "--log-dir", place, "--redirects", 3, *words)]


def log_of(place: Path, rank: int) -> str:
    (path,) = place.glob(f"*/attempt_0/{rank}/stderr.log")
    return path.read_text()


@pytest.fixture
def torchrun_logs(tmp_path: Path) -> Path:
    place = tmp_path / "torchrun"
    place.mkdir()
    return place


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cpu", "eager"])
@pytest.mark.parametrize("words", [[], TERM])
def test_torchrun_trains_and_writes_what_one_process_does(
    tmp_path: Path, torchrun_logs: Path, small_image: Path, alone: Callable[..., str], name: str, words: list[object]
) -> None:
    words = [*words, "--backend", name]
    single, together = tmp_path / "single", tmp_path / "together"
    expected = alone(small_image, single, *words)
    subprocess.run(
        torchrun(torchrun_logs, words_for(small_image, together, *words)), check=True, capture_output=True, timeout=120
    )
    log = log_of(torchrun_logs, 0)
    assert_close(losses(log), losses(expected))
    assert log.count("=== Training completed successfully ===") == log.count("Final checkpoint saved") == 1
    assert log_of(torchrun_logs, 1) == ""
    files = [sorted(str(path.relative_to(place)) for path in place.rglob("*")) for place in (single, together)]
    assert files[0] == files[1]
    (settings,) = together.glob("*/config.json")
    assert json.loads(settings.read_text())["resolved"]["processes"] == 2


@pytest.mark.slow
@pytest.mark.parametrize(("case", "name"), [("rmsprop", "cpu"), ("kolmogorov_ce", "eager")])
def test_torchrun_prints_the_originals_losses(tmp_path: Path, torchrun_logs: Path, case: str, name: str) -> None:
    words = [str(GOLDEN / "images" / word) if word.endswith(".png") else word for word in CASES[case]["args"]]
    words += ["-o", str(tmp_path / "out"), "--snapshot-dir", str(tmp_path / "out"), "--save-interval", "100000"]
    command = torchrun(torchrun_logs, [str(ROOT / "cli.py"), *words, "--device", "cpu", "--backend", name])
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    got = losses(log_of(torchrun_logs, 0))
    for row in CASES[case]["epochs"]:
        for ours, theirs in zip(got[row["epoch"]], (row[key] for key in NAMES), strict=True):
            assert abs(ours - theirs) - SIX_DECIMALS <= RELATIVE * max(abs(theirs), 1e-3)


def process_of(launcher: int, rank: int) -> int:
    """The process of a rank, among the children of torchrun."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            environment = (folder / "environ").read_bytes().split(b"\0") if parent == launcher else []
        except OSError:  # it has ended meanwhile, or is another's
            continue
        if f"RANK={rank}".encode() in environment:
            return int(folder.name)
    raise AssertionError(f"no process of rank {rank}")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGHUP])
def test_torchrun_stops_the_others_with_a_checkpoint(
    tmp_path: Path, torchrun_logs: Path, small_image: Path, number: signal.Signals
) -> None:
    """SIGKILL to one process, the others to torchrun, which passes them on to all."""
    command = torchrun(torchrun_logs, words_for(small_image, tmp_path / "out", *ENDLESS))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as launcher:
        try:
            deadline = time.monotonic() + 240
            while not list(torchrun_logs.glob("*/attempt_0/0/stderr.log")) or "Epoch 20/" not in log_of(
                torchrun_logs, 0
            ):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            os.kill(process_of(launcher.pid, 1) if number == signal.SIGKILL else launcher.pid, number)
            assert launcher.wait(timeout=240) != 0
        finally:
            launcher.kill()
    log = log_of(torchrun_logs, 0)
    done = max(losses(log))
    end = f"Failed at epoch {done}: {LOST}" if number == signal.SIGKILL else f"by {number.name} at epoch {done}"
    assert end in log
    assert "Traceback" not in log + log_of(torchrun_logs, 1)
    assert saved_epoch(tmp_path / "out") == done
