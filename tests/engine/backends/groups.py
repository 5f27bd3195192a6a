"""What the tests of several processes share: two of them, begun as torchrun begins them, and what they come to."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.processes import ROOT, Running, Start
from tests.test_parity import RELATIVE, SIX_DECIMALS

TERM = ["--kolmogorov-shape", "[4]", "--kolmogorov-weight", 0.3, "--kolmogorov-bins", 20]

# Seconds: where kernels are not on disk yet, each process compiles them, on cores that others use.
PATIENCE = 240
LOST = "the other process is gone or does not answer"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def words_for(image: Path, place: Path, *words: object) -> list[str]:
    base = [ROOT / "cli.py", "-i", image, "-s", "[5]*3", "-p", 100, "-b", 33, "--seed", 1, "-e", 4, "--device", "cpu"]
    return [str(word) for word in (*base, "-o", place, "--snapshot-dir", place / "snap", *words)]


def python(program: list[str], into: int, environment: dict[str, str]) -> "subprocess.Popen[str]":
    """Any program of Python's, which says all into a descriptor."""
    words, around = [sys.executable, *program], {**os.environ, **environment}
    return subprocess.Popen(words, env=around, stdout=into, stderr=into, text=True)


class Pair:
    """Two processes, started as torchrun would start them but for its watching over them."""

    def __init__(self, program: list[str], place: Path, start: Start = python) -> None:
        place.mkdir(parents=True, exist_ok=True)
        common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        self._logs = [place / f"{rank}.log" for rank in range(2)]
        self.processes: list[Running] = []
        for rank, log in enumerate(self._logs):
            environment = {**common, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            with log.open("w") as file:
                self.processes.append(start(program, into=file.fileno(), environment=environment))

    def log(self, rank: int) -> str:
        """What a process has said, without what PyTorch 2.9's Gloo says of who is connected."""
        return re.sub(r"^\[Gloo\] Rank .*\n", "", self._logs[rank].read_text(), flags=re.MULTILINE)

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while text not in self.log(0):
            assert time.monotonic() < deadline, self.log(0)
            assert self.processes[0].poll() is None, self.log(0)
            time.sleep(0.01)

    def statuses(self) -> list[int]:
        """How both ended, in less time than a gloo step's limit."""
        return [process.wait(timeout=PATIENCE) for process in self.processes]

    def __enter__(self) -> "Pair":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


ENDLESS = ["-e", 10**6, "--save-interval", 10**6, "--backend", "eager"]


def assert_close(ours: dict[int, tuple[float, ...]], theirs: dict[int, tuple[float, ...]]) -> None:
    assert ours
    assert set(ours) == set(theirs)
    for epoch, row in ours.items():
        assert row == pytest.approx(theirs[epoch], rel=RELATIVE, abs=SIX_DECIMALS)


def saved_epoch(place: Path) -> int:
    """The epochs that the newest checkpoint has behind it."""
    newest = max(place.glob("checkpoint_*.pt"))
    epoch: int = torch.load(newest, weights_only=False)["epoch"]
    return epoch + 1
