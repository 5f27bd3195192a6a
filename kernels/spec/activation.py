"""What becomes of a hidden layer's sums, and what may be concluded from it."""

import math
from dataclasses import dataclass

LEAST_SLOPE = 2.0**-126  # float32's smallest normal number
SLOPE = 0.01  # the original's
# On the command line; the second is the first with slope 0.
ACTIVATIONS = ("leaky_relu", "relu", "relu2")


@dataclass(frozen=True)
class Activation:
    """An activation function: `leaky_relu`'s, or `RELU2`.

    `name` is that of `torch.nn.functional`, if it is there; `slope` is its factor below zero.
    `result_tells_derivative`: a kernel need not keep what the function was given. `piecewise_affine`: it is affine on
    either side of zero, so the points of one activation pattern form a convex set, on which the network is affine.
    """

    name: str
    slope: float
    result_tells_derivative: bool
    piecewise_affine: bool


def leaky_relu(slope: float = SLOPE) -> Activation:
    """LeakyReLU: z where it is positive, else slope · z.

    Raises ValueError for a slope that is neither 0 nor from 2^-126 to 1: below 0 the result's sign would not tell the
    derivative, and a subnormal slope is no number on every device.
    """
    try:
        number = float(slope)
    except (TypeError, ValueError):
        number = math.nan
    if number != 0.0 and not LEAST_SLOPE <= number <= 1.0:
        raise ValueError(f"a network's slope was {slope}: give 0, or a number from {LEAST_SLOPE:.3g} to 1")
    return Activation("leaky_relu", number, result_tells_derivative=True, piecewise_affine=True)


# The square of z where it is positive, else 0; its derivative is twice the root of its result. Source: Primer, arXiv
# 2109.08668.
RELU2 = Activation("relu2", 0.0, result_tells_derivative=True, piecewise_affine=False)


def activation(name: str = ACTIVATIONS[0], slope: float = SLOPE) -> Activation:
    """One of `ACTIVATIONS` by its name; raises ValueError for another, and as `leaky_relu` does."""
    if name not in ACTIVATIONS:
        raise ValueError(f"no activation is called {name!r}: give one of {', '.join(ACTIVATIONS)}")
    if name == "relu2":
        return RELU2
    return leaky_relu(0.0 if name == "relu" else slope)
