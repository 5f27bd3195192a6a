import os
import queue
import sys

import pytest

from draw_poly.kernels.cpu.runtime.threads import PROBE, TRIALS, Helpers, ThreadCountTuner, threads_for


def test_many_threads_share_large_work_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: 64)
    assert [threads_for(operations) for operations in (0.0, 3.9e6, 4e6, 4.6e6, 1e9)] == [1, 1, 4, 4, 64]


def test_threads_are_taken_while_they_pay_and_tried_again_later() -> None:
    pace = ThreadCountTuner()
    seconds = {1: 1.0, 4: 0.4}

    def calls(count: int) -> list[int]:
        chosen = []
        for _ in range(count):
            chosen.append(pace.choose(4))
            pace.note(chosen[-1], seconds[chosen[-1]])
        return chosen

    assert calls(TRIALS) == [4, 4, 4, 1] * 2
    assert calls(2 * PROBE).count(1) == 2
    seconds[4] = 3.0  # the other cores are busy now
    calls(10)
    assert calls(2 * PROBE).count(4) == 2
    seconds[4] = 0.4
    calls(2 * PROBE)
    assert calls(2 * PROBE).count(1) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep no thread to a set of cores")
def test_helpers_keep_off_the_core_of_their_caller() -> None:
    before = os.sched_getaffinity(0)
    if len(before) < 2:
        pytest.skip("one core only")
    helpers, found = Helpers(1), queue.Queue[set[int]]()

    def seen() -> set[int]:
        helpers.submit(lambda: found.put(os.sched_getaffinity(0)))
        return found.get(timeout=10)

    try:
        for core in sorted(before)[:2] * 2:
            os.sched_setaffinity(0, {core})
            helpers.keep_off()
            assert seen() == before - {core}
    finally:
        os.sched_setaffinity(0, before)
