"""A layer's loops forward and backward, as LLVM code: a tile of results stays in registers.

A panel is 16 points: its features follow each other, 16 numbers each. A tile is some rows by one panel or two, as
registers hold them (`registers.py`). Each number read then feeds several multiplications, without which reading would
take longer than they do.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from draw_poly.kernels.cpu.runtime import registers
from draw_poly.kernels.cpu.runtime.activations import LeakyRelu, Squared, activate, activation_of, through
from draw_poly.kernels.cpu.runtime.registers import Avx512, Registers
from draw_poly.kernels.cpu.runtime.vector import (
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

DEEPEST = 128  # terms of a running sum: past it, such sums are summed, since one alone would lose digits
Emit = Callable[[int], None]


class Specialisation(NamedTuple):
    """What the kernels' code is written for, as types."""

    activation: LeakyRelu | Squared
    registers: Registers


def specialisation_of(network: Network, beside: Network | None = None) -> Specialisation:
    """A network's activation, for kernels that take another `beside` it, and this machine's registers."""
    return Specialisation(activation_of(network, beside), registers.HOST)


def parts_of(specialisation: Any) -> tuple[Any, Registers]:
    """The activation's type, and the registers."""
    activation, registers = specialisation.types
    return activation, registers.instance_class()


def unrolled(builder: ir.IRBuilder, count: ir.Value, counts: range, emit: Emit) -> None:
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


def rows_of(builder: ir.IRBuilder, start: ir.Value, stride: ir.Value, count: int) -> list[ir.Value]:
    """Addresses a stride apart."""
    return [builder.gep(start, [builder.mul(stride, LONG(row))]) for row in range(count)]


def _dense(
    builder: ir.IRBuilder,
    starts: list[ir.Value],
    weights: list[ir.Value],
    step: ir.Value,
    depth: ir.Value,
    inputs: list[ir.Value],
) -> list[list[ir.Value]]:
    """For each panel of inputs to each row's start (16,): the sum over k of `weights[row][step * k] * inputs[k]`."""

    def sums_of(starts: list[ir.Value], begin: ir.Value) -> list[list[ir.Value]]:
        """The sums over at most DEEPEST values of k."""
        sums = [[cgutils.alloca_once_value(builder, start) for start in starts] for _ in inputs]
        rest = builder.sub(depth, begin)
        count = builder.select(builder.icmp_signed("<", rest, LONG(DEEPEST)), rest, LONG(DEEPEST))
        with cgutils.for_range(builder, count) as loop:
            index = builder.add(loop.index, begin)
            at = builder.mul(index, step)
            vectors = [read(builder, builder.gep(one, [builder.mul(index, LONG(LANES))])) for one in inputs]
            for row, weight in enumerate(weights):
                factor = spread(builder, builder.load(builder.gep(weight, [at])))
                for vector, totals in zip(vectors, sums, strict=True):
                    total = multiply_add(builder, factor, vector, builder.load(totals[row]))
                    builder.store(total, totals[row])
        return [[builder.load(total) for total in totals] for totals in sums]

    totals = [[cgutils.alloca_once_value(builder, total) for total in panel] for panel in sums_of(starts, LONG(0))]
    with cgutils.for_range_slice(builder, LONG(DEEPEST), depth, LONG(DEEPEST), inc=True) as (begin, _):
        parts = sums_of([constant(0.0)] * len(starts), begin)
        for total, part in ((a, b) for pair in zip(totals, parts, strict=True) for a, b in zip(*pair, strict=True)):
            builder.store(builder.fadd(builder.load(total), part), total)
    return [[builder.load(total) for total in panel] for panel in totals]


def _by_panels(builder: ir.IRBuilder, panels: ir.Value, across: int, emit: Callable[[ir.Value], None]) -> None:
    """The code of `emit(first)` for so many panels at a time; past the last one stands another, which nobody reads."""
    with cgutils.for_range_slice(builder, LONG(0), panels, LONG(across), inc=True) as (first, _):
        emit(first)


def _panels(builder: ir.IRBuilder, start: ir.Value, stride: ir.Value, first: ir.Value, count: int) -> list[ir.Value]:
    """Addresses of panels, from the panel `first` on."""
    return rows_of(builder, builder.gep(start, [builder.mul(first, stride)]), stride, count)


@intrinsic
def forward_tile(
    typing: Any,
    count: Any, parameters: Any, weight: Any, bias: Any, depth: Any, block: Any, panels: Any,
    source: Any, source_stride: Any, target: Any, target_stride: Any, hidden: Any, specialisation: Any,
) -> Any:  # fmt: skip
    """`count` rows of a layer on all panels, from place `source` to place `target`.

    The activation of W h + b if the layer is `hidden`, else W h + b itself.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        count, parameters, weight, bias, depth, block, panels, source, source_stride, target, target_stride = values[
            :11
        ]
        activation, tile = parts_of(signature.args[12])
        first = place(context, builder, signature.args[1], parameters, weight)
        biases = place(context, builder, signature.args[1], parameters, bias)
        inputs = place(context, builder, signature.args[5], block, source)
        outputs = place(context, builder, signature.args[5], block, target)
        activated = activate(activation, builder, builder.extract_value(values[12], 0), values[11])

        def emit(number: int) -> None:
            rows = rows_of(builder, first, depth, number)

            def on_panels(panel: ir.Value) -> None:
                starts = [spread(builder, builder.load(row)) for row in rows_of(builder, biases, LONG(1), number)]
                vectors = _panels(builder, inputs, source_stride, panel, tile.panels)
                totals = _dense(builder, starts, rows, LONG(1), depth, vectors)
                results = _panels(builder, outputs, target_stride, panel, tile.panels)
                for sums, result in zip(totals, results, strict=True):
                    for total, row in zip(sums, rows_of(builder, result, LONG(LANES), number), strict=True):
                        write(builder, activated(total), row)

            _by_panels(builder, panels, tile.panels, on_panels)

        unrolled(builder, count, range(1, tile.rows + 1), emit)
        return context.get_dummy_value()

    size = types.intp
    return types.void(
        size, parameters, size, size, size, block, size, size, size, size, size, types.boolean, specialisation
    ), generate  # fmt: skip


@intrinsic
def backward_tile(
    typing: Any,
    count: Any, parameters: Any, weight: Any, stride: Any, depth: Any, block: Any, panels: Any,
    source: Any, source_stride: Any, target: Any, target_stride: Any, specialisation: Any,
) -> Any:  # fmt: skip
    """`count` rows of the gradient of a layer's inputs on all panels: Wᵀ g through the activation.

    The gradient of the layer's results is at place `source`, its inputs at `target`, which the result replaces.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        count, parameters, weight, stride, depth, block, panels, source, source_stride, target, target_stride = values[
            :11
        ]
        activation, tile = parts_of(signature.args[11])
        first = place(context, builder, signature.args[1], parameters, weight)
        inputs = place(context, builder, signature.args[5], block, source)
        outputs = place(context, builder, signature.args[5], block, target)
        back = through(activation, builder, builder.extract_value(values[11], 0), isinstance(tile, Avx512))

        def emit(number: int) -> None:
            rows = rows_of(builder, first, LONG(1), number)

            def on_panels(panel: ir.Value) -> None:
                vectors = _panels(builder, inputs, source_stride, panel, tile.panels)
                totals = _dense(builder, [constant(0.0)] * number, rows, stride, depth, vectors)
                results = _panels(builder, outputs, target_stride, panel, tile.panels)
                for sums, result in zip(totals, results, strict=True):
                    for total, row in zip(sums, rows_of(builder, result, LONG(LANES), number), strict=True):
                        write(builder, back(total, read(builder, row)), row)

            _by_panels(builder, panels, tile.panels, on_panels)

        unrolled(builder, count, range(1, tile.rows + 1), emit)
        return context.get_dummy_value()

    size = types.intp
    return types.void(
        size, parameters, size, size, size, block, size, size, size, size, size, specialisation
    ), generate  # fmt: skip
