"""The three inner loops that all of the time goes to, as LLVM code: a tile of results stays in registers.

A panel is 16 points: its features follow each other, 16 numbers each. A tile is up to six rows by one panel, or by two
columns of a weight's gradient: twelve sums in sixteen registers of eight numbers. Each number read then feeds several
multiplications, without which reading would take longer than they do.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from draw_poly.kernels.cpu.runtime.vector import (
    FLOAT,
    INTEGER,
    LANES,
    LONG,
    constant,
    multiply_add,
    place,
    read,
    spread,
    write,
)
from draw_poly.kernels.spec import Network

ROWS = 6
COLUMNS = 2
HALF = 8  # numbers of a sum over points: twelve of them fit the registers
DEEPEST = 128  # terms of a running sum: past it, such sums are summed, since one alone would lose digits
Emit = Callable[[int], None]


def _unrolled(builder: ir.IRBuilder, count: ir.Value, counts: range, emit: Emit) -> None:
    """The code of `emit(count)` for every count there is."""
    end = builder.append_basic_block("end")
    choice = builder.switch(count, end)
    for number in counts:
        block = builder.append_basic_block(f"count{number}")
        choice.add_case(LONG(number), block)
        builder.position_at_end(block)
        emit(number)
        builder.branch(end)
    builder.position_at_end(end)


def _rows(builder: ir.IRBuilder, start: ir.Value, stride: ir.Value, count: int) -> list[ir.Value]:
    """Addresses a stride apart."""
    return [builder.gep(start, [builder.mul(stride, LONG(row))]) for row in range(count)]


def _dense(
    builder: ir.IRBuilder,
    starts: list[ir.Value],
    weights: list[ir.Value],
    step: ir.Value,
    depth: ir.Value,
    inputs: ir.Value,
) -> list[ir.Value]:
    """To each row's start (16,), the sum over k of `weights[row][step * k] * inputs[k]`."""

    def sums_of(starts: list[ir.Value], begin: ir.Value) -> list[ir.Value]:
        """The sums over at most DEEPEST values of k."""
        sums = [cgutils.alloca_once(builder, start.type) for start in starts]
        for total, start in zip(sums, starts, strict=True):
            builder.store(start, total)
        rest = builder.sub(depth, begin)
        count = builder.select(builder.icmp_signed("<", rest, LONG(DEEPEST)), rest, LONG(DEEPEST))
        with cgutils.for_range(builder, count) as loop:
            index = builder.add(loop.index, begin)
            vector = read(builder, builder.gep(inputs, [builder.mul(index, LONG(LANES))]))
            at = builder.mul(index, step)
            for weight, total in zip(weights, sums, strict=True):
                factor = spread(builder, builder.load(builder.gep(weight, [at])))
                builder.store(multiply_add(builder, factor, vector, builder.load(total)), total)
        return [builder.load(total) for total in sums]

    totals = [cgutils.alloca_once_value(builder, total) for total in sums_of(starts, LONG(0))]
    with cgutils.for_range_slice(builder, LONG(DEEPEST), depth, LONG(DEEPEST), inc=True) as (begin, _):
        for total, part in zip(totals, sums_of([constant(0.0)] * len(starts), begin), strict=True):
            builder.store(builder.fadd(builder.load(total), part), total)
    return [builder.load(total) for total in totals]


class LeakyRelu(NamedTuple):
    """LeakyReLU as kernels are told of it: an activation is a type, since its code is written for it alone."""

    slope: np.float32


ACTIVATIONS = {"leaky_relu": LeakyRelu}


def activation_of(network: Network) -> LeakyRelu:
    """A network's activation as kernels are told of it."""
    return ACTIVATIONS[network.activation.name](np.float32(network.activation.slope))


def _activate(kind: Any, builder: ir.IRBuilder, activation: ir.Value, hidden: ir.Value) -> Callable[[ir.Value], Any]:
    """The code of an activation; of none where `hidden` is false, in the last layer."""
    assert kind.instance_class is LeakyRelu
    slope = builder.select(hidden, builder.extract_value(activation, 0), FLOAT(1.0))
    factor = spread(builder, slope)

    def leaky_relu(vector: ir.Value) -> ir.Value:
        lower = builder.fmul(vector, factor)
        return builder.select(builder.fcmp_ordered(">", vector, lower), vector, lower)

    return leaky_relu


def _derivative(kind: Any, builder: ir.IRBuilder, activation: ir.Value) -> Callable[[ir.Value], Any]:
    """The code of an activation's derivative, told by its result."""
    assert kind.instance_class is LeakyRelu
    factor = spread(builder, builder.extract_value(activation, 0))
    return lambda result: _leaky_relu_derivative(builder, result, factor)


def _leaky_relu_derivative(builder: ir.IRBuilder, vector: ir.Value, slope: ir.Value) -> ir.Value:
    """1 where the vector is positive, else the slope.

    As `slope + (1 - slope)` where the bits say so, exact in float32: a blend would take the units that multiply.
    """
    integers = ir.VectorType(INTEGER, LANES)
    positive = builder.icmp_signed(">", builder.bitcast(vector, integers), constant(0, kind=INTEGER))
    rest = builder.bitcast(builder.fsub(constant(1.0), slope), integers)
    chosen = builder.and_(builder.sext(positive, integers), rest)
    return builder.fadd(builder.bitcast(chosen, vector.type), slope)


@intrinsic
def forward_tile(
    typing: Any,
    count: Any, parameters: Any, weight: Any, bias: Any, depth: Any, block: Any, panels: Any,
    source: Any, source_stride: Any, target: Any, target_stride: Any, hidden: Any, activation: Any,
) -> Any:  # fmt: skip
    """`count` rows of a layer on all panels, from place `source` to place `target`.

    The activation of W h + b if the layer is `hidden`, else W h + b itself.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        count, parameters, weight, bias, depth, block, panels, source, source_stride, target, target_stride = values[
            :11
        ]
        first = place(context, builder, signature.args[1], parameters, weight)
        biases = place(context, builder, signature.args[1], parameters, bias)
        inputs = place(context, builder, signature.args[5], block, source)
        outputs = place(context, builder, signature.args[5], block, target)
        activated = _activate(signature.args[12], builder, values[12], values[11])

        def emit(number: int) -> None:
            rows = _rows(builder, first, depth, number)
            with cgutils.for_range(builder, panels) as loop:
                starts = [spread(builder, builder.load(row)) for row in _rows(builder, biases, LONG(1), number)]
                vectors = builder.gep(inputs, [builder.mul(loop.index, source_stride)])
                totals = _dense(builder, starts, rows, LONG(1), depth, vectors)
                results = builder.gep(outputs, [builder.mul(loop.index, target_stride)])
                for total, row in zip(totals, _rows(builder, results, LONG(LANES), number), strict=True):
                    write(builder, activated(total), row)

        _unrolled(builder, count, range(1, ROWS + 1), emit)
        return context.get_dummy_value()

    size = types.intp
    return types.void(
        size, parameters, size, size, size, block, size, size, size, size, size, types.boolean, activation
    ), generate  # fmt: skip


@intrinsic
def backward_tile(
    typing: Any,
    count: Any, parameters: Any, weight: Any, stride: Any, depth: Any, block: Any, panels: Any,
    source: Any, source_stride: Any, target: Any, target_stride: Any, activation: Any,
) -> Any:  # fmt: skip
    """`count` rows of the gradient of a layer's inputs on all panels: Wᵀ g through the activation.

    The gradient of the layer's results is at place `source`, its inputs at `target`, which the result replaces.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        count, parameters, weight, stride, depth, block, panels, source, source_stride, target, target_stride = values[
            :11
        ]
        first = place(context, builder, signature.args[1], parameters, weight)
        inputs = place(context, builder, signature.args[5], block, source)
        outputs = place(context, builder, signature.args[5], block, target)
        derivative = _derivative(signature.args[11], builder, values[11])

        def emit(number: int) -> None:
            rows = _rows(builder, first, LONG(1), number)
            with cgutils.for_range(builder, panels) as loop:
                vectors = builder.gep(inputs, [builder.mul(loop.index, source_stride)])
                totals = _dense(builder, [constant(0.0)] * number, rows, stride, depth, vectors)
                results = builder.gep(outputs, [builder.mul(loop.index, target_stride)])
                for total, row in zip(totals, _rows(builder, results, LONG(LANES), number), strict=True):
                    write(builder, builder.fmul(total, derivative(read(builder, row))), row)

        _unrolled(builder, count, range(1, ROWS + 1), emit)
        return context.get_dummy_value()

    size = types.intp
    return types.void(
        size, parameters, size, size, size, block, size, size, size, size, size, activation
    ), generate  # fmt: skip


def _add_up_four(builder: ir.IRBuilder, vectors: list[ir.Value]) -> ir.Value:
    """The sums of up to four vectors (8,), in the lanes of one (4,): a third of the work of one sum after the other."""

    def pair(a: ir.Value, b: ir.Value) -> ir.Value:
        even, odd = ([lane + shift for lane in (0, 2, 8, 10, 4, 6, 12, 14)] for shift in (0, 1))
        parts = [
            builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(INTEGER, HALF), which)) for which in (even, odd)
        ]
        return builder.fadd(*parts)

    first, second, third, fourth = vectors + [constant(0.0, HALF)] * (4 - len(vectors))
    whole = pair(pair(first, second), pair(third, fourth))
    halves = [
        builder.shuffle_vector(whole, whole, ir.Constant(ir.VectorType(INTEGER, 4), list(range(start, start + 4))))
        for start in (0, 4)
    ]
    return builder.fadd(*halves)


@intrinsic
def gradient_tile(
    typing: Any,
    count: Any, columns: Any, block: Any, panels: Any, gradient: Any, gradient_stride: Any, inputs: Any,
    inputs_stride: Any, result: Any, weight: Any, stride: Any, bias: Any, summed: Any,
) -> Any:  # fmt: skip
    """Adds g hᵀ, summed over all points, to `count` rows and `columns` columns of a weight's gradient.

    Beside that adds row `summed` of g to place `bias`, or nothing if negative: there is a register left for such a sum.
    No column: adds every row of g to `count` places from `weight` on, `stride` apart.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        count, columns, block, panels, gradient, gradient_stride, inputs, inputs_stride = values[:8]
        result, weight, stride, bias, summed = values[8:]
        memory, flat = signature.args[2], signature.args[8]
        left = place(context, builder, memory, block, gradient)
        right = place(context, builder, memory, block, inputs)
        target = place(context, builder, flat, result, weight)
        bias_target = place(context, builder, flat, result, bias)
        is_summed = builder.icmp_signed(">=", summed, LONG(0))
        place_summed = builder.mul(builder.select(is_summed, summed, LONG(0)), LONG(LANES))

        def emit(number: int, across: int) -> None:
            sums = [
                [cgutils.alloca_once(builder, ir.VectorType(FLOAT, HALF)) for _ in range(max(across, 1))]
                for _ in range(number)
            ]
            beside = [cgutils.alloca_once(builder, ir.VectorType(FLOAT, HALF)) for _ in range(min(across, 1))]
            for total in (total for row in [*sums, beside] for total in row):
                builder.store(constant(0.0, HALF), total)
            with cgutils.for_range(builder, panels) as loop:
                g = builder.gep(left, [builder.mul(loop.index, gradient_stride)])
                h = builder.gep(right, [builder.mul(loop.index, inputs_stride)])
                for half in range(0, LANES, HALF):
                    vectors = [read(builder, builder.gep(h, [LONG(half + LANES * j)]), HALF) for j in range(across)]
                    for row in range(number):
                        factor = read(builder, builder.gep(g, [LONG(half + LANES * row)]), HALF)
                        for vector, total in zip(vectors, sums[row], strict=False):
                            builder.store(multiply_add(builder, factor, vector, builder.load(total)), total)
                        if not across:
                            builder.store(builder.fadd(factor, builder.load(sums[row][0])), sums[row][0])
                    for total in beside:
                        term = read(builder, builder.gep(g, [builder.add(place_summed, LONG(half))]), HALF)
                        builder.store(builder.fadd(term, builder.load(total)), total)
            flat = [builder.load(total) for row in sums for total in row]
            flat += [builder.select(is_summed, builder.load(total), constant(0.0, HALF)) for total in beside]
            places = [
                builder.gep(row, [LONG(column)])
                for row in _rows(builder, target, stride, number)
                for column in range(max(across, 1))
            ] + [bias_target] * len(beside)
            for start in range(0, len(flat), 4):
                added = _add_up_four(builder, flat[start : start + 4])
                for lane, address in enumerate(places[start : start + 4]):
                    value = builder.extract_element(added, INTEGER(lane))
                    builder.store(builder.fadd(builder.load(address), value), address)

        def by_columns(number: int) -> None:
            _unrolled(builder, columns, range(COLUMNS + 1), lambda across: emit(number, across))

        _unrolled(builder, count, range(1, ROWS + 1), by_columns)
        return context.get_dummy_value()

    size = types.intp
    return types.void(
        size, size, block, size, size, size, size, size, result, size, size, size, size
    ), generate  # fmt: skip
