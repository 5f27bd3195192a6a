"""One network trained by several processes: the numbers of one, and an end that is the same for all."""

import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from draw_poly.engine.backends import select as backend
from draw_poly.engine.backends.base import Backend, Data, Interrupted
from draw_poly.engine.backends.data_parallel import Parallel
from draw_poly.engine.config import Config, ConfigError
from draw_poly.engine.processes import Group, joined
from draw_poly.engine.training.fresh import fresh_state
from tests.conftest import GOLDEN, INTERPRETED, Program, slow
from tests.epochs import epoch_of
from tests.test_parity import CASES, NAMES, RELATIVE, SIX_DECIMALS, losses

ROOT = Path(__file__).parents[3]
TERM = ["--kolmogorov-shape", "[4]", "--kolmogorov-weight", 0.3, "--kolmogorov-bins", 20]
LOST = "the other process is gone or does not answer"


class Round:
    """What threads that stand for processes bring to a sum. One computes at a time: Triton's interpreter needs it."""

    def __init__(self, size: int) -> None:
        self.vectors: list[Tensor] = [torch.empty(0)] * size
        self.barrier = threading.Barrier(size, timeout=120)
        self.turn = threading.Lock()

    def all_reduce(self, rank: int, vector: Tensor) -> None:
        self.vectors[rank] = vector.clone()
        self.turn.release()
        self.barrier.wait()
        vector.copy_(torch.stack(self.vectors).sum(0))
        self.barrier.wait()
        self.turn.acquire()


class Thread(Group):
    """A member of a group of threads."""

    def __init__(self, rank: int, shared: Round) -> None:
        super().__init__(rank, len(shared.vectors))
        object.__setattr__(self, "all_reduce", partial(shared.all_reduce, rank))


def made(name: str, with_term: bool) -> Backend:
    words = {"kolmogorov_shape": "[6]", "kolmogorov_weight": 0.7, "kolmogorov_bins": 30} if with_term else {}
    config = Config("x", "[7, 3]", 1, batch_size=8, learning_rate=0.01, backend=name, **words)  # type: ignore[arg-type]
    state = fresh_state(config, torch.Generator().manual_seed(2))
    return backend.choose(config, torch.device("cpu"))[0](state, config)


def in_threads(members: list[Backend], data: Data, order: Tensor, stops: list[int | None]) -> list[Tensor | None]:
    """The report of one epoch of each; None where it was interrupted, as those with a number are before that step."""
    shared = Round(len(members))
    reports: list[Tensor | None] = [None] * len(members)

    def train(rank: int) -> None:
        looks = iter(range(100))
        with shared.turn, torch.inference_mode(), suppress(Interrupted):
            together = Parallel(members[rank], Thread(rank, shared))
            reports[rank] = torch.tensor(epoch_of(together, data, order, lambda: next(looks) == stops[rank]))

    threads = [threading.Thread(target=train, args=(rank,)) for rank in range(len(members))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return reports


def numbers_of(member: Backend) -> list[Tensor]:
    return [tensor for one in member.state.learners for tensor in (one.parameters, one.moments)]


# Batches of 8 that neither 3 nor 5 divides; the last one has 1 point, so all but one process have none of it.
@pytest.mark.parametrize(
    ("name", "size", "with_term"),
    [
        *((name, size, with_term) for name in ("cpu", "eager") for size in (2, 3, 5) for with_term in (False, True)),
        *(pytest.param("triton", 3, with_term, marks=INTERPRETED) for with_term in (False, True)),
        pytest.param("compile", 2, True, marks=pytest.mark.slow),
    ],
)
def test_shares_add_up_to_the_step_of_one(name: str, size: int, with_term: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    data = Data(torch.rand((1, 3, 25), generator=generator), torch.rand((1, 3, 21), generator=generator), 8)
    order = torch.randperm(25, generator=generator)[None]
    alone, members = made(name, with_term), [made(name, with_term) for _ in range(size)]
    with torch.inference_mode():
        expected = torch.tensor(epoch_of(alone, data, order))
    reports = in_threads(members, data, order, [None] * size)
    for member, report in zip(members, reports, strict=True):
        assert report is not None
        torch.testing.assert_close(report, expected, rtol=2e-5, atol=1e-6)
        assert [one.steps for one in member.state.learners] == [4] * (1 + with_term)
        for ours, theirs, first in zip(*map(numbers_of, (member, alone, members[0])), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=2e-4, atol=2e-6)
            assert torch.equal(ours, first)


def test_all_stop_before_the_same_step_whoever_is_asked_to() -> None:
    generator = torch.Generator().manual_seed(1)
    data = Data(torch.rand((1, 3, 25), generator=generator), torch.rand((1, 3, 21), generator=generator), 8)
    members = [made("eager", False) for _ in range(3)]
    assert in_threads(members, data, torch.arange(25)[None], [None, 2, 3]) == [None] * 3
    assert [member.state.main.steps for member in members] == [2] * 3


def test_a_group_that_cannot_be_joined_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    for name in ("LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="WORLD_SIZE was 2, without LOCAL_RANK, MASTER_ADDR, MASTER_PORT"), joined():
        pass


@pytest.mark.parametrize(
    ("name", "group", "device"),
    [
        ("auto", Group(), "cuda:0"),
        ("cuda", Group(), "cuda:0"),
        ("auto", Group(3, 4, 1), "cuda:1"),
        ("cuda", Group(3, 4, 1), "cuda:1"),
        ("cuda:1", Group(), "cuda:1"),
        ("cpu", Group(3, 4, 1), "cpu"),
    ],
)
def test_each_process_takes_a_gpu_of_its_own(
    monkeypatch: pytest.MonkeyPatch, name: str, group: Group, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert backend.find_device(name, group) == torch.device(device)


@pytest.mark.parametrize(
    ("name", "group", "said"),
    [
        ("auto", Group(2, 4, 2), "process 3 of this machine would need a GPU of its own, and there are 2"),
        ("cuda:1", Group(1, 2, 1), "'cuda:1', but there are 2 processes"),
        ("cuda:2", Group(), "'cuda:2', but this machine has 2"),
    ],
)
def test_a_gpu_that_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, group: Group, said: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match=said):
        backend.find_device(name, group)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def words_for(image: Path, place: Path, *words: object) -> list[str]:
    base = [ROOT / "cli.py", "-i", image, "-s", "[5]*3", "-p", 100, "-b", 33, "--seed", 1, "-e", 4, "--device", "cpu"]
    return [str(word) for word in (*base, "-o", place, "--snapshot-dir", place / "snap", *words)]


@pytest.fixture
def alone(program: Program) -> Callable[..., str]:
    """The log of a run of one process, this one."""

    def run(image: Path, place: Path, *words: object) -> str:
        outcome = program(*words_for(image, place, *words)[1:])
        assert outcome.status == 0, outcome.log
        return outcome.log

    return run


class Pair:
    """Two processes, started as torchrun would start them but for its watching over them."""

    def __init__(self, program: list[str], place: Path) -> None:
        place.mkdir(parents=True, exist_ok=True)
        common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        self._logs = [place / f"{rank}.log" for rank in range(2)]
        self.processes = []
        for rank, log in enumerate(self._logs):
            environment = {**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            with log.open("w") as file:
                self.processes.append(
                    subprocess.Popen([sys.executable, *program], env=environment, stdout=file, stderr=file)
                )

    def log(self, rank: int) -> str:
        """What a process has said, without what PyTorch 2.9's Gloo says of who is connected."""
        return re.sub(r"^\[Gloo\] Rank .*\n", "", self._logs[rank].read_text(), flags=re.MULTILINE)

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + 60
        while text not in self.log(0):
            assert time.monotonic() < deadline, self.log(0)
            assert self.processes[0].poll() is None, self.log(0)
            time.sleep(0.01)

    def statuses(self) -> list[int]:
        """How both ended, in less time than a gloo step's limit."""
        return [process.wait(timeout=60) for process in self.processes]

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


@pytest.mark.slow
def test_sums_of_real_processes_are_equal_to_the_bit(tmp_path: Path) -> None:
    program = (
        "import torch, zlib; from draw_poly.engine.processes import joined\n"
        "with joined() as group:\n"
        "    vector = torch.rand(1013, generator=torch.Generator().manual_seed(group.rank))\n"
        "    group.all_reduce(vector)\n"
        "    group.broadcast('word') if group.is_main else print(group.receive())\n"
        "    print(vector.double().sum().item(), zlib.crc32(vector.numpy().tobytes()))\n"
    )
    with Pair(["-c", program], tmp_path) as pair:
        assert pair.statuses() == [0, 0], pair.log(0) + pair.log(1)
        first, second = pair.log(0).splitlines(), pair.log(1).splitlines()
    assert second == ["word", *first]
    parts = [torch.rand(1013, generator=torch.Generator().manual_seed(rank)) for rank in range(2)]
    assert float(first[0].split()[0]) == pytest.approx(float((parts[0] + parts[1]).double().sum()))


@pytest.mark.slow
def test_a_process_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    program = (
        "import datetime, time, torch; from draw_poly.engine import processes\n"
        "processes.STEP_TIMEOUT = datetime.timedelta(seconds=3)\n"
        "with processes.joined() as group:\n"
        "    try:\n"
        "        group.all_reduce(torch.ones(3)) if group.is_main else time.sleep(8)\n"
        "    except processes.Lost as lost:\n"
        "        print(lost)\n"
    )
    with Pair(["-c", program], tmp_path) as pair:
        assert pair.processes[0].wait(timeout=60) == 0
        assert pair.log(0).splitlines()[-1] == LOST


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_to_one_ends_both_at_one_epoch_and_one_process_goes_on(
    tmp_path: Path, small_image: Path, alone: Callable[..., str], rank: int
) -> None:
    together, single = tmp_path / "together", tmp_path / "single"
    with Pair(words_for(small_image, together, *ENDLESS, *TERM), tmp_path / "logs") as pair:
        pair.wait_for("Epoch 20/")
        pair.processes[rank].send_signal(signal.SIGINT)
        assert pair.statuses() == [130 if rank == 0 else 143, 0]
        log = pair.log(0)
        assert pair.log(1) == ""
    done = saved_epoch(together)
    assert f"by {'SIGINT' if rank == 0 else 'a signal to another process'} at epoch {done}" in log
    assert "Traceback" not in log
    words = ["-e", done + 5, "--backend", "eager", "--save-interval", 10**6, *TERM]
    resumed = losses(alone(small_image, together, *words, "--resume", together))
    straight = losses(alone(small_image, single, *words))
    assert_close(losses(log) | resumed, straight)
    (metrics,) = together.glob("*/metrics.csv")
    assert [int(row["epoch"]) for row in csv.DictReader(metrics.open())] == list(range(1, done + 6))


@pytest.mark.slow
def test_the_leader_saves_when_another_is_killed(tmp_path: Path, small_image: Path) -> None:
    with Pair(words_for(small_image, tmp_path / "out", *ENDLESS), tmp_path) as pair:
        pair.wait_for("Epoch 20/")
        pair.processes[1].kill()
        assert pair.statuses() == [3, -signal.SIGKILL]
        log = pair.log(0)
    done = max(losses(log))
    assert f"Failed at epoch {done}: {LOST}" in log
    assert "Traceback" not in log
    assert saved_epoch(tmp_path / "out") == done


@pytest.mark.slow
def test_the_others_end_when_the_leader_is_killed(tmp_path: Path, small_image: Path) -> None:
    words = words_for(small_image, tmp_path / "out", *ENDLESS, "--checkpoint-interval", 10)
    with Pair(words, tmp_path) as pair:
        pair.wait_for("Epoch 20/")
        pair.processes[0].kill()
        assert pair.statuses() == [-signal.SIGKILL, 3]
        assert re.fullmatch(f".* - ERROR - Process 1 ends: {LOST}\n", pair.log(1))
    assert saved_epoch(tmp_path / "out") % 10 == 0


@pytest.mark.parametrize(
    ("words", "statuses", "said"),
    [
        slow(["-p", 391], [2, 0], "--points was 391"),
        slow(["-p", "many"], [2, 2], "'many' was given"),
        slow(["--log-file", "/dev/null/x"], [2, 0], "--log-file /dev/null/x cannot be written"),
        (["--optimizer", "sgd", "-l", 1e18], [1, 0], "the loss was not finite in epoch 1, step 2 of 4"),
    ],
)
def test_what_ends_a_run_early_is_said_once(
    tmp_path: Path, small_image: Path, words: list[object], statuses: list[int], said: str
) -> None:
    with Pair(words_for(small_image, tmp_path / "out", *words), tmp_path) as pair:
        assert pair.statuses() == statuses
        assert pair.log(0).count(said) == 1
        assert pair.log(1) == ""


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
            deadline = time.monotonic() + 60
            while not list(torchrun_logs.glob("*/attempt_0/0/stderr.log")) or "Epoch 20/" not in log_of(
                torchrun_logs, 0
            ):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            os.kill(process_of(launcher.pid, 1) if number == signal.SIGKILL else launcher.pid, number)
            assert launcher.wait(timeout=60) != 0
        finally:
            launcher.kill()
    log = log_of(torchrun_logs, 0)
    done = max(losses(log))
    end = f"Failed at epoch {done}: {LOST}" if number == signal.SIGKILL else f"by {number.name} at epoch {done}"
    assert end in log
    assert "Traceback" not in log + log_of(torchrun_logs, 1)
    assert saved_epoch(tmp_path / "out") == done
