"""The regions of a run's epochs, made beside its training: a thread of its own, epochs in their order, a row each."""

import io
import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Semaphore

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
WRITTEN, SECONDS = 2**14, 1.0  # bytes that are written at once, and what rows wait for at most


class Follower:
    """Writes a row of `regions.csv` for each epoch that it is given, in their order, and the networks of `frames`.

    `lives` are the regions after the last one, once `settled`. Where there are more than may be it says so and
    goes on without. `drop`: epochs are left out and counted, while more wait than may, in place of waiting for them.
    """

    def __init__(
        self, path: Path, shared: SharedRegions, points: NDArray[np.float64], drop: bool, lives: Lives | None,
        frames: Schedule, networks: Path,
    ) -> None:  # fmt: skip
        self.lives, self.dropped = lives, 0
        self._path, self._shared, self._coordinates, self._drop = path, shared, points, drop
        self._given_up = False
        self._frames, self._networks = frames, Networks(networks, shared.network.size)
        self._rows, self._written = io.StringIO(), 0.0
        self._room = Semaphore(PENDING)
        self._thread = ThreadPoolExecutor(1, "regions")
        self._last: Future[None] | None = None

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
            now = parameters.copy()
            self._submit(lambda: self._first(epoch, now))

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
        self._submit(lambda: self._next(epoch, now, aside))

    def settle(self) -> None:
        """Waits for all that was given, and has it on the disk. Raises OSError."""
        if self._last:
            self._last.result()
        self._write()
        self._networks.settle()
        with disk.named(self._path), self._path.open("ab") as file:
            os.fsync(file.fileno())

    def stop(self) -> None:
        """Ends the thread, whatever it has to do."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._networks.close()

    def _submit(self, work: Callable[[], None]) -> None:
        if self._last and self._last.done():
            self._last.result()  # raises what went wrong
        self._room.acquire()
        self._last = self._thread.submit(self._guarded, work, self._last)

    def _guarded(self, work: Callable[[], None], before: "Future[None] | None") -> None:
        try:
            if before and (error := before.exception()):
                raise error
            if not self._given_up:
                work()
        except (TooManyRegions, MemoryError) as error:
            self._given_up = True
            log.warning("Regions are not followed any further: %s", error or "out of memory")
        except ValueError as error:  # such as parameters that are not finite, which the run tells of itself
            self._given_up = True
            log.warning("Regions are not followed any further: %s", error)
        finally:
            self._room.release()

    def _first(self, epoch: int, parameters: NDArray[np.float32]) -> None:
        self.lives = Lives.begin(self._shared.subdivide(parameters), epoch)
        self._networks.add(epoch, parameters)

    def _next(self, epoch: int, parameters: NDArray[np.float32], aside: bool) -> None:
        if not hasattr(self, "_points"):
            self._points = Points(self._coordinates)
        found = self._shared.subdivide(parameters)
        assert self.lives is not None
        lives, change = self.lives.follow(found, epoch)
        if not aside:
            self.lives = lives
        self._rows.write(region_row({"epoch": epoch, **statistics(found, self._points), **change._asdict()}))
        if aside or epoch in self._frames:
            self._networks.add(epoch, parameters)
        if self._rows.tell() > WRITTEN or time.monotonic() - self._written > SECONDS:
            self._write()

    def _write(self) -> None:
        rows, self._rows, self._written = self._rows.getvalue(), io.StringIO(), time.monotonic()
        if rows:
            with disk.named(self._path), self._path.open("ab") as file:
                file.write(rows.encode())
