"""Where the tiles of a sheet stand, and the words beside them: rows and columns by the flags that vary."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from PIL import ImageFont
from PIL.ImageFont import FreeTypeFont

from draw_poly.engine.flags import option
from draw_poly.engine.sweep.values import text_of
from draw_poly.engine.sweep.vary import Member

# Sides of a sheet, in pixels: as one looks at it, and at most, where tiles would else be smaller than GOOD.
USUAL, LARGEST = 2048, 4096
SMALLEST_TILE, GOOD_TILE, LARGEST_TILE = 24, 128, 512
MOST_TILES = 2**15
LEAST_WIDTH = 400  # that the heading has
GAP, MARGIN = 3, 8
# Sizes of text, and how wide tiles are from which on it is so large.
TEXT_SIZES = ((16, 256), (13, 96), (10, 0))
HEADINGS = 2  # lines over the tiles
SEPARATION = 16  # between blocks
# Of a sheet's width, what labels of rows take at most.
GUTTER_SHARE = 0.2
Point = tuple[int, int]


class Words(NamedTuple):
    """Text at a place: left and top."""

    text: str
    left: float
    top: float


@dataclass(frozen=True)
class Layout:
    """A sheet of `size` (width, height); a member's tile has its left upper corner at `places` of its number.

    `title` says what varies along what; lines of text are `line` pixels high.
    """

    size: Point
    tile: Point
    places: dict[int, Point]
    labels: tuple[Words, ...]
    title: str
    text_size: int
    line: int


@dataclass(frozen=True)
class Table:
    """Members as rows and columns with their labels; `numbers` are those of the members, row by row."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    numbers: tuple[int, ...]
    title: str


class Fold(NamedTuple):
    """A table in blocks of so many rows and columns: below each other, or else side by side.

    `side` is a tile's, the longer one, `extent` the sheet's.
    """

    rows: int
    columns: int
    below: bool
    blocks: int
    side: int
    extent: float


def lay_out(members: Sequence[Member], width: int, height: int) -> Layout:
    """The layout of pictures of this width and height, of which tiles keep the ratio.

    Two flags are rows and columns; of more, the last one is the columns; where they are no product, or where there is
    one flag, each tile has its label. What does not fit is folded. The first members are shown where not all can be.
    """
    everything, members = len(members), members[:MOST_TILES]
    while True:
        table = table_of(members, everything)
        for size, least in TEXT_SIZES:
            for limit, tile in ((USUAL, LARGEST_TILE), (LARGEST, GOOD_TILE)):
                folds = _folds(table, width, height, size, limit, tile)
                best = max(folds, key=lambda fold: _worth(fold, len(table.rows)))
                if best.side >= GOOD_TILE:
                    break
            if best.side * width >= least * max(width, height):
                break
        if best.side >= SMALLEST_TILE or len(members) == 1:
            return _placed(table, best, width, height, size)
        members = members[: len(members) * 3 // 4]


def table_of(members: Sequence[Member], everything: int) -> Table:
    """Rows and columns where the members are a product of several flags, else one row; of so many in all."""
    names = list(members[0].varied)
    flags = [option(name)[2:] for name in names]
    values = [tuple(text_of(name, value) for name, value in one.varied.items()) for one in members]
    rows = tuple(dict.fromkeys(one[:-1] for one in values))
    columns = tuple(dict.fromkeys(one[-1] for one in values))
    title = f"{everything} members" if everything > 1 else "1 member"
    if len(members) < everything:
        title = f"the first {len(members)} of {title}"
    places = {one: member.number for one, member in zip(values, members, strict=True)}
    if len(names) > 1 and len(rows) * len(columns) == len(places) == len(members):
        cells = ((*row, column) for row in rows for column in columns)
        numbers = tuple(places[cell] for cell in cells)
        labels = tuple(", ".join(row) for row in rows)
        return Table(labels, columns, numbers, f"{title}: {', '.join(flags[:-1])} down, {flags[-1]} across")
    labels = tuple(", ".join(one) for one in values)
    return Table(("",), labels, tuple(one.number for one in members), f"{title}: {', '.join(flags)}")


@cache
def font_of(size: int) -> FreeTypeFont:
    """The font that all text is in."""
    font = ImageFont.load_default(size)
    assert isinstance(font, FreeTypeFont)  # without FreeType frames have no text of their size either
    return font


def line_of(size: int) -> int:
    """How many pixels a line of text takes."""
    return math.ceil(size * 1.3)


def fitted(text: str, size: int, width: float) -> str:
    """The text, or as much of its beginning as so many pixels hold, which says that it goes on."""
    font = font_of(size)
    if font.getlength(text) <= width:
        return text
    least, most = 0, len(text) - 1
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if font.getlength(text[:middle] + "…") <= width else (least, middle - 1)
    return text[:least] + "…" if least else ""


def _worth(fold: Fold, rows: int) -> tuple[float, ...]:
    """Large tiles, and nearly a square; rows and columns stay together where tiles are good even so."""
    return (fold.side, -fold.extent) if rows == 1 else (min(fold.side, GOOD_TILE), fold.blocks == 1, -fold.extent)


def _folds(table: Table, width: int, height: int, size: int, limit: int, most: int) -> Iterator[Fold]:
    """Ways to have it in blocks, and the tiles' sides that fit within the limit, `most` at most."""
    rows, columns = len(table.rows), len(table.columns)
    gutter, line = _gutter(table, size, limit), line_of(size)
    across, down = width / max(width, height), height / max(width, height)

    def fold(block_rows: int, block_columns: int, below: bool, blocks: int) -> Fold:
        beside, under = (1, blocks) if below else (blocks, 1)
        words_beside = 2 * MARGIN + beside * gutter + (beside - 1) * SEPARATION
        words_above = 2 * MARGIN + (HEADINGS + under) * line + (under - 1) * _separation(rows)
        most_wide = ((limit - words_beside) / (beside * block_columns) - GAP) / across
        most_high = ((limit - words_above) / (under * block_rows) - GAP) / down
        side = int(min(most_wide, most_high, most))
        wide = words_beside + beside * block_columns * (side * across + GAP)
        high = words_above + under * block_rows * (side * down + GAP)
        return Fold(block_rows, block_columns, below, blocks, side, max(wide, high))

    for count in _useful(columns):
        yield fold(rows, count, True, -(-columns // count))
    if rows > 1:
        for count in _useful(rows):
            yield fold(count, columns, False, -(-rows // count))


def _separation(rows: int) -> int:
    return SEPARATION if rows > 1 else GAP


def _useful(count: int) -> list[int]:
    """Sizes of blocks of which as many as are needed have no size less."""
    return sorted({-(-count // blocks) for blocks in range(1, count + 1)}, reverse=True)


def _gutter(table: Table, size: int, limit: int) -> int:
    """How wide the labels of rows are."""
    longest = sorted(table.rows, key=len)[-20:]  # of hundreds not all are measured
    widest = max(font_of(size).getlength(label) for label in longest)
    return math.ceil(min(widest, limit * GUTTER_SHARE)) + MARGIN if widest else 0


def _placed(table: Table, fold: Fold, width: int, height: int, size: int) -> Layout:
    """The layout of a table that is folded so."""
    longer, line = max(width, height), line_of(size)
    side = max(1, fold.side)
    wide, high = (max(1, round(side * length / longer)) for length in (width, height))
    gutter = _gutter(table, size, LARGEST if fold.side < GOOD_TILE else USUAL)
    step = (wide + GAP, high + GAP)
    block = (gutter + fold.columns * step[0] + SEPARATION, line + fold.rows * step[1] + _separation(len(table.rows)))
    begin = (MARGIN, MARGIN + HEADINGS * line)
    places: dict[int, Point] = {}
    labels: list[Words] = []
    font, every = font_of(size), -(-line // step[1])  # the rows that have a label
    columns = len(table.columns)
    for row, label in enumerate(table.rows):
        for column, heading in enumerate(table.columns):
            index = column // fold.columns if fold.below else row // fold.rows
            left = begin[0] + (0 if fold.below else index * block[0])
            top = begin[1] + (index * block[1] if fold.below else 0)
            here = (row % fold.rows, column % fold.columns)
            place = (left + gutter + here[1] * step[0], top + line + here[0] * step[1])
            places[table.numbers[row * columns + column]] = place
            if here[0] == 0:
                text = fitted(heading, size, wide)
                labels.append(Words(text, place[0] + (wide - font.getlength(text)) / 2, top))
            if here[1] == 0 and gutter and row % every == 0:
                text = fitted(label, size, gutter - MARGIN)
                at = left + gutter - MARGIN / 2 - font.getlength(text)
                labels.append(Words(text, at, place[1] + (high - line) / 2))
    ends = (max(left for left, _ in places.values()) + wide, max(top for _, top in places.values()) + high)
    full = (max(ends[0] + MARGIN, LEAST_WIDTH), ends[1] + MARGIN)
    sides = (full[0] + full[0] % 2, full[1] + full[1] % 2)  # a film's are even
    return Layout(sides, (wide, high), places, tuple(labels), table.title, size, line)
