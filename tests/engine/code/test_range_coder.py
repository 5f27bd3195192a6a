"""The range coder codes with exactly the integers that it is given: read back by a decoder of the tests' own."""

import numpy as np
import pytest

from draw_poly.engine.code.fixed_point import TOTAL, Integers, length, shares
from draw_poly.engine.code.range_coder import Decoder, Encoder

ALL = (1 << 64) - 1


class OwnDecoder:
    """Range decoding as G. Martin describes it (1979), words of 32 bits, in Python's whole numbers."""

    def __init__(self, code: bytes) -> None:
        self._words = np.frombuffer(code, "<u4").tolist()
        self._lower, self._range, self._point = 0, ALL, self._word() << 32
        self._point |= self._word()

    def _word(self) -> int:
        return self._words.pop(0) if self._words else 0

    def take(self, frequencies: Integers) -> int:
        ends = [0, *np.cumsum(frequencies + 1).tolist()]
        assert ends[-1] == TOTAL
        part = self._range // TOTAL
        place = (self._point - self._lower & ALL) // part
        symbol = int(np.searchsorted(ends, place, "right")) - 1
        self._lower = self._lower + part * ends[symbol] & ALL
        self._range = part * (ends[symbol + 1] - ends[symbol])
        if self._range < 1 << 32:
            self._lower, self._range = self._lower << 32 & ALL, self._range << 32
            self._point = (self._point << 32 | self._word()) & ALL
        return symbol


def tables(generator: np.random.Generator, rows: int, n: int) -> Integers:
    weights = generator.integers(0, 1000, (rows, n)) ** generator.integers(1, 4, (rows, 1))
    return shares(weights + (weights.sum(1, keepdims=True) == 0))


@pytest.mark.parametrize("n", [2, 3, 256, 5000])
def test_probabilities_are_the_integers_that_were_given(n: int) -> None:
    generator = np.random.default_rng(n)
    each, all_ = tables(generator, 300, n), tables(generator, 1, n)[0]
    symbols = np.array([generator.choice(n, p=(row + 1) / TOTAL) for row in each])
    rare = generator.integers(0, n, 50)  # most of which have nearly no probability
    coder = Encoder()
    coder.put(symbols, each)
    coder.put(rare, all_)
    code = coder.finished()
    own = OwnDecoder(code)
    assert [own.take(row) for row in each] == symbols.tolist()
    assert [own.take(all_) for _ in rare] == rare.tolist()
    decoder = Decoder(code)
    assert decoder.take(each).tolist() == symbols.tolist()
    assert decoder.take(all_, rare.size).tolist() == rare.tolist()
    decoder.finish()
    ideal = length(each, symbols) + length(all_, rare)
    assert coder.ideal == pytest.approx(ideal)
    assert ideal <= 8 * len(code) <= ideal + 64


def test_more_than_was_told_is_refused() -> None:
    coder, frequencies = Encoder(), tables(np.random.default_rng(1), 200, 256)
    coder.put(np.arange(200), frequencies)
    decoder = Decoder(coder.finished())
    decoder.take(frequencies[:100])
    with pytest.raises(ValueError, match="more was encoded"):
        decoder.finish()
