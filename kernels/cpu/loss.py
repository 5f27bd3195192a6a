"""The task's losses on a block of points: outputs replaced by their gradient while training, measured in validation.

A loss is a type, as an activation is: code is written for one alone. Source of the formulas: `kernels/README.md`,
"Network" and "Classes".
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numba.extending import overload

from draw_poly.kernels.compiled import part
from draw_poly.kernels.cpu.runtime.exponential import exp
from draw_poly.kernels.cpu.runtime.vector import (
    LANES,
    fma,
    highest,
    larger,
    load,
    lowest,
    splat,
    store,
    total,
    total_in_double,
    where_positive,
)
from draw_poly.kernels.spec import Loss

# From place LANES - n on: a vector whose first n lanes are ones, the others zeros.
ONES_AND_ZEROS = np.repeat(np.array([1.0, 0.0], np.float32), LANES)


class SquaredError(NamedTuple):
    """The mean of (output - target)²."""

    factor: float  # what the derivative brings along


class CrossEntropy(NamedTuple):
    """The mean of -log softmax(a)[class], a being the outputs after their activation."""

    factor: float
    sigmoid: bool
    slope: np.float32  # of leaky ReLU


def loss_of(loss: Loss) -> SquaredError | CrossEntropy:
    """A loss as kernels are told of it."""
    if loss.name == "squared_error":
        return SquaredError(loss.factor)
    return CrossEntropy(loss.factor, loss.final == "sigmoid", np.float32(loss.slope))


def descend(loss: Any, outputs: int, count: int, block: Any, start: int, stride: int, targets: int, targets_stride: int,
            scale: Any) -> float:  # fmt: skip
    """Replaces outputs by their gradient, given the targets' place; returns the sum of losses.

    `scale` is the loss's factor over the number of targets of the whole batch.
    """
    raise NotImplementedError("compiled code alone calls it")


@overload(descend, inline="always")
def _descend(loss, outputs, count, block, start, stride, targets, targets_stride, scale):  # type: ignore[no-untyped-def]
    return {SquaredError: _squared_descend, CrossEntropy: _classes_descend}[loss.instance_class]


def measure(loss: Any, outputs: int, count: int, block: Any, start: int, stride: int, targets: int, targets_stride: int,
            found: Any) -> None:  # fmt: skip
    """Writes the sum of losses and the ranges of `Loss.targets`, lowest and highest in turns, given the targets' place.

    The last panel is to be filled up with the last point.
    """
    raise NotImplementedError("compiled code alone calls it")


@overload(measure, inline="always")
def _measure(loss, outputs, count, block, start, stride, targets, targets_stride, found):  # type: ignore[no-untyped-def]
    return {SquaredError: _squared_measure, CrossEntropy: _classes_measure}[loss.instance_class]


def _squared_descend(loss, outputs, count, block, start, stride, targets, targets_stride, scale):  # type: ignore[no-untyped-def]
    return squared_error(outputs, count, block, start, stride, targets, targets_stride, scale)


def _classes_descend(loss, outputs, count, block, start, stride, targets, targets_stride, scale):  # type: ignore[no-untyped-def]
    return cross_entropy(
        loss.sigmoid, loss.slope, outputs, count, block, start, stride, targets, targets_stride, scale, True
    )  # fmt: skip


def _squared_measure(loss, outputs, count, block, start, stride, targets, targets_stride, found):  # type: ignore[no-untyped-def]
    deviation(outputs, count, block, start, stride, targets, targets_stride, found)


def _classes_measure(loss, outputs, count, block, start, stride, targets, targets_stride, found):  # type: ignore[no-untyped-def]
    found[0] = cross_entropy(
        loss.sigmoid, loss.slope, outputs, count, block, start, stride, targets, targets_stride, np.float32(0.0), False
    )  # fmt: skip
    class_range(loss.sigmoid, loss.slope, outputs, count, block, start, stride, targets, found)


@part
def clear_fillers(features, count, block, start, stride):  # type: ignore[no-untyped-def]
    """Writes zeros where a place in a block has lanes in its last panel that are none of its `count` points."""
    last = (count - 1) // LANES
    if count == (last + 1) * LANES:
        return
    live = load(ONES_AND_ZEROS, (last + 1) * LANES - count)
    at = start + last * stride
    for feature in range(features):
        row = at + feature * LANES
        store(block, row, where_positive(live, load(block, row), splat(np.float32(0.0))))


@part
def squared_error(outputs, count, block, start, stride, targets, targets_stride, scale):  # type: ignore[no-untyped-def]
    """See `descend`."""
    panels = (count + LANES - 1) // LANES
    factor = splat(scale)
    squares = splat(np.float32(0.0))
    clear_fillers(outputs, count, block, start, stride)
    clear_fillers(outputs, count, block, targets, targets_stride)
    for output in range(outputs):
        at, wanted = start + output * LANES, targets + output * LANES
        for _ in range(panels):
            difference = load(block, at) - load(block, wanted)
            squares = fma(difference, difference, squares)
            store(block, at, difference * factor)
            at += stride
            wanted += targets_stride
    return total(squares)


@part
def deviation(outputs, count, block, start, stride, targets, targets_stride, found):  # type: ignore[no-untyped-def]
    """See `measure`; NaN stays."""
    whole = count // LANES
    live = load(ONES_AND_ZEROS, LANES - (count - whole * LANES))
    error = 0.0
    for output in range(outputs):
        at, wanted = start + output * LANES, targets + output * LANES
        least = most = load(block, at)
        for panel in range((count + LANES - 1) // LANES):
            value = load(block, at)
            least, most = lowest(least, value), highest(most, value)
            difference = value - load(block, wanted)
            if panel == whole:
                difference = where_positive(live, difference, splat(np.float32(0.0)))
            error += total_in_double(difference * difference)
            at += stride
            wanted += targets_stride
        _spread(least, most, block, start + output * LANES, targets + output * LANES, found, 2 * output + 1)
    found[0] = error


@part
def _spread(least, most, block, one, other, found, place):  # type: ignore[no-untyped-def]
    """Writes the lowest lane and the highest one, by way of two places in the block that are done with."""
    found[place], found[place + 1] = np.inf, -np.inf
    store(block, one, least)
    store(block, other, most)
    for lane in range(LANES):
        low, high = block[one + lane], block[other + lane]
        found[place] = low if low < found[place] or low != low else found[place]
        found[place + 1] = high if high > found[place + 1] or high != high else found[place + 1]


@part
def finished(sigmoid, slope, value):  # type: ignore[no-untyped-def]
    """An output after its activation, and the activation's derivative."""
    zero, one = splat(np.float32(0.0)), splat(np.float32(1.0))
    if sigmoid:
        small = exp(zero - larger(value, zero - value))
        share = one / (one + small)
        return where_positive(value, share, small * share), small * share * share
    return where_positive(value, value, value * splat(slope)), where_positive(value, one, splat(slope))


@part
def cross_entropy(sigmoid, slope, outputs, count, block, start, stride, targets, targets_stride, scale, descends):  # type: ignore[no-untyped-def]
    """The sum of losses of logits; where it `descends`, these are replaced by their gradient.

    A target that is no class is NaN's loss.
    """
    zero, half = splat(np.float32(0.0)), splat(np.float32(0.5))
    summed = 0.0
    for done in range(0, count, LANES):
        lanes = min(LANES, count - done)
        first, wanted = start + done // LANES * stride, targets + done // LANES * targets_stride
        label = load(block, wanted)
        top, _ = finished(sigmoid, slope, load(block, first))
        expected = splat(np.float32(np.nan))
        for output in range(outputs):
            value, _ = finished(sigmoid, slope, load(block, first + output * LANES))
            top = larger(top, value)
            apart = label - splat(np.float32(output))
            expected = where_positive(half - larger(apart, zero - apart), value, expected)
        whole = zero
        for output in range(outputs):
            value, _ = finished(sigmoid, slope, load(block, first + output * LANES))
            whole = whole + exp(value - top)
        if descends:
            for output in range(outputs):
                at = first + output * LANES
                value, derivative = finished(sigmoid, slope, load(block, at))
                apart = label - splat(np.float32(output))
                hit = where_positive(half - larger(apart, zero - apart), splat(np.float32(1.0)), zero)
                store(block, at, (exp(value - top) / whole - hit) * derivative * splat(scale))
        rest = where_positive(load(ONES_AND_ZEROS, LANES - lanes), top - expected, zero)
        summed += total_in_double(rest)
        store(block, wanted, whole)
        product = 1.0  # one logarithm for all lanes
        for lane in range(lanes):
            product *= block[wanted + lane]
        summed += math.log(product)
    return summed


@part
def class_range(sigmoid, slope, outputs, count, block, start, stride, targets, found):  # type: ignore[no-untyped-def]
    """Writes the lowest and the highest class that points are given, by the first of the largest logits."""
    least, most = splat(np.float32(outputs)), splat(np.float32(-1.0))
    for panel in range((count + LANES - 1) // LANES):
        first = start + panel * stride
        best, _ = finished(sigmoid, slope, load(block, first))
        label = splat(np.float32(0.0))
        for output in range(1, outputs):
            value, _ = finished(sigmoid, slope, load(block, first + output * LANES))
            label = where_positive(value - best, splat(np.float32(output)), label)
            best = where_positive(value - best, value, best)
        least, most = lowest(least, label), highest(most, label)
    _spread(least, most, block, start, targets, found, 1)
