"""`metrics.csv`: a row an epoch, none lost and none twice, also where a crash or a spreadsheet left its mark."""

import codecs
import csv
import io
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from draw_poly.engine import disk
from draw_poly.engine.schedule import Schedule
from draw_poly.engine.trainer import Epoch

COLUMNS = ("epoch", "task", "kolmogorov", "validation", "polytopes", "seconds")
HEADER = (",".join(COLUMNS) + "\n").encode()
POLYTOPES = COLUMNS.index("polytopes")
# Without an empty cell: each column but that of polytopes.
NUMBERS = tuple(index for index in range(len(COLUMNS)) if index != POLYTOPES)
WRITE_SECONDS, WRITE_BYTES, SYNC_BYTES = 1.0, 2**13, 2**16
EVERY_EPOCH = Schedule(1)

Numbers = NDArray[np.float64]


class Metrics:
    """The table of a run that writes it.

    `earlier` (rows, 4) are epoch, task, Kolmogorov and validation loss of the rows that it goes on after, `drawn` those
    epochs that have a frame; `notes` say what was found wrong.
    """

    def __init__(
        self,
        path: Path,
        keep: int = 0,
        schedule: Schedule = EVERY_EPOCH,
        held: Sequence[str] = (),
        source: Path | None = None,
    ) -> None:
        """Begins the file, or goes on after its row of epoch `keep`; later rows come again.

        `held` are rows that a checkpoint has, since they may not have reached the file; `source` is the table to begin
        with, where it is another. A frame that a run drew only because it ended is none of the longer run's, so the
        last kept row loses its polytopes unless the schedule has a frame at its epoch.
        """
        self._path = path
        self.notes: list[str] = []
        source = source or path
        there = source.exists()
        data = disk.read(source) if there and keep else b""
        rows, numbers, sound = rows_up_to(data, keep)
        if data and not sound:
            kept = disk.kept_aside(source)
            self.notes.append(f"{source} is not as it was written, as if by a spreadsheet: that is kept as {kept}")
        last = _epoch_of(rows[-1]) if rows else 0
        if more := [row for row in held if last < _epoch_of(row) <= keep]:
            rows, numbers = rows + more, np.concatenate((numbers, _numbers(more)))
        if rows and _epoch_of(rows[-1]) == keep and keep not in schedule:
            rows[-1] = _with_polytopes(rows[-1], None)
        content = HEADER + "".join(rows).encode()
        if content != data or source != path:
            disk.write_whole(path, content)
        self.earlier = numbers[:, :4]
        self.drawn = [int(number) for number, row in zip(numbers[:, 0], rows, strict=True) if polytopes_of(row)]
        lacking = np.setdiff1d(np.arange(1, keep + 1), numbers[:, 0])
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

    def add(self, number: int, epoch: Epoch, polytopes: int | None) -> None:
        """The row of an epoch; the losses with every digit a float32 has.

        Raises OSError where rows cannot be written; they are `held` then.
        """
        losses = (f"{value:.9g}" for value in (epoch.task, epoch.kolmogorov, epoch.validation))
        cells = (str(number), *losses, "" if polytopes is None else str(polytopes), f"{epoch.seconds:.6f}")
        self._waiting.append(",".join(cells) + "\n")
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

    def see(self, polytopes: Mapping[int, int]) -> None:
        """Gives rows the polytopes of frames that were drawn later than their epochs, by epoch. Raises OSError."""
        self.flush()
        data = disk.read(self._path)
        rows = data.decode().splitlines(keepends=True)
        for index, row in enumerate(rows[1:], 1):
            if (number := _epoch_of(row)) in polytopes:
                rows[index] = _with_polytopes(row, polytopes[number])
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


def rows_up_to(data: bytes, epoch: int) -> tuple[list[str], Numbers, bool]:
    """The rows of a table up to an epoch, their numbers (rows, 5), and whether they are as they were written.

    The cut-off end that a crash leaves is no row.
    """
    try:
        text = data.decode("ascii")
        rows = text[: text.rindex("\n") + 1].splitlines(keepends=True)
        numbers = _numbers(rows[1:])
        sound = rows[0] == HEADER.decode() and bool((np.diff(numbers[:, 0], prepend=0) >= 1).all())
    except ValueError:
        sound = False
    if not sound:
        encoding = "utf-16" if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
        rows = ["", *_rows_found(data.decode(encoding, errors="replace"))]
        numbers = _numbers(rows[1:])
    count = int(np.searchsorted(numbers[:, 0], epoch, "right"))
    return rows[1 : 1 + count], numbers[:count], sound


def _rows_found(text: str) -> list[str]:
    """The rows that can be read in a table that something else has written."""
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    found: dict[int, str] = {}
    for row in csv.DictReader(io.StringIO(text), delimiter=delimiter):
        cells = [(row.get(name) or "").strip().replace(",", ".") for name in COLUMNS]
        try:
            number = int(cells[0])
            values = [float(cells[index]) for index in NUMBERS]
        except ValueError:
            continue
        if number >= 1 and np.isfinite(values).all() and (cells[POLYTOPES] or "0").isdigit():
            found.setdefault(number, ",".join(cells) + "\n")
    return [found[number] for number in sorted(found)]


def _numbers(rows: Sequence[str]) -> Numbers:
    """The columns of numbers (rows, 5). Raises ValueError for a row that is none."""
    if not rows:
        return np.empty((0, len(NUMBERS)))
    numbers: Numbers = np.loadtxt(rows, delimiter=",", usecols=NUMBERS, comments=None, ndmin=2)
    if len(numbers) != len(rows) or not np.isfinite(numbers).all():
        raise ValueError("a row lacks a number")
    return numbers


def _epoch_of(row: str) -> int:
    return int(row.split(",", 1)[0])


def polytopes_of(row: str) -> str:
    """A row's number of polytopes; empty where its epoch has no frame."""
    return row.split(",")[POLYTOPES]


def _with_polytopes(row: str, polytopes: int | None) -> str:
    cells = row.split(",")
    cells[POLYTOPES] = "" if polytopes is None else str(polytopes)
    return ",".join(cells)


def ranges(epochs: Iterable[int]) -> str:
    """Epochs that ascend, for a sentence: `epochs 3 to 5, epoch 9`."""
    found: list[list[int]] = []
    for epoch in epochs:
        if found and epoch == found[-1][1] + 1:
            found[-1][1] = epoch
        else:
            found.append([epoch, epoch])
    return ", ".join(f"epoch {low}" if low == high else f"epochs {low} to {high}" for low, high in found)
