"""The regions of a run's epochs, made beside its training by threads of their own; a row each, in their order."""

import io
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from threading import Condition, Semaphore
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from draw_poly.engine.record import disk
from draw_poly.engine.record.journal import log
from draw_poly.engine.record.measures import REGION_HEADER, region_row
from draw_poly.engine.record.networks import Networks
from draw_poly.engine.regions.lives import Lives
from draw_poly.engine.regions.shared import SharedRegions
from draw_poly.engine.regions.statistics import statistics
from draw_poly.engine.schedule import Schedule
from draw_poly.kernels.cpu.cells import Points
from draw_poly.kernels.spec.subdivision import TooManyRegions

PENDING = 256  # epochs whose parameters wait
WORKERS = 4  # threads at most
WRITTEN, SECONDS = 2**14, 1.0  # bytes that are written at once, and what rows wait for at most

Found = TypeVar("Found")


class Follower:
    """Writes a row of `regions.csv` for each epoch that it is given, in their order, and the networks of `frames`.

    `lives` are the regions after the last one, once `settle`d. Where there are more than may be it says so and
    goes on without. `drop`: epochs are left out and counted, while more wait than may, in place of waiting for them;
    then one of the `threads` that there may be is training's alone.
    """

    def __init__(
        self, path: Path, shared: SharedRegions, points: NDArray[np.float64], drop: bool, lives: Lives | None,
        frames: Schedule, networks: Path, threads: int = 1,
    ) -> None:  # fmt: skip
        self.lives, self.dropped = lives, 0
        self._path, self._shared, self._coordinates, self._drop = path, shared, points, drop
        self._given_up = False
        self._frames, self._networks = frames, Networks(networks, shared.network.size)
        self._rows, self._written = io.StringIO(), 0.0
        self._room = Semaphore(PENDING)
        self._workers = ThreadPoolExecutor(min(WORKERS, max(1, threads - drop)), "regions")
        self._turn, self._given, self._ended = Condition(), 0, 0
        self._found: dict[int, Callable[[], None]] = {}  # what is to be done, by its number, before whose turn it came
        self._error: BaseException | None = None

    def open(self, reached: int) -> None:
        """Begins the files, or goes on after their row of an epoch; later rows come again. Raises OSError."""
        self._networks.open(reached, self._frames)
        there = disk.read(self._path).decode(errors="replace").splitlines(keepends=True) if self._path.exists() else []
        whole = [row for row in there[1:] if row.endswith("\n") and row.split(",", 1)[0].isdigit()]
        kept = [row for row in whole if int(row.split(",", 1)[0]) <= reached] if there[:1] == [REGION_HEADER] else []
        disk.write_whole(self._path, "".join([REGION_HEADER, *kept]).encode())

    def begin(self, epoch: int, parameters: NDArray[np.float32]) -> None:
        """Gives the network before the first epoch that follows, which has no row: what changes is told from it."""
        if self.lives is None:
            self._submit(partial(self._begin, epoch, parameters.copy()), self._first)

    def follow(self, epoch: int, parameters: NDArray[np.float32], must: bool = True, aside: bool = False) -> None:
        """Gives an epoch's parameters (P,). Raises OSError where earlier rows could not be written.

        What stands `aside` of the others has a row, and `lives` stay those before it: a run that goes on from there has
        the rows of one that did not stop.
        """
        if self._given_up:
            return
        now = parameters.copy()
        if self._drop and not must:
            if not self._room.acquire(blocking=False):
                self.dropped += 1
                return
            self._room.release()
        self._submit(partial(self._measure, epoch, now), partial(self._next, now, aside))

    def settle(self) -> None:
        """Waits for all that was given, and has it on the disk. Raises OSError."""
        with self._turn:
            self._turn.wait_for(lambda: self._ended == self._given)
        self._raise()
        self._write()
        self._networks.settle()
        with disk.named(self._path), self._path.open("ab") as file:
            os.fsync(file.fileno())

    def stop(self) -> None:
        """Ends the threads, whatever they have to do."""
        self._workers.shutdown(wait=True, cancel_futures=True)
        self._networks.close()

    def _submit(self, find: Callable[[], Found], use: Callable[[Found], None]) -> None:
        """Has something found, at the same time as others, and used when all before it are."""
        self._raise()
        self._room.acquire()
        self._workers.submit(self._find, self._given, find, use)
        self._given += 1

    def _raise(self) -> None:
        if self._error:
            raise self._error

    def _find(self, number: int, find: Callable[[], Found], use: Callable[[Found], None]) -> None:
        done: Callable[[], None]
        try:
            done = partial(use, find()) if not self._given_up else lambda: None
        except BaseException as error:
            done = partial(_fail, error)
        with self._turn:
            self._found[number] = done
            while self._ended in self._found:
                self._guarded(self._found.pop(self._ended))
                self._ended += 1
                self._room.release()
            self._turn.notify_all()

    def _guarded(self, work: Callable[[], None]) -> None:
        if self._given_up or self._error:
            return
        try:
            work()
        except (TooManyRegions, MemoryError, ValueError) as error:  # such as of a network that is not finite
            self._given_up = True
            log.warning("Regions are not followed any further: %s", error or "out of memory")
        except BaseException as error:
            self._error = error

    @cached_property
    def _points(self) -> Points:
        return Points(self._coordinates)

    def _begin(self, epoch: int, parameters: NDArray[np.float32]) -> tuple[Lives, NDArray[np.float32]]:
        return Lives.begin(self._shared.subdivide(parameters), epoch), parameters

    def _first(self, found: tuple[Lives, NDArray[np.float32]]) -> None:
        self.lives, parameters = found
        self._networks.add(self.lives.epoch, parameters)

    def _measure(self, epoch: int, parameters: NDArray[np.float32]) -> tuple[Lives, dict[str, float]]:
        found = self._shared.subdivide(parameters)
        return Lives.begin(found, epoch), statistics(found, self._points)

    def _next(self, parameters: NDArray[np.float32], aside: bool, found: tuple[Lives, dict[str, float]]) -> None:
        assert self.lives is not None
        (now, numbers), epoch = found, found[0].epoch
        lives, change = self.lives.follow(now)
        if not aside:
            self.lives = lives
        self._rows.write(region_row({"epoch": epoch, **numbers, **change._asdict()}))
        if aside or epoch in self._frames:
            self._networks.add(epoch, parameters)
        if self._rows.tell() > WRITTEN or time.monotonic() - self._written > SECONDS:
            self._write()

    def _write(self) -> None:
        rows, self._rows, self._written = self._rows.getvalue(), io.StringIO(), time.monotonic()
        if rows:
            with disk.named(self._path), self._path.open("ab") as file:
                file.write(rows.encode())


def _fail(error: BaseException) -> None:
    raise error
