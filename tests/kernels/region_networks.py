"""Networks whose regions the tests look at: generic ones, and those whose walls meet, touch and coincide."""

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from draw_poly.kernels.spec import Network, leaky_relu

Numbers = NDArray[np.float64]
KINDS = ("generic", "equal rows", "equal biases", "quantised", "no biases", "opposite rows")
Point = tuple[Fraction, Fraction]
Map = tuple[Fraction, Fraction, Fraction]


def draw(kind: str, generator: np.random.Generator, deepest: int = 4, widest: int = 12) -> tuple[Network, Numbers]:
    """A network of a kind at random, with its parameters (P,)."""
    hidden = generator.integers(1, widest + 1, generator.integers(1, deepest + 1)).tolist()
    network = Network((2, *hidden, 1), leaky_relu(float(generator.choice([0.0, 0.01, 0.25]))))
    parts = []
    for out, into in network.shapes:
        weights = generator.normal(size=(out, into)) * (2 / into) ** 0.5
        biases = generator.normal(size=out) * 0.4
        pairs = out // 2
        if kind == "equal rows":
            weights[1 : 2 * pairs : 2] = weights[: 2 * pairs : 2] * (1 + 3e-16)
            biases[1 : 2 * pairs : 2] = biases[: 2 * pairs : 2] * (1 + generator.choice([0, 3e-16]))
        elif kind == "equal biases":
            biases[1:] = biases[0] + 1e-15 * generator.normal(size=out - 1)
        elif kind == "quantised":
            weights, biases = np.round(4 * weights) / 4, np.round(4 * biases) / 4
        elif kind == "no biases":
            biases[:] = 0
        elif kind == "opposite rows":
            weights[1 : 2 * pairs : 2], biases[1 : 2 * pairs : 2] = -weights[: 2 * pairs : 2], -biases[: 2 * pairs : 2]
        parts += [weights.ravel(), biases]
    return network, np.concatenate(parts)


def exact_regions(network: Network, parameters: Numbers) -> dict[tuple[bool, ...], Fraction]:
    """The areas of the unit square's regions by their patterns, in rational numbers.

    From the definition: a region is a polygon of positive area, the square cut by every neuron of every layer, z > 0
    on one side; the map to z is carried along for each.
    """
    one, zero = Fraction(1), Fraction(0)
    numbers = [Fraction(number) for number in parameters.tolist()]
    square: list[Point] = [(zero, zero), (one, zero), (one, one), (zero, one)]
    cells: list[tuple[tuple[bool, ...], list[Point], list[Map]]] = [
        ((), square, [(one, zero, zero), (zero, one, zero)])
    ]
    slope, place = Fraction(network.slope), 0
    for out, into in network.shapes[:-1]:
        cut: list[tuple[tuple[bool, ...], list[Point], list[Map]]] = []
        for pattern, corners, inputs in cells:
            sums: list[Map] = []
            for row in range(out):
                weights = numbers[place + row * into : place + (row + 1) * into]
                image = [sum((w * m[k] for w, m in zip(weights, inputs, strict=True)), zero) for k in range(3)]
                sums.append((image[0], image[1], image[2] + numbers[place + out * into + row]))
            pieces: list[tuple[tuple[bool, ...], list[Point]]] = [(pattern, corners)]
            for a, b, c in sums:
                pieces = [
                    ((*signs, positive), part)
                    for signs, polygon in pieces
                    for positive in (True, False)
                    if _area(part := _clipped(polygon, a, b, c, positive)) > 0
                ]
            for signs, polygon in pieces:
                factors = [one if bit else slope for bit in signs[len(pattern) :]]
                activated = [(f * a, f * b, f * c) for f, (a, b, c) in zip(factors, sums, strict=True)]
                cut.append((signs, polygon, activated))
        cells = cut
        place += out * (into + 1)
    return {pattern: _area(corners) for pattern, corners, _ in cells}


def _clipped(polygon: list[Point], a: Fraction, b: Fraction, c: Fraction, positive: bool) -> list[Point]:
    kept, sign = [], 1 if positive else -1
    for here, after in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        at, then = (sign * (a * x + b * y + c) for x, y in (here, after))
        if at >= 0 and not (at == then == 0 and positive and a == b == c == 0):
            kept.append(here)
        if at * then < 0:
            share = at / (at - then)
            kept.append((here[0] + share * (after[0] - here[0]), here[1] + share * (after[1] - here[1])))
    return kept


def _area(polygon: list[Point]) -> Fraction:
    turned = polygon[1:] + polygon[:1]
    return sum((x * v - u * y for (x, y), (u, v) in zip(polygon, turned, strict=True)), Fraction(0)) / 2
