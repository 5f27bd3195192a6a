"""Probabilities by integers alone, so that encoder and decoder have the same on every machine and by every library.

Numbers have 16 bits behind the point (`ONE` is 1). What the range coder is given are frequencies: a symbol's
probability is (its frequency + 1) / 2^24, and those of n symbols add up to 2^24 - n. Sums and products stay in int64.
"""

from functools import cache
from math import isqrt

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

POINT = 16
ONE = 1 << POINT
TOTAL = 1 << 24  # what probabilities are parts of: the range coder's precision
LOG2_E = 94548  # log2(e) · 2^16
MANTISSA = 30  # bits of a power of two
FURTHEST = 1 << 24  # below the greatest logit all has the least probability


@cache
def _powers() -> tuple[Integers, Integers]:
    """2^-(j / 2^8) and 2^-(j / 2^16) for j from 0 to 255, by square roots of integers; 30 bits."""
    one = 1 << 62
    roots = [one >> 1]  # 2^-(2^-k)
    for _ in range(POINT):
        roots.append(isqrt(roots[-1] * one))

    def power(fraction: int) -> int:
        product = one
        for place in range(1, POINT + 1):
            if fraction >> (POINT - place) & 1:
                product = product * roots[place] >> 62
        return product + (1 << 31) >> 32

    high, low = (np.array([power(j << shift) for j in range(256)], np.int64) for shift in (8, 0))
    return high, low


def halved(exponents: Integers) -> Integers:
    """2^-x of exponents x >= 0, with `MANTISSA` bits behind the point."""
    high, low = _powers()
    fraction = exponents & ONE - 1
    mantissa = high[fraction >> 8] * low[fraction & 255] >> MANTISSA
    return np.asarray(mantissa >> np.minimum(exponents >> POINT, 63), np.int64)


def scaled(values: Integers, exponents: Integers) -> Integers:
    """The products values · 2^x, of values up to 2^27 and exponents up to 32."""
    whole = exponents >> POINT  # the floor
    mantissa = values * halved(((whole + 1) << POINT) - exponents) >> MANTISSA  # values · 2^(fraction - 1)
    grown = mantissa << np.maximum(whole + 1, 0)
    return np.asarray(grown >> np.minimum(np.maximum(-whole - 1, 0), 63), np.int64)


def softmax(logits: Integers) -> Integers:
    """Frequencies (rows, n) of logits (rows, n) in nats."""
    below = np.minimum(logits.max(1, keepdims=True) - logits, FURTHEST)
    return shares(halved(below * LOG2_E >> POINT))


def shares(weights: Integers) -> Integers:
    """Frequencies (rows, n) in proportion to weights (rows, n) below 2^39; what rounding leaves is the greatest's."""
    free = TOTAL - weights.shape[1]
    frequencies: Integers = weights * free // weights.sum(1, keepdims=True)
    rows = np.arange(len(frequencies))
    frequencies[rows, frequencies.argmax(1)] += free - frequencies.sum(1)
    return frequencies


def length(frequencies: Integers, symbols: Integers) -> float:
    """Bits that an ideal code takes for symbols (rows,) of these frequencies (rows, n) or (n,)."""
    chosen = frequencies[symbols] if frequencies.ndim == 1 else frequencies[np.arange(len(symbols)), symbols]
    return float(-np.log2((chosen + 1) / TOTAL).sum())
