"""Threads that share tasks: as many as torch would use, started when they are first needed."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kernels.cpu import clock

# Floating-point operations below which to wake another thread costs more than its help is worth.
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
        self._clock = np.zeros(clock.SIZE, np.int64)

    def run(self, threads: int, function: Callable[..., Any], *arguments: Any) -> None:
        """Calls `function(clock, scratch, *arguments)` in the caller and in helpers, and returns when all are done."""
        while len(self._scratch) < threads:
            self._scratch.append(torch.empty(self._size).numpy())  # torch's memory begins on a cache line
        self._clock[:] = 0
        if threads > 1 and (self._helpers is None or self._helpers._max_workers < threads - 1):
            self._helpers = ThreadPoolExecutor(threads - 1, "kernels")
        futures = [
            self._helpers.submit(function, self._clock, self._scratch[number], *arguments)
            for number in range(1, threads)
            if self._helpers
        ]
        function(self._clock, self._scratch[0], *arguments)
        for future in futures:
            if not future.cancel():  # one that never began has nothing left to do
                future.result()
