"""The range coder: `constriction`'s, given integer frequencies so that its own rounding never comes into play.

Its `Categorical` turns n floats p into cumulated probabilities floor(s · cumulated p) + index, in parts of 2^24, where
s = (2^24 - n) / Σp. Of integers that add up to 2^24 - n every sum is exact and s is 1: a symbol gets (p + 1) / 2^24.
"""

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from draw_poly.engine.code.fixed_point import Integers, length
from draw_poly.engine.flags import ConfigError

WORD = np.dtype("<u4")


class CodeError(ConfigError):
    """A network cannot be coded, or a file not be decoded; the text is one sentence for the user."""


def _stream() -> Any:
    """The library, which need not be there. Raises CodeError."""
    try:
        return importlib.import_module("constriction").stream
    except ImportError as error:
        raise CodeError(
            f"constriction, which codes, cannot be loaded ({error}; pip install 'draw-poly[code]')"
        ) from error


def require() -> None:
    """Raises CodeError where the library cannot be loaded."""
    _stream()


class Encoder:
    """Encodes symbols one after the other; `ideal` is how many bits an ideal code would have taken for them."""

    def __init__(self) -> None:
        stream = _stream()
        self._coder, self._family = stream.queue.RangeEncoder(), stream.model.Categorical(perfect=False)
        self._one = stream.model.Categorical
        self.ideal = 0.0

    def put(self, symbols: Integers, frequencies: Integers) -> None:
        """Encodes symbols (m,) of frequencies (m, n) each, or (n,) all."""
        self.ideal += length(frequencies, symbols)
        numbers, floats = symbols.astype(np.int32), np.ascontiguousarray(frequencies, np.float64)  # by rows
        if floats.ndim == 1:
            self._coder.encode(numbers, self._one(floats, perfect=False))
        else:
            self._coder.encode(numbers, self._family, floats)

    def finished(self) -> bytes:
        """What was encoded, in whole words of 32 bits."""
        return bytes(self._coder.get_compressed().astype(WORD).tobytes())


class Decoder:
    """Decodes what an `Encoder` has encoded, given the same frequencies in the same order."""

    def __init__(self, code: bytes) -> None:
        """Raises ValueError for bytes that are no whole words."""
        stream = _stream()
        words = np.frombuffer(code, WORD).astype(np.uint32)
        self._coder, self._family = stream.queue.RangeDecoder(words), stream.model.Categorical(perfect=False)
        self._one = stream.model.Categorical

    def take(self, frequencies: Integers, count: int | None = None) -> Integers:
        """The next symbols: one for each row of frequencies (m, n), or so many of frequencies (n,).

        Raises ValueError for a code that nobody has encoded.
        """
        floats = np.ascontiguousarray(frequencies, np.float64)
        try:
            if count is not None:
                found: NDArray[np.int32] = self._coder.decode(self._one(floats, perfect=False), count)
            else:
                found = self._coder.decode(self._family, floats)
        except AssertionError as error:  # what the library raises of invalid data
            raise ValueError(str(error)) from error
        return found.astype(np.int64)

    def finish(self) -> None:
        """Raises ValueError where there is more to decode."""
        if not self._coder.maybe_exhausted():
            raise ValueError("more was encoded than the header says")
