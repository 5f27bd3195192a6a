"""A run's tables while they grow: what is new is read, and a curve's points are no more than a page can draw."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from draw_poly.engine.view.history import Unreadable

Numbers = NDArray[np.float64]
MOST = 2000  # points of a curve
BLOCK = 2**24  # bytes that are read at once


class Tail:
    """The columns of a CSV file of numbers, whose first one ascends; NaN where a cell is empty."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._forget((0, 0))

    def _forget(self, file: tuple[int, int]) -> None:
        self._file, self._rest = file, b""  # its number and how far it was read; a line that has no end yet
        self.names: list[str] = []
        self._numbers: Numbers = np.empty((0, 0))

    def refresh(self) -> bool:
        """Whether there are other rows than before. Raises Unreadable."""
        if self._path is None:
            return False
        try:
            found = self._path.stat()
            before = len(self._numbers)
            again = found.st_ino != self._file[0] or found.st_size < self._file[1]
            if again:
                self._forget((found.st_ino, 0))
            with self._path.open("rb") as file:
                file.seek(self._file[1])
                while content := file.read(BLOCK):
                    self._file = (self._file[0], self._file[1] + len(content))
                    self._take(content)
        except FileNotFoundError:
            changed = bool(self.names)
            self._forget((0, 0))
            return changed
        except OSError as error:
            raise Unreadable(f"{self._path} cannot be read ({error.strerror}).") from error
        return again or len(self._numbers) != before

    def _take(self, content: bytes) -> None:
        text, _, self._rest = (self._rest + content).rpartition(b"\n")
        lines = text.decode(errors="replace").splitlines()
        if not self.names and lines:
            self.names = lines.pop(0).split(",")
            self._numbers = np.empty((0, len(self.names)))
        if not lines:
            return
        rows = (f",{line},".replace(",,", ",nan,").replace(",,", ",nan,").strip(",") for line in lines if line)
        try:
            numbers = np.loadtxt(io.StringIO("\n".join(rows)), delimiter=",", comments=None, ndmin=2)
            if numbers.shape[1] > len(self.names):
                raise ValueError
        except ValueError:
            raise Unreadable(f"{self._path} is damaged: some of its rows are not {len(self.names)} numbers.") from None
        missing = np.full((len(numbers), len(self.names) - numbers.shape[1]), np.nan)
        self._numbers = np.concatenate((self._numbers, np.hstack((numbers, missing))))

    def columns(self, *names: str) -> dict[str, Numbers]:
        """Columns by their names, NaN where the table lacks one; of many rows, some and the last."""
        step = -(-len(self._numbers) // MOST) or 1
        chosen = self._numbers[::-step][::-1]
        empty = np.full(len(chosen), np.nan)
        return {one: chosen[:, self.names.index(one)] if one in self.names else empty for one in names}
