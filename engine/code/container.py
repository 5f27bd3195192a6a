"""A `.poly` file: what a decoder must know before the code, and a checksum over all of it.

    4 bytes  `poly`
    1 byte   version, now 1
    4 bytes  CRC-32 of all that follows, little-endian
    numbers  the network's widths, each after how many there are; its activation; bins; low and high end of the range as
             float32; width and height of the picture, 0 where none is known; how probabilities are told, and of a
             predictor: hidden widths, bits behind the point, least weight (zigzag), how many weights there may be
    words    the range coder's, of 32 bits, little-endian: the predictor's weights, then the network's bins

Numbers are of 7 bits a byte, the lowest first, the eighth bit set in all but the last (LEB128).
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from draw_poly.engine.code.grid import Grid
from draw_poly.engine.code.predictor import KINDS
from draw_poly.engine.code.range_coder import CodeError
from draw_poly.kernels.spec import SLOPE, Activation, Network, leaky_relu

MAGIC, VERSION = b"poly", 1
CHECKED = len(MAGIC) + 1 + 4  # bytes before what is checked
DEFAULT, RELU, SLOPED = range(3)  # of the activation; after the last one comes the slope
COUNTS = 0  # in place of a predictor's kind


@dataclass(frozen=True)
class Alphabet:
    """Of a predictor's weights: `size` whole numbers from `least` on. `kind`, `hidden` and `fraction` are its own."""

    kind: str
    hidden: tuple[int, ...]
    fraction: int
    least: int
    size: int


@dataclass(frozen=True)
class Header:
    """What is known of a network before its code: `size` is that of its picture; without `predictor`, counts tell."""

    network: Network
    grid: Grid
    size: tuple[int, int] = (0, 0)
    predictor: Alphabet | None = None


def packed(header: Header, code: bytes) -> bytes:
    """A whole file. Raises CodeError for an activation that it has no number for."""
    body = b"".join(_written(header)) + code
    return MAGIC + bytes([VERSION]) + struct.pack("<I", zlib.crc32(body)) + body


def unpacked(content: bytes, name: str) -> tuple[Header, bytes]:
    """A file's header, and its code. Raises CodeError, with the file's name, where it is none or not whole."""
    if content[: len(MAGIC)] != MAGIC[: len(content)] or not content:
        raise CodeError(f"{name} is no .poly file: it begins with other bytes")
    if len(content) < CHECKED:
        raise CodeError(f"{name} is cut off: it has {len(content)} bytes")
    if (version := content[len(MAGIC)]) != VERSION:
        raise CodeError(f"{name} has version {version}: this program reads version {VERSION}")
    body = content[CHECKED:]
    if struct.unpack("<I", content[CHECKED - 4 : CHECKED])[0] != zlib.crc32(body):
        raise CodeError(f"{name} is damaged or cut off: its checksum is another")
    try:
        reader = _Reader(body)
        return _read(reader), body[reader.at :]
    except (IndexError, ValueError, struct.error) as error:
        raise CodeError(f"{name} is no .poly file that this program could have written ({error})") from error


def _written(header: Header) -> Iterator[bytes]:
    yield _sequence(header.network.dims)
    yield _activation(header.network.activation)
    yield _number(header.grid.bins) + struct.pack("<ff", header.grid.low, header.grid.high)
    yield from map(_number, header.size)
    told = header.predictor
    if told is None:
        yield _number(COUNTS)
    else:
        yield _number(1 + KINDS.index(told.kind)) + _sequence(told.hidden) + _number(told.fraction)
        yield _number(2 * told.least if told.least >= 0 else -2 * told.least - 1) + _number(told.size)


def _read(reader: "_Reader") -> Header:
    dims = reader.sequence()
    activation = reader.number()
    if activation > SLOPED:
        raise ValueError(f"its activation has number {activation}")
    slope = {DEFAULT: SLOPE, RELU: 0.0}.get(activation)
    network = Network(dims, leaky_relu(reader.unpack("<d") if slope is None else slope))
    grid = Grid(reader.number(), reader.unpack("<f"), reader.unpack("<f"))
    size = reader.number(), reader.number()
    told = reader.number()
    if told == COUNTS:
        return Header(network, grid, size)
    kind, hidden, fraction, zigzag = KINDS[told - 1], reader.sequence(), reader.number(), reader.number()
    least = -(zigzag + 1) // 2 if zigzag % 2 else zigzag // 2
    return Header(network, grid, size, Alphabet(kind, hidden, fraction, least, reader.number()))


def _activation(activation: Activation) -> bytes:
    if activation.name != "leaky_relu":
        raise CodeError(
            f"a network with the activation {activation.name} is not coded: it has no number in a .poly file"
        )
    if activation.slope == SLOPE:
        return _number(DEFAULT)
    return _number(SLOPED) + struct.pack("<d", activation.slope) if activation.slope else _number(RELU)


def _sequence(numbers: Sequence[int]) -> bytes:
    return b"".join(map(_number, (len(numbers), *numbers)))


def _number(value: int) -> bytes:
    parts = []
    while value >= 128:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


class _Reader:
    """Reads numbers one after the other; `at` is the next byte. Raises IndexError at the end."""

    def __init__(self, content: bytes) -> None:
        self._content, self.at = content, 0

    def number(self) -> int:
        value = 0
        for place in range(0, 63, 7):
            byte = self._content[self.at]
            self.at += 1
            value |= (byte & 127) << place
            if byte < 128:
                return value
        raise ValueError("a number is too long")

    def sequence(self) -> tuple[int, ...]:
        count = self.number()
        if count > len(self._content):
            raise ValueError(f"{count} widths would follow")
        return tuple(self.number() for _ in range(count))

    def unpack(self, form: str) -> float:
        size = struct.calcsize(form)
        (value,) = struct.unpack_from(form, self._content, self.at)
        self.at += size
        return float(value)
