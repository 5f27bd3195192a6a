"""Threads that share tasks: as many as torch would use, started when they are first needed."""

import ctypes
import os
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from draw_poly.kernels.cpu.runtime import task_counter
from draw_poly.kernels.subnormals import flushed

# Floating-point operations, of a step or of an evaluation, below which another thread is not worth its waiting: where
# the other core has work of its own, such as encoding frames, each step may wait for it.
SHARED_WORK = 4e6
THREAD_WORK = 1e6  # of a thread, at least: on a machine of many cores the others would find nothing left
PROBE, MEMORY = 64, 5  # calls from one look at the slower way to the next, and calls that are remembered
TRIALS, TRIAL = 8, 4  # first calls, too cold to say much, and which of them are made without helpers


def threads_for(operations: float) -> int:
    """How many threads should share so much work: torch's number of them at most, or one."""
    return min(torch.get_num_threads(), int(operations / THREAD_WORK)) if operations >= SHARED_WORK else 1


class ThreadCountTuner:
    """Whether helpers pay just now, by the clock: where other cores have work of their own, they hold up every step.

    What is computed does not depend on it.
    """

    def __init__(self) -> None:
        self._calls = 0
        self._seconds: dict[int, deque[float]] = {}  # an operation, of the last calls, by threads

    def choose(self, threads: int) -> int:
        """So many threads, on trial one, until both are known; then whichever was faster, now and then the other."""
        self._calls += 1
        if self._calls <= TRIALS:
            return threads if self._calls % TRIAL else 1
        faster, slower = sorted((threads, 1), key=lambda number: min(self._seconds[number]))
        return slower if self._calls % PROBE == 0 else faster

    def note(self, threads: int, seconds: float) -> None:
        """What an operation took."""
        self._seconds.setdefault(threads, deque(maxlen=MEMORY)).append(seconds)


class Helpers:
    """Threads that keep off their caller's core.

    Linux may wake a thread on the core of who wakes it, and leave it there, waiting for milliseconds, while another
    core is idle.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count, "kernels", self._join)
        self._members: list[int] = []
        self._cores = os.sched_getaffinity(0) if sys.platform == "linux" else set()
        self._elsewhere: set[int] = set()  # the cores that members are bound to; nothing until then

    def submit(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Calls it in a helper, some time."""
        self._pool.submit(function, *arguments)

    def keep_off(self) -> None:
        """Leaves the core that this is called on to the caller, if there are others."""
        if sys.platform == "linux" and (elsewhere := self._cores - {_current_core()}) != self._elsewhere:
            self._elsewhere = elsewhere
            for member in tuple(self._members):
                self._bind(member)

    def _join(self) -> None:
        torch.set_flush_denormal(True)  # for good: kernels are all that a helper runs
        member = threading.get_native_id()
        self._members.append(member)
        self._bind(member)

    def _bind(self, member: int) -> None:
        if sys.platform == "linux" and self._elsewhere:
            with suppress(OSError):  # cores were taken from the process meanwhile: the system's choice will do
                os.sched_setaffinity(member, self._elsewhere)


def _current_core() -> int:
    return int(_sched_getcpu())


_sched_getcpu: Any = ctypes.CDLL(None).sched_getcpu if sys.platform == "linux" else None


class Team:
    """The caller and its helpers, each with a scratch of its own of `size` numbers, for work on so many networks.

    Several threads may call it: they take turns, and whoever holds `turn` keeps it over several calls. A forked process
    begins with helpers and a turn of its own.
    """

    def __init__(self, size: int, networks: int = 1) -> None:
        self._size, self._networks = size, networks
        self._scratch: list[NDArray[np.float32]] = []
        self._pace = ThreadCountTuner()
        self.begin()
        _teams.add(self)

    def begin(self) -> None:
        """Without helpers, and nobody's turn: those that there were are another process's."""
        self.turn = threading.RLock()
        self._helpers: Helpers | None = None

    def run(self, threads: int, operations: float, function: Callable[..., Any], *arguments: Any) -> None:
        """Calls `function(tasks, scratch, *arguments)`, of so many operations, in the caller and perhaps in helpers.

        The function takes tasks by it, and returns when all are done. A helper that comes too late finds none,
        so nobody waits for it: to wake a thread can take longer than the work. Subnormals are zeros in all of them.
        """
        with self.turn:
            self._run(threads, operations, function, *arguments)

    def _run(self, threads: int, operations: float, function: Callable[..., Any], *arguments: Any) -> None:
        threads = self._pace.choose(threads) if threads > 1 else 1
        started = time.perf_counter()
        while len(self._scratch) < threads:
            self._scratch.append(torch.empty(self._size).numpy())  # torch's memory begins on a cache line
        now = task_counter.fresh(self._networks)
        if threads > 1:
            if self._helpers is None or self._helpers.count < threads - 1:
                self._helpers = Helpers(threads - 1)
            self._helpers.keep_off()
            for number in range(1, threads):
                self._helpers.submit(function, now, self._scratch[number], *arguments)
        with flushed():
            function(now, self._scratch[0], *arguments)
        self._pace.note(threads, (time.perf_counter() - started) / max(operations, 1.0))


_teams: weakref.WeakSet[Team] = weakref.WeakSet()


def _begin_in_child() -> None:
    for team in tuple(_teams):
        team.begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)
