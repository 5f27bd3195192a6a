"""Muon's step of a weight matrix, as `torch.optim.Muon` takes it: its momentum, orthogonalised in bfloat16."""

import math

import numpy as np

from draw_poly.kernels.compiled import part
from draw_poly.kernels.spec import Network
from draw_poly.kernels.spec.optimizer import KEPT, MATRIX_TINY, NEWTON_SCHULZ, OTHER_RATE, REST

A, B, C = (np.float32(number) for number in NEWTON_SCHULZ)
HALF, ODD, UPPER = np.uint32(0x7FFF), np.uint32(1), np.uint32(0xFFFF0000)
ONE, ZERO = np.float32(1.0), np.float32(0.0)


def scratch_size(network: Network) -> int:
    """Numbers that a matrix of a network needs: itself, turned, what follows it, and two like its Gram matrix."""
    return max(3 * out * into + 2 * min(out, into) ** 2 for out, into in network.shapes)


@part
def to_bfloat(numbers):  # type: ignore[no-untyped-def]
    """Rounds to bfloat16's numbers, to even; what is no number stays so."""
    words = numbers.view(np.uint32)
    for index in range(len(numbers)):
        word = words[index]
        nearest = (word + HALF + ((word >> 16) & ODD)) & UPPER
        words[index] = nearest if numbers[index] == numbers[index] else word


@part
def multiply(left, right, rows, inner, columns, factor, addition, share, result):  # type: ignore[no-untyped-def]
    """Writes `factor` times left (rows, inner) by right (inner, columns), plus `share` of the addition, in bfloat16.

    The addition may be empty; sums are made in float32 and rounded once.
    """
    for row in range(rows):
        sums = result[row * columns : (row + 1) * columns]
        for index in range(columns):
            sums[index] = ZERO
        for place in range(inner):
            number = left[row * inner + place]
            others = right[place * columns : (place + 1) * columns]
            for index in range(columns):
                sums[index] += number * others[index]
        if len(addition):
            added = addition[row * columns : (row + 1) * columns]
            for index in range(columns):
                sums[index] = factor * sums[index] + share * added[index]
        to_bfloat(sums)


@part
def orthogonalise(wide, rows, columns, iterations, epsilon, scratch):  # type: ignore[no-untyped-def]
    """Brings the singular values of a matrix (rows, columns), which is not tall, near 1, in place."""
    size, square = rows * columns, rows * rows
    turned, following = scratch[:size], scratch[size : 2 * size]
    gram = scratch[2 * size : 2 * size + square]
    polynomial = scratch[2 * size + square : 2 * size + 2 * square]
    nothing = scratch[:0]
    to_bfloat(wide)
    total = 0.0
    for index in range(size):
        total += np.float64(wide[index]) ** 2
    norm = polynomial[:1]
    norm[0] = math.sqrt(total)
    to_bfloat(norm)
    divisor = norm[0] if not norm[0] < epsilon else epsilon
    for index in range(size):
        wide[index] /= divisor
    to_bfloat(wide)
    for _ in range(iterations):
        for row in range(rows):
            for column in range(columns):
                turned[column * rows + row] = wide[row * columns + column]
        multiply(wide, turned, rows, columns, rows, ONE, nothing, ZERO, gram)
        multiply(gram, gram, rows, rows, rows, C, gram, B, polynomial)
        multiply(polynomial, wide, rows, rows, columns, ONE, wide, A, following)
        for index in range(size):
            wide[index] = following[index]


@part
def descend_matrix(  # type: ignore[no-untyped-def]
    parameters, gradient, buffer, out, into, ratio, scalars, iterations, nesterov, scratch
):
    """The step of a matrix (out, into), row by row in each of these vectors, in place; `ratio` is its rate's."""
    size, tall = out * into, out > into
    wide = scratch[:size]
    for row in range(out):
        for column in range(into):
            index = row * into + column
            mean = buffer[index] + scalars[REST] * (gradient[index] - buffer[index])
            buffer[index] = mean
            if nesterov:
                mean += scalars[REST] * (gradient[index] - mean)
            wide[column * out + row if tall else index] = mean
    orthogonalise(wide, min(out, into), max(out, into), iterations, scalars[MATRIX_TINY], scratch[size:])
    rate, kept = scalars[OTHER_RATE] * ratio, scalars[KEPT]
    for row in range(out):
        for column in range(into):
            index = row * into + column
            parameters[index] = parameters[index] * kept - rate * wide[column * out + row if tall else index]
