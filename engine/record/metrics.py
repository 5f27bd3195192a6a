"""`metrics.csv`: a row an epoch, none lost and none twice, also where a crash or a spreadsheet left its mark."""

import io
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from draw_poly.engine.record import disk
from draw_poly.engine.record.measures import Coded, Columns, Row
from draw_poly.engine.record.table import (
    HEADERS,
    NONE,
    Table,
    epoch_of,
    ranges,
    read_table,
    row_of,
    rows_of,
    with_cells,
)
from draw_poly.engine.schedule import Schedule

WRITE_SECONDS, WRITE_BYTES, SYNC_BYTES = 1.0, 2**13, 2**16
EVERY_EPOCH = Schedule(1)


class Metrics:
    """The table of a run that writes it.

    `earlier` is what it goes on after, `drawn` are those epochs that have a frame; `notes` say what was found wrong.
    """

    def __init__(
        self,
        path: Path,
        keep: int = 0,
        schedule: Schedule = EVERY_EPOCH,
        held: Sequence[str] = (),
        source: Path | None = None,
        weight: float = 0.0,
        task: str = "gray",
    ) -> None:
        """Begins the file, or goes on after its row of epoch `keep`; later rows come again.

        `held` are rows that a checkpoint has, since they may not have reached the file; `source` is the table to begin
        with, where it is another; `weight` of the Kolmogorov term is what epochs were trained with whose rows do not
        tell. A frame that a run drew only because it ended is none of the longer run's, so the last kept row loses its
        polytopes unless the schedule has a frame at its epoch.
        """
        self._path, self._task = path, task
        self.notes: list[str] = []
        source = source or path
        there = source.exists()
        data = disk.read(source) if there and keep else b""
        table = read_table(data, keep)
        if data and not table.sound:
            kept = disk.kept_aside(source)
            self.notes.append(f"{source} is not as it was written, as if by a spreadsheet: that is kept as {kept}")
        last = epoch_of(table.rows[-1]) if table.rows else 0
        table.extend([row for row in held if last < epoch_of(row) <= keep])
        table.combine(weight)
        if table.rows and epoch_of(table.rows[-1]) == keep and keep not in schedule:
            table.leave_last_frame_out()
        content = (HEADERS[task] + "".join(table.rows)).encode()
        if content != data or source != path:
            disk.write_whole(path, content)
        self.earlier = Table([], table.numbers)  # their text may be of many megabytes
        self.drawn = table.drawn()
        lacking = np.setdiff1d(np.arange(1, keep + 1), table.column("epoch"))
        if lacking.size:
            why = "" if there else f": {source} was not there"
            self.notes.append(f"{path} lacks the rows of {ranges(lacking.tolist())}{why}")
        self._file = io.FileIO(path, "ab")
        self._size = len(content)
        self._waiting: list[str] = []  # to be written
        self._unsure: list[str] = []  # written, but perhaps not on the disk
        self._written = time.monotonic()

    @property
    def held(self) -> list[str]:
        """The rows that may not be on the disk."""
        return self._unsure + self._waiting

    def add(self, values: Row) -> None:
        """The row of an epoch. Raises OSError where rows cannot be written; they are `held` then."""
        self._extend([row_of(values, self._task)])

    def extend(self, columns: Columns, coded: Coded = NONE) -> None:
        """The rows of epochs without a frame, some of them `coded`. Raises OSError as `add` does."""
        self._extend(rows_of(columns, coded, self._task))

    def _extend(self, rows: Sequence[str]) -> None:
        if not rows:
            return
        self._waiting += rows
        late = time.monotonic() - self._written > WRITE_SECONDS
        if late or len(self._waiting) * len(self._waiting[-1]) > WRITE_BYTES:
            self._write()
            if len(self._unsure) * len(self._unsure[-1]) > SYNC_BYTES:
                self.flush()

    def _write(self) -> None:
        """Writes whole rows, or none."""
        content = memoryview("".join(self._waiting).encode())
        size = self._size + len(content)
        with disk.named(self._path):
            try:
                while content:
                    content = content[self._file.write(content) :]
            except OSError:
                with suppress(OSError):
                    self._file.truncate(self._size)
                raise
        self._size, self._written = size, time.monotonic()
        self._unsure += self._waiting
        self._waiting = []

    def flush(self) -> None:
        """Makes sure that the rows are on the disk. Raises OSError where they cannot be; they are `held` then."""
        self._write()
        with disk.named(self._path):
            os.fsync(self._file.fileno())
        self._unsure = []

    def see(self, frames: Mapping[int, Row]) -> None:
        """Gives rows the values of frames that were drawn later than their epochs, by epoch. Raises OSError."""
        self.flush()
        data = disk.read(self._path)
        rows = data.decode().splitlines(keepends=True)
        for index, row in enumerate(rows[1:], 1):
            if values := frames.get(epoch_of(row)):
                rows[index] = with_cells(row, values)
        content = "".join(rows).encode()
        if content != data:
            disk.write_whole(self._path, content)
            self._file.close()
            self._file, self._size = io.FileIO(self._path, "ab"), len(content)

    def close(self) -> None:
        """Flushes and closes the file. Raises OSError."""
        try:
            self.flush()
        finally:
            self._file.close()
