"""A code beside what else could tell the same, as a table."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from draw_poly.engine.code import rivals
from draw_poly.engine.code.codec import Code, length_by_counts
from draw_poly.engine.code.grid import Grid
from draw_poly.engine.code.picture import Error, Pixels, bits_of_the_rest, drawn, error
from draw_poly.engine.code.weights import Weights
from draw_poly.engine.data.image import Picture

NAMES = 44  # letters that a row's name has room for


@dataclass(frozen=True)
class Row:
    """Bits of something, and a note on it."""

    name: str
    bits: float
    note: str = ""

    def __str__(self) -> str:
        return f"{self.name:<{NAMES}}{self.bits:>12,.0f}{'  ' * bool(self.note)}{self.note}"


def rows(weights: Weights, code: Code, grid: Grid, picture: Picture | None, own: Pixels | None) -> Iterator[Row]:
    """The table of a code; `own` is the picture that it draws, beside the image, where there is one."""
    yield from _of_weights(weights, code, grid)
    if picture is not None and own is not None:
        yield from _of_pictures(weights, code, picture.pixels, own)


def _of_weights(weights: Weights, code: Code, grid: Grid) -> Iterator[Row]:
    each = code.bits / weights.network.size
    yield Row("the file", code.bits, f"{each:.2f} bits a parameter of {weights.network.size}")
    yield Row("  its header", code.header)
    if code.told:
        yield Row("  its predictor", code.predictor, f"{code.told.network.size} weights, {code.told.fraction} bits "
                  "behind the point")  # fmt: skip
    yield Row("  its network", code.network, f"in {grid.bins} bins from {grid.low:.4g} to {grid.high:.4g}")
    yield Row("an ideal code of predictor and network" if code.told else "an ideal code of the network", code.ideal)
    if (estimate := weights.estimate(grid)) is not None and code.told:
        yield Row("the network by the Kolmogorov term", estimate, "the estimate that is trained, without the predictor")
    symbols = grid.symbols(weights.parameters)
    if code.told:
        counted = length_by_counts(weights.network, grid.bins, symbols)
        yield Row("the network by counts, without a predictor", counted, "ideal")
    yield from (Row(name, bits) for name, bits in rivals.weights(symbols, grid.bins).items())


def _of_pictures(weights: Weights, code: Code, image: Pixels, own: Pixels) -> Iterator[Row]:
    size = image.shape[1], image.shape[0]
    trained = error(drawn(weights.network, weights.parameters.astype(np.float32), size), image)
    coded = error(own, image)
    yield Row("the picture of the file's network", code.bits, f"{coded}; as it was trained: {trained}")
    yield Row("the same picture as PNG", rivals.png(own), str(coded))
    found: dict[str, tuple[int, Error]] = rivals.lossy(image, coded)
    yield from (Row(f"the image as {name}, as wrong or less", *_noted(one)) for name, one in found.items())
    rest = bits_of_the_rest(own, image)
    yield Row("the rest of the image", rest, "what the picture lacks of it, value by value")
    yield Row("the image in two parts: file and rest", code.bits + rest, "its description length by this network")
    alone = bits_of_the_rest(np.zeros_like(image), image)
    yield Row("the image by the same code alone", alone)
    yield Row("the image as PNG", rivals.png(image))


def _noted(found: tuple[int, Error]) -> tuple[int, str]:
    return found[0], str(found[1])
