"""Rows of `metrics.csv` as text and as numbers, also where a crash, a spreadsheet or an older version left them."""

import codecs
import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from draw_poly.engine.record.measures import COLUMNS, NAMES, Coded, Columns, Row, lines
from draw_poly.engine.task import TASKS

Numbers = NDArray[np.float64]

# Columns that every row of every version has, and those that a row may be without.
NEEDED = [index for index, one in enumerate(COLUMNS) if not (one.later or one.of_frames)]
OF_FRAMES = [index for index, one in enumerate(COLUMNS) if one.of_frames]
FIRST = sum(not one.later for one in COLUMNS)  # columns of the first version; what came later stands behind them
# Columns of each task's table: up to the last that it has, those of another one empty.
WIDTHS = {task: 1 + max(one.column or 0 for one in COLUMNS if one.is_of(task)) for task in TASKS}
LEAST_WIDTH = min(WIDTHS.values())
HEADERS = {task: ",".join(NAMES[:width]) + "\n" for task, width in WIDTHS.items()}
HEADER = HEADERS["gray"]
DRAWN = {task: {one.name for one in COLUMNS if one.of_frames and one.is_of(task)} for task in TASKS}
CODED = {one.name for one in COLUMNS if one.of_codes}
NONE: Coded = MappingProxyType({})


def _template(task: str, drawn: bool) -> str:
    """A row of a task's table, of an epoch with a frame or without."""
    said = (one.is_of(task) and ((drawn and one.of_frames) or not one.of_some) for one in COLUMNS)
    cells = [f"{{{one.name}:{one.cell}}}" if is_said else "" for one, is_said in zip(COLUMNS, said, strict=True)]
    return ",".join(cells[: WIDTHS[task]]) + "\n"


ROWS = {(task, drawn): _template(task, drawn) for task in TASKS for drawn in (False, True)}


@dataclass
class Table:
    """Rows of text, and what they hold: numbers (rows, columns), NaN where a cell is empty.

    `sound` tells whether they are as they were written.
    """

    rows: list[str]
    numbers: Numbers
    sound: bool = True

    def column(self, name: str) -> Numbers:
        """The values of a measure, (rows,)."""
        values: Numbers = self.numbers[:, NAMES.index(name)]
        return values

    def values(self, names: Iterable[str]) -> Numbers:
        """Those of several measures, (rows, measures)."""
        values: Numbers = self.numbers[:, [NAMES.index(name) for name in names]]
        return values

    def last(self) -> Row:
        """The values of the last row that are there; none where there is no row."""
        if not len(self.numbers):
            return {}
        return {name: value for name, value in zip(NAMES, self.numbers[-1].tolist(), strict=True) if value == value}

    def drawn(self) -> list[int]:
        """The epochs that have a frame."""
        epochs = self.column("epoch")[~np.isnan(self.numbers[:, OF_FRAMES]).all(1)]
        return [int(epoch) for epoch in epochs.tolist()]

    def extend(self, rows: Sequence[str]) -> None:
        """Appends rows. Raises ValueError for one that is none."""
        self.numbers = np.concatenate((self.numbers, numbers_of(rows)))
        self.rows += [_whole(row, LEAST_WIDTH) for row in rows]

    def combine(self, weight: float) -> None:
        """Fills in the loss that was trained where a table of an earlier version lacks it: trained with this weight."""
        place = NAMES.index("combined")
        combined = self.column("task") + weight * self.column("kolmogorov")
        for index in np.flatnonzero(np.isnan(self.numbers[:, place])).tolist():
            self.numbers[index, place] = combined[index]
            self.rows[index] = with_cells(self.rows[index], {"combined": combined[index]})

    def leave_last_frame_out(self) -> None:
        """Has the last row be as of an epoch without a frame."""
        self.numbers[-1, OF_FRAMES] = math.nan
        self.rows[-1] = with_cells(self.rows[-1], dict.fromkeys(set[str]().union(*DRAWN.values()), math.nan))


def row_of(values: Row, task: str = "gray") -> str:
    """An epoch's row; the losses with every digit a float32 has."""
    row = ROWS[task, values.keys() >= DRAWN[task]].format_map(values)
    return with_cells(row, {name: values[name] for name in CODED}) if values.keys() >= CODED else row


def rows_of(columns: Columns, coded: Coded = NONE, task: str = "gray") -> list[str]:
    """Those of epochs without a frame; some of them may have been coded."""
    rows = lines(ROWS[task, False], columns)
    for epoch, values in coded.items():
        if epoch in columns["epoch"]:
            place = columns["epoch"].index(epoch)
            rows[place] = with_cells(rows[place], values)
    return rows


def with_cells(row: str, values: Row) -> str:
    """A row with other values of some measures; NaN empties a cell."""
    cells = row.rstrip("\n").split(",")
    for one in COLUMNS:
        if (value := values.get(one.name)) is not None and (one.column or 0) < len(cells):
            number = value if one.cell != "d" or math.isnan(value) else int(value)
            cells[one.column or 0] = "" if math.isnan(value) else format(number, one.cell)
    return ",".join(cells) + "\n"


def epoch_of(row: str) -> int:
    """The epoch of a row."""
    return int(row.split(",", 1)[0])


def read_table(data: bytes, epoch: float = math.inf) -> Table:
    """The rows of a table up to an epoch.

    The cut-off end that a crash leaves is no row. The latest columns may be missing.
    """
    try:
        text = data.decode("ascii")
        header, *rows = text[: text.rindex("\n") + 1].splitlines(keepends=True)
        numbers = numbers_of(rows)
        names = tuple(header.rstrip("\n").split(","))
        whole = len(names) >= FIRST and names == NAMES[: len(names)] and header.endswith("\n")
        sound = whole and bool((np.diff(numbers[:, 0], prepend=0) >= 1).all())
    except ValueError:
        sound = False
    if not sound:
        encoding = "utf-16" if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
        rows = _rows_found(data.decode(encoding, errors="replace"))
        numbers = numbers_of(rows)
    count = int(np.searchsorted(numbers[:, 0], epoch, "right"))
    return Table([_whole(row, LEAST_WIDTH) for row in rows[:count]], numbers[:count], sound)


def numbers_of(rows: Sequence[str]) -> Numbers:
    """What rows hold, (rows, columns), NaN where a cell is empty or not there. Raises ValueError for what is no row."""
    if not rows:
        return np.empty((0, len(NAMES)))
    # A row has the columns of its version; NumPy wants as many in each, and something in every cell.
    text = "".join(map(_whole, rows)).replace(",,", ",nan,").replace(",,", ",nan,").replace(",\n", ",nan\n")
    numbers: Numbers = np.loadtxt(io.StringIO(text), delimiter=",", comments=None, ndmin=2)
    if numbers.shape != (len(rows), len(NAMES)) or not np.isfinite(numbers[:, NEEDED]).all():
        raise ValueError("a row lacks a number")
    return numbers


def _whole(row: str, width: int = len(NAMES)) -> str:
    """A row with a cell for each of so many columns, also those that its version did not have."""
    missing = width - 1 - row.count(",")
    return row if missing <= 0 else row.rstrip("\n") + "," * missing + "\n"


def _rows_found(text: str) -> list[str]:
    """The rows that can be read in a table that something else has written."""
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    found: dict[int, str] = {}
    for row in csv.DictReader(io.StringIO(text), delimiter=delimiter):
        cells = [(row.get(name) or "").strip().replace(",", ".") for name in NAMES]
        try:
            number = int(cells[0])
            numbers = numbers_of([",".join(cells) + "\n"])
        except ValueError:
            continue
        others = np.delete(numbers[0], NEEDED)
        whole = all((cells[index] or "0").isdigit() for index in OF_FRAMES if COLUMNS[index].cell == "d")
        if number >= 1 and whole and not np.isinf(others).any():
            width = len(cells) if any(cells[LEAST_WIDTH:]) else LEAST_WIDTH
            found.setdefault(number, ",".join(cells[:width]) + "\n")
    return [found[number] for number in sorted(found)]


def ranges(epochs: Iterable[int]) -> str:
    """Epochs that ascend, for a sentence: `epochs 3 to 5, epoch 9`."""
    found: list[list[int]] = []
    for epoch in epochs:
        if found and epoch == found[-1][1] + 1:
            found[-1][1] = epoch
        else:
            found.append([epoch, epoch])
    return ", ".join(f"epoch {low}" if low == high else f"epochs {low} to {high}" for low, high in found)
