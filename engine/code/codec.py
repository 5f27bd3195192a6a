"""A network to the bytes of a `.poly` file, and back."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from draw_poly.engine.code.container import Alphabet, Header, packed, unpacked
from draw_poly.engine.code.counts import told
from draw_poly.engine.code.fixed_point import Integers, length
from draw_poly.engine.code.grid import Grid, Symbols
from draw_poly.engine.code.predictor import LARGEST_WEIGHT, Predictor, Trained
from draw_poly.engine.code.range_coder import CodeError, Decoder, Encoder
from draw_poly.engine.prepare import memory
from draw_poly.kernels.spec import Network

MOST_FRACTION = 15
BYTES_PER_PARAMETER = 32


@dataclass(frozen=True)
class Code:
    """A network as a file: its bytes, and how many bits the parts of it take, which add up to all of them.

    `ideal` is what an ideal code takes for the predictor and the network by the same probabilities, without a header.
    `parameters` (P,) float32 are those that a decoder finds.
    """

    content: bytes
    header: int
    predictor: int
    network: int
    ideal: float
    parameters: NDArray[np.float32]
    told: Predictor | None

    @property
    def bits(self) -> int:
        """Of all of the file."""
        return 8 * len(self.content)


@dataclass(frozen=True)
class Decoded:
    """What a file holds: a network, its `parameters` (P,) float32, their bins, and the size of the picture."""

    network: Network
    parameters: NDArray[np.float32]
    grid: Grid
    size: tuple[int, int]


def encode(
    network: Network,
    parameters: NDArray[np.float64],
    grid: Grid,
    trained: Trained | None = None,
    size: tuple[int, int] = (0, 0),
) -> Code:
    """Codes parameters (P,) in the bins of a grid, by a predictor that was trained, or else by counts.

    The predictor is rounded to as many bits as make it and the network shortest. `size` is the picture's width and
    height. Raises CodeError for parameters that are not finite, and where constriction is not installed.
    """
    if not np.isfinite(parameters).all():
        raise CodeError("the network has parameters that are not finite, which have no bin")
    symbols = grid.symbols(parameters)
    predictor = None if trained is None else _shortest(trained, network, symbols, grid.bins)
    coder = Encoder()
    alphabet = _put_predictor(coder, predictor) if predictor else None
    before = coder.ideal
    if predictor:
        first = 0
        for frequencies in predictor.frequencies(network, grid.bins):
            coder.put(symbols[first : first + len(frequencies)], frequencies)
            first += len(frequencies)
    else:
        _by_counts(network, grid.bins, symbols, coder.put)
    code = coder.finished()
    content = packed(Header(network, grid, size, alphabet), code)
    header = 8 * (len(content) - len(code))
    # Both stand in the same words: what an ideal code takes for the first is its own, to a bit.
    of_predictor = round(before)
    rest = 8 * len(code) - of_predictor
    return Code(content, header, of_predictor, rest, coder.ideal, grid.values(symbols), predictor)


def decode(content: bytes, name: str) -> Decoded:
    """What a file holds, the same to the bit on every machine. Raises CodeError, with the file's name, for no file."""
    header, code = unpacked(content, name)
    network, grid = header.network, header.grid
    memory.require(network.size * BYTES_PER_PARAMETER, f"{name}, a network of {network.size} parameters,")
    try:
        decoder = Decoder(code)
        if header.predictor:
            predictor = _take_predictor(decoder, header.predictor, grid)
            parts = [decoder.take(frequencies) for frequencies in predictor.frequencies(network, grid.bins)]
            symbols = np.concatenate(parts)
        else:
            symbols = told(network, grid.bins, decoder.take)
        decoder.finish()
    except CodeError:
        raise
    except ValueError as error:
        raise CodeError(f"{name} is no .poly file that this program could have written ({error})") from error
    return Decoded(network, grid.values(symbols), grid, header.size)


def _by_counts(network: Network, n: int, symbols: Symbols, put: Callable[[Symbols, Integers], object]) -> None:
    """Puts a network's symbols, block by block, with the frequencies that counts of those before give them."""
    at = 0

    def tell(frequencies: Integers, count: int) -> Integers:
        nonlocal at
        part = symbols[at : at + count]
        put(part, frequencies)
        at += count
        return part

    told(network, n, tell)


def length_by_counts(network: Network, n: int, symbols: Symbols) -> float:
    """Bits that an ideal code takes for a network's symbols by counts."""
    bits = 0.0

    def put(part: Symbols, frequencies: Integers) -> None:
        nonlocal bits
        bits += length(frequencies, part)

    _by_counts(network, n, symbols, put)
    return bits


def _put_predictor(coder: Encoder, predictor: Predictor) -> Alphabet:
    least, size = _alphabet(predictor)
    _by_counts(predictor.network, size, predictor.weights - least, coder.put)
    return Alphabet(predictor.kind, predictor.network.dims[1:-1], predictor.fraction, least, size)


def _take_predictor(decoder: Decoder, alphabet: Alphabet, grid: Grid) -> Predictor:
    network = Predictor.of_widths(alphabet.kind, alphabet.hidden, grid)
    memory.require(network.size * BYTES_PER_PARAMETER, f"a predictor of {network.size} parameters")
    least, greatest = alphabet.least, alphabet.least + alphabet.size - 1
    if alphabet.fraction > MOST_FRACTION or alphabet.size < 2 or max(-least, greatest) > LARGEST_WEIGHT + 1:
        raise ValueError(
            f"its predictor has weights from {least} to {greatest}, {alphabet.fraction} bits behind the point"
        )
    symbols = told(network, alphabet.size, decoder.take)
    return Predictor(alphabet.kind, network, alphabet.fraction, symbols + alphabet.least)


def _alphabet(predictor: Predictor) -> tuple[int, int]:
    """The least of its weights, and how many whole numbers there are from it to the greatest, two at least."""
    least = int(predictor.weights.min())
    return least, max(2, int(predictor.weights.max()) - least + 1)


def _shortest(trained: Trained, network: Network, symbols: Symbols, n: int) -> Predictor:
    """The predictor with as many bits behind the point as make it and the network shortest.

    More of them lengthen the one and shorten the other: looked for from few on, until it has got longer twice.
    """
    found, best, worse = None, np.inf, 0
    for fraction in range(MOST_FRACTION + 1):
        predictor = trained.rounded(fraction)
        if predictor is None or worse == 2:
            break
        least, size = _alphabet(predictor)
        bits = length_by_counts(predictor.network, size, predictor.weights - least)
        bits += predictor.estimate(network, n, symbols)
        found, best, worse = (predictor, bits, 0) if bits < best else (found, best, worse + 1)
    if found is None:
        raise CodeError(
            f"the predictor has weights up to {np.abs(trained.parameters).max():.3g}, too large to be coded"
        )
    return found
