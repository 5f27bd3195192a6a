"""Where tiles stand: in order, apart, within the sheet; and that words are beside what they name."""

import itertools
from typing import Any

import pytest

from draw_poly.engine.sweep import layout
from draw_poly.engine.sweep.layout import LARGEST, LARGEST_TILE, Layout, fitted, font_of, lay_out
from draw_poly.engine.sweep.vary import Member, members

BASE: dict[str, Any] = {"input": "x.png", "shape": "[10]*8", "epochs": 5}
CASES: dict[str, tuple[list[str], tuple[int, int]]] = {
    "one": (["seed=3"], (200, 200)),
    "two": (["seed=3,4"], (200, 200)),
    "seven": (["seed=1..7"], (200, 150)),
    "256": (["seed=1..256"], (256, 256)),
    "1000": (["seed=1..1000"], (64, 64)),
    "a table": (["seed=1..5", "l=1,2,3"], (30, 20)),
    "high": (["seed=1..64", "l=1,2,3"], (256, 256)),
    "wide": (["l=1,2,3", "seed=1..64"], (256, 256)),
    "three flags": (["optimizer=adam,sgd", "l=1,2", "p=5,6,7"], (300, 100)),
    "long words": ([f"shape={'+'.join(['[100,50]'] * 40)},[5]", "seed=1,2"], (300, 100)),
    "3:1": (["seed=1..30"], (300, 100)),
    "1:10": (["seed=1..6", "p=100..1000 lin 3"], (60, 600)),
    "1:1000": (["seed=1..5"], (1, 1000)),
}


def made(case: str) -> tuple[list[Member], tuple[int, int], Layout]:
    vary, size = CASES[case]
    found = members(BASE, vary)
    return found, size, lay_out(found, *size)


@pytest.mark.parametrize("case", CASES)
def test_tiles_lie_apart_within_the_sheet_and_keep_the_ratio(case: str) -> None:
    found, (width, height), sheet = made(case)
    wide, high = sheet.tile
    assert max(wide, high) <= LARGEST_TILE
    assert abs(wide - high * width / height) <= max(1, width / height)
    assert sheet.size[0] % 2 == sheet.size[1] % 2 == 0
    assert max(sheet.size) <= LARGEST
    assert sorted(sheet.places) == [one.number for one in found]
    assert len(set(sheet.places.values())) == len(found)
    lefts, tops = (sorted({place[axis] for place in sheet.places.values()}) for axis in (0, 1))
    for starts, side, end in ((lefts, wide, sheet.size[0]), (tops, high, sheet.size[1])):
        assert all(after - before > side for before, after in itertools.pairwise(starts))
        assert starts[0] > 0
        assert starts[-1] + side < end


@pytest.mark.parametrize("case", CASES)
def test_no_word_lies_over_a_tile_or_beyond_the_sheet(case: str) -> None:
    _, _, sheet = made(case)
    font = font_of(sheet.text_size)
    columns = {left for left, _ in sheet.places.values()}
    rows = {top for _, top in sheet.places.values()}
    for text, left, top in sheet.labels:
        right, bottom = left + font.getlength(text), top + sheet.line
        assert left >= 0
        assert right <= sheet.size[0]
        assert 2 * sheet.line <= top  # below the heading
        assert bottom <= sheet.size[1]
        beside = all(right <= column or left >= column + sheet.tile[0] for column in columns)
        above = all(bottom <= row or top >= row + sheet.tile[1] for row in rows)
        assert beside or above, text


@pytest.mark.parametrize(
    ("count", "side", "shape"),
    [(1, 512, (1, 1)), (2, 512, (2, 1)), (4, 512, (2, 2)), (9, 512, (3, 3)), (256, 128, (18, 15))],  # labels count
)
def test_one_flag_wraps_into_nearly_a_square_with_a_label_each(count: int, side: int, shape: tuple[int, int]) -> None:
    sheet = lay_out(members(BASE, [f"seed=1..{count}"]), 100, 100)
    assert sheet.tile == (side, side)
    columns, rows = (len({place[axis] for place in sheet.places.values()}) for axis in (0, 1))
    assert (columns, rows) == shape
    assert sorted(int(words.text) for words in sheet.labels) == list(range(1, count + 1))
    for words in sheet.labels:
        left, top = sheet.places[int(words.text)]
        assert left <= words.left <= left + side
        assert words.top + sheet.line == top


def test_two_flags_are_rows_and_columns_that_stay_together_where_they_fit() -> None:
    found, _, sheet = made("a table")
    assert sheet.title == "15 members: seed down, learning-rate across"
    for one, other in itertools.combinations(found, 2):
        (left, top), (beside, below) = sheet.places[one.number], sheet.places[other.number]
        assert (left == beside) == (one.varied["learning_rate"] == other.varied["learning_rate"])
        assert (top == below) == (one.varied["seed"] == other.varied["seed"])
    assert [words.text for words in sheet.labels] == ["1", "1", "2", "3", "2", "3", "4", "5"]


def test_of_more_flags_the_last_is_the_columns() -> None:
    found, _, sheet = made("three flags")
    assert sheet.title == "12 members: optimizer, learning-rate down, points across"
    rows = {member.number: (member.number - 1) // 3 for member in found}
    for one, other in itertools.combinations(found, 2):
        assert (sheet.places[one.number][1] == sheet.places[other.number][1]) == (
            rows[one.number] == rows[other.number]
        )
    assert {"adam, 1", "adam, 2", "sgd, 1", "sgd, 2", "5", "6", "7"} == {words.text for words in sheet.labels}


@pytest.mark.parametrize("case", ["high", "wide"])
def test_a_table_that_does_not_fit_is_folded_and_each_block_has_its_labels(case: str) -> None:
    found, _, sheet = made(case)
    assert sheet.tile == (128, 128)
    assert 0.5 < sheet.size[0] / sheet.size[1] < 2
    heads = [words.text for words in sheet.labels]
    assert heads.count("1") == heads.count("2") == heads.count("3") >= 3
    for member in found:
        left, top = sheet.places[member.number]
        over = [words for words in sheet.labels if left <= words.left <= left + 128 and words.top < top]
        aside = [words for words in sheet.labels if top <= words.top <= top + 128 and words.left < left]
        column, row = (f"{member.varied[name]:g}" for name in list(member.varied)[::-1])
        assert max(over, key=lambda words: words.top).text == column
        assert max(aside, key=lambda words: words.left).text == row


def test_members_that_are_no_product_have_a_label_each() -> None:
    found = members(BASE, ["seed=1..4", "l=1,2"])
    sheet = lay_out(found[:-1], 100, 100)
    assert sheet.title == "7 members: seed, learning-rate"
    assert [words.text for words in sheet.labels][:3] == ["1, 1", "1, 2", "2, 1"]


def test_the_first_are_shown_where_not_all_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "SMALLEST_TILE", 100)
    found = members(BASE, ["seed=1..1000", "l=1..3"])
    sheet = lay_out(found, 100, 100)
    shown = len(sheet.places)
    assert sheet.tile[0] >= 100
    assert 900 < shown < 1600  # 4096 / 100 squared
    assert sorted(sheet.places) == list(range(1, shown + 1))
    assert sheet.title.startswith(f"the first {shown} of 3000 members")


def test_text_is_cut_to_what_there_is_room_for_and_says_so() -> None:
    font = font_of(13)
    text = "learning-rate 0.000316228"
    assert fitted(text, 13, font.getlength(text)) == text
    for width in range(0, 200, 7):
        cut = fitted(text, 13, width)
        assert font.getlength(cut) <= width or cut == ""
        if cut and cut != text:
            assert cut.endswith("…")
            assert text.startswith(cut[:-1])
            assert font.getlength(text[: len(cut)] + "…") > width
