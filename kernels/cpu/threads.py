"""Threads that share tasks: as many as torch would use, started when they are first needed."""

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kernels.cpu import clock

# Floating-point operations, of a step or of an evaluation, below which another thread is not worth its waiting: where
# the other core has work of its own, such as encoding frames, each step may wait for it.
SHARED_WORK = 4e6
PROBE, MEMORY = 32, 5  # calls from one look at the slower way to the next, and calls that are remembered


def threads_for(operations: float) -> int:
    """How many threads should share so much work: torch's number of them, or one."""
    return torch.get_num_threads() if operations >= SHARED_WORK else 1


class Pace:
    """Whether helpers pay just now, by the clock: where other cores have work of their own, they hold up every step.

    What is computed does not depend on it.
    """

    def __init__(self) -> None:
        self._calls = 0
        self._seconds: dict[int, deque[float]] = {}  # an operation, of the last calls, by threads

    def choose(self, threads: int) -> int:
        """So many threads or one, in turns until both are known, then whichever was faster; now and then the other."""
        self._calls += 1
        if self._calls <= 2 * MEMORY:  # a first call says little: it starts threads, and finds caches cold
            return threads if self._calls % 2 else 1
        faster, slower = sorted((threads, 1), key=lambda number: min(self._seconds[number]))
        return slower if self._calls % PROBE == 0 else faster

    def note(self, threads: int, seconds: float) -> None:
        """What an operation took."""
        self._seconds.setdefault(threads, deque(maxlen=MEMORY)).append(seconds)


class Team:
    """The caller and its helpers, each with a scratch of its own of `size` numbers."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._scratch: list[NDArray[np.float32]] = []
        self._helpers: ThreadPoolExecutor | None = None
        self._most = 1
        self._pace = Pace()

    def run(self, threads: int, operations: float, function: Callable[..., Any], *arguments: Any) -> None:
        """Calls `function(clock, scratch, *arguments)`, of so many operations, in the caller and perhaps in helpers.

        The function takes tasks by the clock, and returns when all are done. A helper that comes too late finds none,
        so nobody waits for it: to wake a thread can take longer than the work.
        """
        threads = self._pace.choose(threads) if threads > 1 else 1
        started = time.perf_counter()
        while len(self._scratch) < threads:
            self._scratch.append(torch.empty(self._size).numpy())  # torch's memory begins on a cache line
        now = np.zeros(clock.SIZE, np.int64)
        if threads > 1:
            if self._helpers is None or self._most < threads:
                self._helpers, self._most = ThreadPoolExecutor(threads - 1, "kernels"), threads
            for number in range(1, threads):
                self._helpers.submit(function, now, self._scratch[number], *arguments)
        function(now, self._scratch[0], *arguments)
        self._pace.note(threads, (time.perf_counter() - started) / max(operations, 1.0))
