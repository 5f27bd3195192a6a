"""Every kernel against float64, over many draws: none may be wrong, for rounding's sake neither."""

from functools import partial
from typing import Any

import torch

from benches import verify_kernels
from benches.alone import Alone
from benches.gpu.cases import Case
from benches.gpu.course import Bench
from benches.method import Work
from benches.verify_kernels import SLACK, Row, Rows
from draw_poly.kernels import gpu

SEEDS, SMALL_SEEDS = 60, 1
# Of the groups of rows, those that a rehearsal has time for.
REHEARSED = ("[7,12,5]", "cross_entropy 11", "update adam")
# Where so much of the section's time is left, there is another draw.
SHARE = 0.6
# float64 on the CPU is many small operations, and compilers want the cores.
THREADS = 2
# How many times PyTorch's own error one of ours may be.
FACTOR = SLACK["fp32"][0]


def cases(small: bool) -> dict[str, Case]:
    """What compiles the kernels of each group of rows."""
    return {name: Case(partial(_work, make), 1) for name, make in _groups(small).items()}


def _groups(small: bool) -> dict[str, Rows]:
    return {
        f"{name}, {precision}": make
        for precision in (("fp32",) if small else ("fp32", "tf32"))
        for name, make in verify_kernels.groups(precision, small).items()
        if not small or any(part in name for part in REHEARSED)
    }


def _work(make: Rows, device: torch.device) -> Work:
    return lambda: list(make(Alone(gpu), device, 0))


def work(bench: Bench) -> None:
    """Seed after seed while there is time."""
    groups, verdict = _groups(bench.small).values(), Verdict()
    seeds, enough = 0, bench.left * SHARE
    torch.set_num_threads(min(THREADS, torch.get_num_threads()))
    while seeds < (SMALL_SEEDS if bench.small else SEEDS) and (bench.left > enough or not seeds):
        for make in groups:
            for row in make(Alone(gpu), bench.device, seeds):
                verdict.hear(seeds, row)
        seeds += 1
    wrong = verdict.wrong()
    bench.note(
        seeds=seeds, outputs=verdict.heard, worst=verdict.worst(), wrong=wrong[:200], passed=verdict.heard - len(wrong)
    )
    if wrong:
        bench.wrong(f"{len(wrong)} of {verdict.heard} outputs are wrong against float64, such as {wrong[0]}")
    print(f"{verdict.heard} outputs checked against float64, {seeds} draws of each, {len(wrong)} wrong", flush=True)


class Verdict:
    """Rows of many draws, judged together.

    An error may be what its row allows, or what PyTorch's own has been under another draw: with many draws, one of its
    errors is small by luck alone.
    """

    def __init__(self) -> None:
        self.heard = 0
        self._plain: dict[tuple[str, ...], float] = {}  # PyTorch's largest error of each output
        self._ours: dict[tuple[str, ...], float] = {}
        self._suspects: list[tuple[int, Row]] = []

    def hear(self, seed: int, row: Row) -> None:
        """One more."""
        self.heard += 1
        key = row.kernel, row.case, row.output
        self._plain[key] = max(self._plain.get(key, 0.0), row.plain)
        self._ours[key] = max(self._ours.get(key, 0.0), row.error)
        if not row.passed:
            self._suspects.append((seed, row))

    def wrong(self) -> list[dict[str, Any]]:
        """The rows that are wrong; what is to be equal to the bit has no other draw to be excused by."""
        return [{"seed": seed, **vars(row)} for seed, row in self._suspects if not row.error <= self._allowed(row)]

    def _allowed(self, row: Row) -> float:
        if not row.allowed:
            return 0.0
        return max(row.allowed, FACTOR * self._plain[row.kernel, row.case, row.output])

    def worst(self) -> dict[str, list[float]]:
        """Of each output the largest error, and PyTorch's."""
        return {", ".join(key): [error, self._plain[key]] for key, error in self._ours.items() if self._plain[key]}
