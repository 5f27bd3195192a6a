"""A weight's gradient over the points of a block, as LLVM code: a tile of its sums stays in registers.

A sum is a vector of so many points each; at the end its lanes are added up, several sums at once.
"""

import functools
import itertools
import operator
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from draw_poly.kernels.cpu.runtime.registers import Avx512
from draw_poly.kernels.cpu.runtime.tiles import parts_of, rows_of, unrolled
from draw_poly.kernels.cpu.runtime.vector import (
    FLOAT,
    INTEGER,
    LANES,
    LONG,
    call,
    constant,
    multiply_add,
    place,
    read,
)

# In which order lanes are added up: on registers of 16, those first that a blend and a permutation bring together.
BIT = ir.IntType(1)
STRIDES = {8: (1, 2, 4), 16: (1, 4, 2, 8)}


def _pair(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, stride: int) -> ir.Value:
    """The sums of lanes a stride apart: those of `a` where the stride's bit of a lane's number is clear, else of `b`.

    Of the two operands that are put together, one is but a blend.
    """
    lanes = range(a.type.count)
    own = [lane + (len(lanes) if lane & stride else 0) for lane in lanes]
    other = [lane ^ stride for lane in own]
    kind = ir.VectorType(INTEGER, len(lanes))
    return builder.fadd(*(builder.shuffle_vector(a, b, ir.Constant(kind, which)) for which in (own, other)))


def _added_up(builder: ir.IRBuilder, vectors: list[ir.Value]) -> ir.Value:
    """The sums of at most as many vectors as each has lanes, in the lanes of one: a few operations a sum."""
    lanes = vectors[0].type.count
    found = dict(enumerate(vectors + [constant(0.0, lanes)] * (lanes - len(vectors))))
    for stride in STRIDES[lanes]:
        found = {one: _pair(builder, found[one], found[one | stride], stride) for one in found if not one & stride}
    return found[0]


class _Run(NamedTuple):
    """Numbers that follow each other from an address on, those of them that are `wanted`, and what is added to them.

    That stands in the lanes of `sums` from `lane` on.
    """

    sums: ir.Value
    lane: int
    address: ir.Value
    wanted: list[ir.Value]


def _runs(builder: ir.IRBuilder, vectors: list[ir.Value], starts: list[tuple[ir.Value, list[ir.Value]]]) -> list[_Run]:
    """The sums of vectors, for numbers that follow each other from these addresses on: so many and those wanted."""
    lanes, found, next_one = vectors[0].type.count, [], 0
    sums = [_added_up(builder, vectors[begin : begin + lanes]) for begin in range(0, len(vectors), lanes)]
    for address, wanted in starts:
        done = 0
        while done < len(wanted):
            lane = (next_one + done) % lanes
            some = wanted[done : done + lanes - lane]
            found.append(_Run(sums[(next_one + done) // lanes], lane, builder.gep(address, [LONG(done)]), some))
            done += len(some)
        next_one += done
    return found


def _add_lanes(builder: ir.IRBuilder, runs: list[_Run]) -> None:
    """Adds runs to their numbers, one after the other; nothing to those that are not wanted."""
    for run in runs:
        for index, wanted in enumerate(run.wanted):
            address = builder.gep(run.address, [LONG(index)])
            value = builder.select(wanted, builder.extract_element(run.sums, INTEGER(run.lane + index)), FLOAT(0.0))
            builder.store(builder.fadd(builder.load(address), value), address)


def _add_masked(builder: ir.IRBuilder, runs: list[_Run]) -> None:
    """Adds runs to their numbers by masks, and reads all before it writes: else each would wait for the one before."""
    stores = []
    for run in runs:
        kind = run.sums.type
        mask = ir.Constant(ir.VectorType(BIT, kind.count), [False] * kind.count)
        for lane, wanted in enumerate(run.wanted, run.lane):
            mask = builder.insert_element(mask, wanted, INTEGER(lane))
        pointer = builder.bitcast(builder.gep(run.address, [LONG(-run.lane)]), kind.as_pointer())
        words = pointer, INTEGER(4), mask
        before = call(builder, f"llvm.masked.load.v{kind.count}f32.p0", kind, [*words, constant(0.0, kind.count)])
        stores.append((builder.fadd(before, run.sums), *words))
    for stored in stores:
        call(builder, f"llvm.masked.store.v{stored[0].type.count}f32.p0", ir.VoidType(), stored)


@intrinsic
def gradient_tile(
    typing: Any,
    count: Any, columns: Any, block: Any, panels: Any, gradient: Any, gradient_stride: Any, inputs: Any,
    inputs_stride: Any, result: Any, weight: Any, stride: Any, bias: Any, summed: Any, wanted: Any, specialisation: Any,
) -> Any:  # fmt: skip
    """Adds g hᵀ, summed over all points, to `count` rows and `columns` columns of a weight's gradient.

    Beside that adds `wanted` rows of g from row `summed` on, at most as many as registers are left for, to the numbers
    that stand so far from place `bias`. No column: adds every row of g to `count` places from `weight` on, a `stride`
    apart.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        count, columns, block, panels, gradient, gradient_stride, inputs, inputs_stride = values[:8]
        result, weight, stride, bias, summed, wanted = values[8:14]
        memory, flat = signature.args[2], signature.args[8]
        _, tile = parts_of(signature.args[14])
        lanes = tile.sum_lanes
        left = place(context, builder, memory, block, gradient)
        right = place(context, builder, memory, block, inputs)
        target = place(context, builder, flat, result, weight)
        bias_target = place(context, builder, flat, result, bias)
        is_summed = [builder.icmp_signed("<", LONG(index), wanted) for index in range(tile.beside)]
        # Of a row that is not wanted the first one stands in, and nothing is added.
        summed_rows = [
            builder.select(is_one, builder.add(summed, LONG(index)), LONG(0)) for index, is_one in enumerate(is_summed)
        ]

        def vector(start: ir.Value, part: int, row: int) -> ir.Value:
            return read(builder, builder.gep(start, [LONG(part + LANES * row)]), lanes)

        def emit(number: int, across: int) -> None:
            zero = constant(0.0, lanes)
            sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(max(across, 1))] for _ in range(number)]
            beside = [cgutils.alloca_once_value(builder, zero) for _ in range(tile.beside if across else 0)]
            with cgutils.for_range(builder, panels) as loop:
                g = builder.gep(left, [builder.mul(loop.index, gradient_stride)])
                h = builder.gep(right, [builder.mul(loop.index, inputs_stride)])
                for part in range(0, LANES, lanes):
                    left_vectors, right_vectors = (
                        functools.cache(functools.partial(vector, start, part)) for start in (g, h)
                    )
                    # The shorter side is kept in registers while the other passes by.
                    tile_places = itertools.product(range(number), range(across))
                    for row, column in sorted(tile_places, key=operator.itemgetter(number < across)):
                        total = builder.load(sums[row][column])
                        total = multiply_add(builder, left_vectors(row), right_vectors(column), total)
                        builder.store(total, sums[row][column])
                    for row in range(0 if across else number):
                        builder.store(builder.fadd(left_vectors(row), builder.load(sums[row][0])), sums[row][0])
                    for total, row in zip(beside, summed_rows, strict=False):
                        at = builder.add(builder.mul(row, LONG(LANES)), LONG(part))
                        term = read(builder, builder.gep(g, [at]), lanes)
                        builder.store(builder.fadd(term, builder.load(total)), total)
            flat = [builder.load(total) for row in [*sums, beside] for total in row]
            starts = [(row, [BIT(True)] * len(sums[0])) for row in rows_of(builder, target, stride, number)]
            starts += [(builder.gep(bias_target, [summed_rows[0]]), is_summed)] if beside else []
            add = _add_masked if isinstance(tile, Avx512) else _add_lanes
            add(builder, _runs(builder, flat, starts))

        def by_columns(number: int) -> None:
            unrolled(builder, columns, range(tile.sum_columns + 1), lambda across: emit(number, across))

        unrolled(builder, count, range(1, tile.sum_rows + 1), by_columns)
        return context.get_dummy_value()

    size = types.intp
    return types.void(
        size, size, block, size, size, size, size, size, result, size, size, size, size, size, specialisation
    ), generate  # fmt: skip
