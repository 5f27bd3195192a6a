"""Vectors as Numba values: 16 points side by side in registers, or 8 in float64, whatever the processor's own width.

LLVM splits or joins them as the processor needs. Written out, they do not hang on what a vectoriser can prove, and
nothing has to be promised about the order of sums or about NaN. Arrays are flat, of float32 where nothing else is
said; places count their elements.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.extending import intrinsic, overload, register_model

LANES = 16  # points of a panel
DOUBLE_LANES = 8
FLOAT, DOUBLE, INTEGER, LONG = ir.FloatType(), ir.DoubleType(), ir.IntType(32), ir.IntType(64)


class VectorType(types.Type):  # type: ignore[misc]
    """So many numbers of a kind."""

    def __init__(self, kind: Any, lanes: int) -> None:
        super().__init__(name=f"Vector({kind}, {lanes})")
        self.kind = kind
        self.ir = ir.VectorType(FLOAT if kind == types.float32 else DOUBLE, lanes)


VECTOR, DOUBLES = VectorType(types.float32, LANES), VectorType(types.float64, DOUBLE_LANES)
OF_KIND = {one.kind: one for one in (VECTOR, DOUBLES)}
VECTOR_IR = VECTOR.ir
_ALL = ir.Constant(ir.VectorType(ir.IntType(1), LANES), [True] * LANES)


@register_model(VectorType)
class VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    """A value of LLVM's own vector type."""

    def __init__(self, manager: Any, kind: VectorType) -> None:
        super().__init__(manager, kind, kind.ir)


def constant(value: float, lanes: int = LANES, kind: ir.Type = FLOAT) -> ir.Constant:
    """The same number in every lane."""
    return ir.Constant(ir.VectorType(kind, lanes), [value] * lanes)


def spread(builder: ir.IRBuilder, value: ir.Value, lanes: int = LANES) -> ir.Value:
    """A scalar in every lane."""
    kind = ir.VectorType(value.type, lanes)
    empty = ir.Constant(kind, ir.Undefined)
    one = builder.insert_element(empty, value, INTEGER(0))
    return builder.shuffle_vector(one, empty, ir.Constant(ir.VectorType(INTEGER, lanes), [0] * lanes))


def place(context: Any, builder: ir.IRBuilder, kind: Any, array: ir.Value, index: ir.Value) -> ir.Value:
    """The address of an array's element."""
    data = cgutils.create_struct_proxy(kind)(context, builder, value=array).data
    return builder.gep(data, [index])


def read(builder: ir.IRBuilder, address: ir.Value, lanes: int = LANES) -> ir.Value:
    """The vector that begins at an address."""
    kind = ir.VectorType(address.type.pointee, lanes)
    return builder.load(builder.bitcast(address, kind.as_pointer()), align=4)


def write(builder: ir.IRBuilder, vector: ir.Value, address: ir.Value) -> None:
    """Stores a vector where an address points."""
    builder.store(vector, builder.bitcast(address, vector.type.as_pointer()), align=4)


def call(builder: ir.IRBuilder, name: str, result: ir.Type, arguments: Sequence[ir.Value]) -> ir.Value:
    """A call of one of LLVM's own functions."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def multiply_add(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """A * b + c, in one rounding where the processor can."""
    return call(builder, f"llvm.fmuladd.v{a.type.count}f32", a.type, [a, b, c])


def add_up(builder: ir.IRBuilder, vector: ir.Value) -> ir.Value:
    """The sum of a vector's lanes, halves by halves: the same order each time."""
    number = vector.type.element
    name = f"llvm.vector.reduce.fadd.v{vector.type.count}{'f32' if number == FLOAT else 'f64'}"
    kind = ir.FunctionType(number, [number, vector.type])
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, [number(-0.0), vector], fastmath=("reassoc",))


@intrinsic
def load(typing: Any, array: Any, index: Any) -> Any:
    """The numbers from `index` on, 16 of float32 or 8 of float64."""
    if array.layout != "C":  # addresses know no strides
        return None
    found = OF_KIND[array.dtype]

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        return read(builder, place(context, builder, signature.args[0], *values), found.ir.count)

    return found(array, types.intp), generate


@intrinsic
def store(typing: Any, array: Any, index: Any, vector: Any) -> Any:
    """Writes a vector from `index` on."""
    if array.layout != "C":
        return None

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        write(builder, values[2], place(context, builder, signature.args[0], values[0], values[1]))
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


@intrinsic
def pick(typing: Any, array: Any, places: Any, index: Any) -> Any:
    """The numbers at the 16 places that stand from `index` on."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        array, places, index = values
        first = place(context, builder, signature.args[0], array, LONG(0))
        at = place(context, builder, signature.args[1], places, index)
        vector = ir.Constant(VECTOR_IR, ir.Undefined)
        for lane in range(LANES):
            number = builder.load(builder.gep(first, [builder.load(builder.gep(at, [LONG(lane)]))]))
            vector = builder.insert_element(vector, number, INTEGER(lane))
        return vector

    return VECTOR(array, places, types.intp), generate


def _lane_places(context: Any, builder: ir.IRBuilder, kind: Any, array: ir.Value, at: ir.Value, rows: ir.Value) -> Any:
    """Addresses (16,): of each lane in the row of 16 numbers, from a place on, whose number the lane has."""
    longs = ir.VectorType(LONG, LANES)
    steps = builder.mul(builder.fptosi(rows, longs), constant(4 * LANES, kind=LONG))
    steps = builder.add(steps, ir.Constant(longs, list(range(0, 4 * LANES, 4))))
    start = builder.ptrtoint(place(context, builder, kind, array, at), LONG)
    return builder.inttoptr(builder.add(spread(builder, start), steps), ir.VectorType(FLOAT.as_pointer(), LANES))


@intrinsic
def load_lanes(typing: Any, array: Any, index: Any, rows: Any) -> Any:
    """Of rows of 16 numbers from `index` on, in each lane that of the row whose number it has, a whole one."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        places = _lane_places(context, builder, signature.args[0], *values)
        return _gathered(builder, places)

    return VECTOR(array, types.intp, VECTOR), generate


@intrinsic
def subtract_lanes(typing: Any, array: Any, index: Any, rows: Any, vector: Any) -> Any:
    """Subtracts a vector from what `load_lanes` reads, where that stands."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        places = _lane_places(context, builder, signature.args[0], *values[:3])
        result = builder.fsub(_gathered(builder, places), values[3])
        words = [result, places, INTEGER(4), _ALL]
        call(builder, f"llvm.masked.scatter.v{LANES}f32.v{LANES}p0", ir.VoidType(), words)
        return context.get_dummy_value()

    return types.void(array, types.intp, VECTOR, VECTOR), generate


def _gathered(builder: ir.IRBuilder, places: ir.Value) -> ir.Value:
    words = [places, INTEGER(4), _ALL, ir.Constant(VECTOR_IR, ir.Undefined)]
    return call(builder, f"llvm.masked.gather.v{LANES}f32.v{LANES}p0", VECTOR_IR, words)


@intrinsic
def floor(typing: Any, vector: Any) -> Any:
    """The largest whole numbers that are no larger."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        return call(builder, f"llvm.floor.v{LANES}f32", VECTOR_IR, values)

    return VECTOR(VECTOR), generate


@intrinsic
def splat(typing: Any, value: Any) -> Any:
    """One number in all lanes: 16 of float32, or 8 of float64."""
    found = OF_KIND[value]

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        return spread(builder, values[0], found.ir.count)

    return found(value), generate


@intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """A * b + c."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        return multiply_add(builder, *values)

    return VECTOR(VECTOR, VECTOR, VECTOR), generate


def _chooser(sign: str) -> Any:
    @intrinsic
    def choose(typing: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
            return builder.select(builder.fcmp_ordered(sign, *values), *values)

        return a(a, a), generate

    return choose


# In each lane a, where it is larger or smaller than b; else b, also where one is no number.
larger, smaller = _chooser(">"), _chooser("<")


def _limit(direction: str) -> Any:
    @intrinsic
    def limit(typing: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
            return call(builder, f"llvm.{direction}.v{LANES}f32", VECTOR_IR, values)

        return VECTOR(VECTOR, VECTOR), generate

    return limit


# The lower and the higher number of each lane; NaN where one of them is.
lowest, highest = _limit("minimum"), _limit("maximum")


@intrinsic
def where_positive(typing: Any, vector: Any, a: Any, b: Any) -> Any:
    """Where a vector is above 0, a; else b."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        vector, a, b = values
        return builder.select(builder.fcmp_ordered(">", vector, constant(0.0)), a, b)

    return VECTOR(VECTOR, VECTOR, VECTOR), generate


@intrinsic
def total(typing: Any, vector: Any) -> Any:
    """The sum of all lanes, always in the same order."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        return add_up(builder, values[0])

    return types.float32(VECTOR), generate


@intrinsic
def total_in_double(typing: Any, vector: Any) -> Any:
    """The sum of all lanes in double precision."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        return add_up(builder, builder.fpext(values[0], ir.VectorType(ir.DoubleType(), LANES)))

    return types.float64(VECTOR), generate


def _operator(method: str) -> Callable[[Any, Any], Any]:
    @intrinsic
    def apply(typing: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
            return getattr(builder, method)(*values)

        return a(a, a), generate

    def chosen(a, b):  # type: ignore[no-untyped-def] # the signature that Numba compares
        if isinstance(a, VectorType) and a == b:
            return lambda a, b: apply(a, b)
        return None

    return chosen


for sign, method in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    overload(sign)(_operator(method))
