from kernels.cpu.threads import MEMORY, PROBE, Pace


def test_threads_are_taken_while_they_pay_and_tried_again_later() -> None:
    pace = Pace()
    seconds = {1: 1.0, 4: 0.4}

    def calls(count: int) -> list[int]:
        chosen = []
        for _ in range(count):
            chosen.append(pace.choose(4))
            pace.note(chosen[-1], seconds[chosen[-1]])
        return chosen

    assert calls(2 * MEMORY) == [4, 1] * MEMORY
    assert calls(2 * PROBE).count(1) == 2
    seconds[4] = 3.0  # the other cores are busy now
    calls(10)
    assert calls(2 * PROBE).count(4) == 2
    seconds[4] = 0.4
    calls(2 * PROBE)
    assert calls(2 * PROBE).count(1) == 2
