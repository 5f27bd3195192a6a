"""The exponential of vectors, by a polynomial: LLVM has none of its own for them."""

from typing import Any

from llvmlite import ir
from numba.extending import intrinsic

from draw_poly.kernels.cpu.runtime.vector import INTEGER, LANES, VECTOR, VECTOR_IR, constant, multiply_add

LOG2E = 1.44269504
# 2^23 + 2^22: adding it leaves a rounded integer in the low bits.
ROUNDING = 12582912.0
ONE_BITS = 0x3F800000  # of 1.0 in float32
# 2^f on |f| <= 1/2, from the highest power to 1: minimax, relative error 9.2e-8.
POLYNOMIAL = (0.001326472716, 0.009671512838, 0.05550733745, 0.2402224208, 0.6931469776, 1.0)
LOWEST = -100.0  # power of two below which nothing is left of a sum of weights


@intrinsic
def exp(typing: Any, exponent: Any) -> Any:
    """The exponential of numbers of at most 88, off by 2e-7 times the number or times 1; 0 below 2^-100."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        integers = ir.VectorType(INTEGER, LANES)
        power = builder.fmul(values[0], constant(LOG2E))
        gone = builder.fcmp_ordered("<", power, constant(LOWEST))
        shifted = builder.fadd(power, constant(ROUNDING))
        rest = builder.fsub(power, builder.fsub(shifted, constant(ROUNDING)))
        result = constant(POLYNOMIAL[0])
        for factor in POLYNOMIAL[1:]:
            result = multiply_add(builder, result, rest, constant(factor))
        whole = builder.shl(builder.bitcast(shifted, integers), constant(23, kind=INTEGER))
        power_of_two = builder.bitcast(builder.add(whole, constant(ONE_BITS, kind=INTEGER)), VECTOR_IR)
        scaled = builder.fmul(result, power_of_two)  # a product: added to a NaN's bits, it could make them a number
        return builder.select(gone, constant(0.0), scaled)

    return VECTOR(VECTOR), generate
