"""What every package's `subdivide` asks of its arguments, and the window taken into the first layer."""

from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from draw_poly.kernels.spec import Network
from draw_poly.kernels.spec.window import UNIT_SQUARE, Window, check_window

Numbers = NDArray[np.float64]


def prepared(network: Network, parameters: ArrayLike | Tensor, window: Window) -> tuple[Numbers, Numbers, Window]:
    """Parameters (P,) in float64; the same with a first layer that reads places in the window; and the window.

    Raises ValueError, in a sentence, for what cannot be subdivided.
    """
    if network.dims[0] != 2:
        raise ValueError(f"regions are of networks of 2 inputs, and this one has {network.dims[0]}")
    if not network.activation.piecewise_affine:
        raise ValueError(f"{network.activation.name} is not piecewise affine: its regions have no straight boundaries")
    values = parameters.detach().cpu().numpy() if isinstance(parameters, Tensor) else parameters
    numbers = np.ascontiguousarray(values, np.float64)
    if numbers.shape != (network.size,):
        raise ValueError(f"parameters of shape {numbers.shape} were given for a network of {network.size}")
    if not np.isfinite(numbers).all():
        raise ValueError("some parameters are not finite: such a network has no regions")
    checked = check_window(window)
    return numbers, numbers if checked == UNIT_SQUARE else _moved(network, numbers, checked), checked


def _moved(network: Network, numbers: Numbers, window: Window) -> Numbers:
    """The first layer's weights scaled and its biases moved, each rounded once: small windows lose nothing by it."""
    left, bottom, right, top = map(Fraction, window)
    moved, out = numbers.copy(), network.dims[1]
    for row in range(out):
        x, y = (Fraction(weight) for weight in numbers[2 * row : 2 * row + 2].tolist())
        moved[2 * row], moved[2 * row + 1] = float(x * (right - left)), float(y * (top - bottom))
        moved[2 * out + row] = float(Fraction(float(numbers[2 * out + row])) + x * left + y * bottom)
    return moved
