"""Activations as LLVM code, each for kernels that are written for it alone."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from draw_poly.kernels.cpu.runtime.vector import FLOAT, INTEGER, LANES, call, constant, spread
from draw_poly.kernels.spec import Network


class LeakyRelu(NamedTuple):
    """LeakyReLU as kernels are told of it: an activation is a type, since its code is written for it alone."""

    slope: np.float32


class Squared(NamedTuple):
    """ReLU's square, or LeakyReLU beside it: a network and its predictor go through the same code."""

    slope: np.float32
    square: np.bool_


def activation_of(network: Network, beside: Network | None = None) -> LeakyRelu | Squared:
    """A network's activation as kernels are told of it that take this one and another `beside` it."""
    slope, names = np.float32(network.activation.slope), {one.activation.name for one in (network, beside) if one}
    if names == {"leaky_relu"}:
        return LeakyRelu(slope)
    return Squared(slope, np.bool_(network.activation.name == "relu2"))


def activate(kind: Any, builder: ir.IRBuilder, activation: ir.Value, hidden: ir.Value) -> Callable[[ir.Value], Any]:
    """The code of an activation; of none where `hidden` is false, in the last layer."""
    slope = builder.select(hidden, builder.extract_value(activation, 0), FLOAT(1.0))
    factor = spread(builder, slope)

    def leaky_relu(vector: ir.Value) -> ir.Value:
        lower = builder.fmul(vector, factor)
        # Unordered: an infinity times a slope of 0 is no number.
        return builder.select(builder.fcmp_unordered(">", vector, lower), vector, lower)

    if kind.instance_class is LeakyRelu:
        return leaky_relu
    assert kind.instance_class is Squared
    squares = builder.and_(hidden, builder.extract_value(activation, 1))

    def squared(vector: ir.Value) -> ir.Value:
        bent = leaky_relu(vector)
        return builder.select(squares, builder.fmul(bent, bent), bent)  # the square's slope is 0

    return squared


def through(
    kind: Any, builder: ir.IRBuilder, activation: ir.Value, masks: bool
) -> Callable[[ir.Value, ir.Value], ir.Value]:
    """The code that takes a gradient back through an activation, given its result.

    With `masks` for processors that have registers for them.
    """
    slope = spread(builder, builder.extract_value(activation, 0))
    integers = ir.VectorType(INTEGER, LANES)

    def leaky_relu(gradient: ir.Value, result: ir.Value) -> ir.Value:
        positive = builder.icmp_signed(">", builder.bitcast(result, integers), constant(0, kind=INTEGER))
        if masks:
            return builder.select(positive, gradient, builder.fmul(gradient, slope))
        # As `slope + (1 - slope)` where the bits say so, exact in float32: a blend would take the units that multiply.
        rest = builder.bitcast(builder.fsub(constant(1.0), slope), integers)
        chosen = builder.bitcast(builder.and_(builder.sext(positive, integers), rest), result.type)
        return builder.fmul(gradient, builder.fadd(chosen, slope))

    if kind.instance_class is LeakyRelu:
        return leaky_relu
    assert kind.instance_class is Squared
    squares = builder.extract_value(activation, 1)

    def squared(gradient: ir.Value, result: ir.Value) -> ir.Value:
        root = call(builder, f"llvm.sqrt.v{LANES}f32", result.type, [result])
        square = builder.fmul(gradient, builder.fadd(root, root))
        return builder.select(squares, square, leaky_relu(gradient, result))

    return squared
