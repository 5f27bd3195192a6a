"""`networks.bin`: the network after each epoch with a frame, its number and its parameters a row."""

import io
import os
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from draw_poly.engine.record import disk
from draw_poly.engine.schedule import Schedule

Rows = NDArray[np.void]


def row_type(size: int) -> np.dtype[np.void]:
    """A row of a network of so many parameters: `epoch`, int64, and `parameters`, float32; little-endian."""
    return np.dtype([("epoch", "<i8"), ("parameters", "<f4", (size,))])


def whole_rows(content: bytes, size: int) -> Rows:
    """The rows (n,) in a file's content up to the first that is none: cut off, or not of a later epoch."""
    kind = row_type(size)
    rows = np.frombuffer(content[: len(content) // kind.itemsize * kind.itemsize], kind)
    wrong = np.flatnonzero(np.diff(rows["epoch"], prepend=-1) < 1)
    return rows[: wrong[0]] if len(wrong) else rows


class Networks:
    """Writes the rows of a run of networks of so many parameters."""

    def __init__(self, path: Path, size: int) -> None:
        self._path, self._kind = path, row_type(size)

    def open(self, reached: int, schedule: Schedule) -> None:
        """Begins the file, or goes on after its row of an epoch; of those before, as the schedule has them.

        Raises OSError.
        """
        content = disk.read(self._path) if reached and self._path.exists() else b""
        rows = whole_rows(content, self._kind["parameters"].shape[0])
        epochs: list[int] = rows["epoch"].tolist()
        kept = rows[[epoch <= reached and epoch in schedule for epoch in epochs]]
        disk.write_whole(self._path, kept.tobytes())
        self._file = io.FileIO(self._path, "ab")
        self._last = int(kept["epoch"][-1]) if len(kept) else -1

    def add(self, epoch: int, parameters: ArrayLike) -> None:
        """Appends a network (P,), unless it is there. Raises OSError."""
        if epoch <= self._last:
            return
        row = np.zeros((), self._kind)
        row["epoch"], row["parameters"] = epoch, parameters
        content = memoryview(row.tobytes())
        with disk.named(self._path):
            while content:
                content = content[self._file.write(content) :]
        self._last = epoch

    def settle(self) -> None:
        """Has all be on the disk. Raises OSError."""
        with disk.named(self._path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Ends the writing."""
        self._file.close()
