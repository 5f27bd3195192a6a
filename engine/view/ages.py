"""When each region's pattern was first seen, at every epoch that a run has left a network of."""

import threading

import numpy as np
from numpy.typing import NDArray

from draw_poly.engine.view.history import History, Unreadable
from draw_poly.kernels.cpu.cells import hashes, matched
from draw_poly.kernels.cpu.regions import Regions
from draw_poly.kernels.spec.subdivision import Subdivision, TooManyRegions

UNKNOWN = -1
ROOM = 4096


class Ages:
    """The lives of patterns over a run's epochs, found in a thread of its own: who asks never waits.

    A life is a stretch of epochs, one after the other, that have a region of this pattern in the unit square.
    """

    def __init__(self, most: int) -> None:
        self._most, self._lock, self._thread = most, threading.Lock(), threading.Thread()
        self._seen: list[int] = []  # epochs, in their order
        self._count = 0
        self._hashes = np.empty((ROOM, 2), np.uint64)
        self._first, self._last = np.empty(ROOM, np.int64), np.empty(ROOM, np.int64)
        self._now = np.empty(0, np.int64)  # the lives of the last epoch

    def follow(self, history: History) -> None:
        """Goes on with the epochs that are new; begins anew where they are others."""
        if self._thread.is_alive():
            return
        epochs = list(history.epochs)
        if epochs[: len(self._seen)] != self._seen:
            with self._lock:
                self._seen, self._count, self._now = [], 0, np.empty(0, np.int64)
        if len(epochs) > len(self._seen):
            self._thread = threading.Thread(target=self._go_on, args=(history, epochs), daemon=True)
            self._thread.start()

    def wait(self) -> None:
        """Until all that was given has been followed."""
        if self._thread.is_alive():
            self._thread.join()

    @property
    def reached(self) -> int:
        """The last epoch that was followed; UNKNOWN before the first one."""
        return self._seen[-1] if self._seen else UNKNOWN

    def born(self, epoch: int, found: Subdivision) -> NDArray[np.int32]:
        """The epoch that saw each cell's pattern first (F,), at one of the run's; UNKNOWN where that is not known.

        Of any window: a cell's pattern is its region's.
        """
        with self._lock:
            if epoch > self.reached or not self._seen:
                return np.full(found.cells, UNKNOWN, np.int32)
            count = self._count
            lived = np.flatnonzero((self._first[:count] <= epoch) & (self._last[:count] >= epoch))
            first, known = self._first[lived], self._hashes[lived]
        place = matched(known, hashes(found))
        return np.where(place >= 0, first[place] if len(first) else UNKNOWN, UNKNOWN).astype(np.int32)

    def _go_on(self, history: History, epochs: list[int]) -> None:
        builder: Regions | None = None
        for epoch in epochs[len(self._seen) :]:
            try:
                state = history.state(epoch)
                builder = builder or Regions(state.network, self._most)
                found = builder.subdivide(state.parameters)
            except (Unreadable, ValueError, TooManyRegions):  # whoever looks at it is told
                self._add(epoch, np.empty((0, 2), np.uint64))
                continue
            self._add(epoch, hashes(found))

    def _add(self, epoch: int, now: NDArray[np.uint64]) -> None:
        """An epoch with these patterns (F, 2)."""
        before = self._hashes[self._now]
        place = matched(before, now) if len(before) and len(now) else np.full(len(now), -1)
        kept = place >= 0
        with self._lock:
            lives = np.empty(len(now), np.int64)
            lives[kept] = self._now[place[kept]]
            added = int((~kept).sum())
            while self._count + added > len(self._first):
                self._hashes = np.concatenate((self._hashes, np.empty_like(self._hashes)))
                self._first = np.concatenate((self._first, np.empty_like(self._first)))
                self._last = np.concatenate((self._last, np.empty_like(self._last)))
            new = slice(self._count, self._count + added)
            self._hashes[new], self._first[new] = now[~kept], epoch
            lives[~kept] = np.arange(self._count, self._count + added)
            self._count += added
            self._last[lives] = epoch
            self._now = lives
            self._seen.append(epoch)
