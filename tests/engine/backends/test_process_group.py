"""Processes that train one network: what they add up, and an end that is the same for all."""

import csv
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.conftest import slow
from tests.engine.backends.groups import ENDLESS, LOST, TERM, Pair, assert_close, saved_epoch, words_for
from tests.processes import Start
from tests.test_parity import losses


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
        assert pair.processes[0].wait(timeout=240) == 0
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
    start: Start, tmp_path: Path, small_image: Path, words: list[object], statuses: list[int], said: str
) -> None:
    with Pair(words_for(small_image, tmp_path / "out", *words)[1:], tmp_path, start) as pair:
        assert pair.statuses() == statuses
        assert pair.log(0).count(said) == 1
        assert pair.log(1) == ""
