"""Threads that share tasks: as many as torch would use, started when they are first needed."""

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


def threads_for(operations: float) -> int:
    """How many threads should share so much work: torch's number of them, or one."""
    return torch.get_num_threads() if operations >= SHARED_WORK else 1


class Team:
    """The caller and its helpers, each with a scratch of its own of `size` numbers."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._scratch: list[NDArray[np.float32]] = []
        self._helpers: ThreadPoolExecutor | None = None
        self._most = 1

    def run(self, threads: int, function: Callable[..., Any], *arguments: Any) -> None:
        """Calls `function(clock, scratch, *arguments)` in the caller and in helpers.

        The function takes tasks by the clock, and returns when all are done. A helper that comes too late finds none,
        so nobody waits for it: to wake a thread can take longer than the work.
        """
        while len(self._scratch) < threads:
            self._scratch.append(torch.empty(self._size).numpy())  # torch's memory begins on a cache line
        now = np.zeros(clock.SIZE, np.int64)
        if threads > 1:
            if self._helpers is None or self._most < threads:
                self._helpers, self._most = ThreadPoolExecutor(threads - 1, "kernels"), threads
            for number in range(1, threads):
                self._helpers.submit(function, now, self._scratch[number], *arguments)
        function(now, self._scratch[0], *arguments)
