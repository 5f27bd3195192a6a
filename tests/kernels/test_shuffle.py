"""The first rows of a shuffle are NumPy's, and so is the generator after it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from draw_poly.kernels import shuffle

EDGES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, 129, 1000, 1023, 1024, 1025, 4097)


def of_numpy(generator: np.random.RandomState, rows: int, count: int) -> NDArray[np.int64]:
    order = np.arange(rows)
    generator.shuffle(order)
    return order[:count]


def used(seed: int, words: int) -> np.random.RandomState:
    """A generator that has drawn so many words, and keeps half of a pair of normal numbers."""
    generator = np.random.RandomState(seed)
    generator.standard_normal()
    generator.bytes(4 * words)
    return generator


def agrees(seed: int, words: int, rows: int, count: int) -> None:
    ours, theirs = used(seed, words), used(seed, words)
    found, expected = shuffle.first_rows(ours, rows, count), of_numpy(theirs, rows, count)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_equal(ours.get_state(), theirs.get_state())


@pytest.fixture
def in_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is for large shuffles, in small ones."""
    for name, value in {"FEWEST_ONCE": 1, "FEWEST": 1, "RARE": 1, "BLOCK": 64, "LISTS": 16}.items():
        monkeypatch.setattr(shuffle, name, value)


@pytest.mark.usefixtures("in_small")
@pytest.mark.parametrize("rows", EDGES)
def test_first_rows_are_numpys(rows: int) -> None:
    for seed, words in ((0, 0), (1, 1), (2**32 - 1, 622), (5489, 623), (26, 624)):
        for count in {0, 1, 2, rows // 3, rows - 1, rows, rows + 5}:
            agrees(seed, words, rows, count)


@pytest.mark.usefixtures("in_small")
def test_first_rows_at_random_are_numpys(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = np.random.default_rng(26)
    for rows in draws.integers(1, 9000, 60).tolist():
        for name, most in (("BLOCK", 12), ("LISTS", 8)):
            monkeypatch.setattr(shuffle, name, 2 ** int(draws.integers(most + 1)))
        agrees(int(draws.integers(2**32)), int(draws.integers(700)), rows, int(draws.integers(rows + 1)))


@pytest.mark.parametrize(
    ("rows", "count"),
    [
        (2**16, 4096),
        (2**20, 6024),
        (2**22, 6024),
        (2**22 + 1, 1),
        (2**22 + 2**17 - 1, 2**18),
        (5_000_000, 5_000_000 // 16),
    ],
)
def test_first_rows_of_large_pictures_are_numpys(rows: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shuffle, "_again", True)
    agrees(7, 0, rows, count)


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "count"), [(2**24 - 1, 6024), (2**24 + 1, 100_000), (2**25, 2**21)])
def test_first_rows_of_larger_pictures_are_numpys(rows: int, count: int) -> None:
    agrees(8, 3, rows, count)


@pytest.mark.parametrize("top", [2**16, 2**17 + 30, 2**31 - 1, 2**31, 2**31 + 40, 2**32 - 2, 2**32 - 1])
@pytest.mark.parametrize("words", [0, 600])
def test_what_a_row_is_swapped_with_is_numpys(top: int, words: int) -> None:
    generator, bottom = used(3, words), top - 70  # across powers of two, where fewer bits are drawn
    _, key, place, *_ = generator.get_state(legacy=True)
    state, swaps = np.array(key, np.uint32), np.empty(71, np.uint32)
    place = shuffle.draw(state, place, top, bottom, np.empty(624, np.uint32), swaps)
    # By masks and rejection as a shuffle draws them.
    expected = [int(generator.randint(0, row + 1, dtype=np.uint64)) for row in range(top, bottom - 1, -1)]
    np.testing.assert_array_equal(swaps[::-1], expected)
    _, key, expected_place, *_ = generator.get_state(legacy=True)
    assert place == expected_place
    np.testing.assert_array_equal(state, key)


@pytest.mark.parametrize(("limit", "value"), [("FEWEST", 1001), ("MOST", 999), ("RARE", 101), ("_again", False)])
def test_what_is_not_handled_numpy_shuffles(limit: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []
    kernel = shuffle.follow

    def counted(*words: Any) -> Any:
        calls.append(words)
        return kernel(*words)

    monkeypatch.setattr(shuffle, "follow", counted)
    monkeypatch.setattr(shuffle, "FEWEST", 1000)
    monkeypatch.setattr(shuffle, "_again", True)
    agrees(4, 0, 1000, 10)
    assert len(calls) == 1
    monkeypatch.setattr(shuffle, limit, value)
    agrees(4, 0, 1000, 10)
    assert len(calls) == 1


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
def test_memory_is_bounded() -> None:
    """An eighth of a byte a row at most, where an order of them would take four."""
    program = """
import numpy as np
from draw_poly.kernels import shuffle
def peak():
    (line,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])
generator = np.random.RandomState(1)
shuffle.first_rows(generator, shuffle.FEWEST_ONCE, 6024)
before = peak()
shuffle.first_rows(generator, 2**26, 6024)
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2**26 / 8
