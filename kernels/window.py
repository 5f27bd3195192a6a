"""What every package's `subdivide` asks of its arguments, and the window taken into the first layer."""

import math
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from draw_poly.kernels.spec import Network
from draw_poly.kernels.spec.window import UNIT_SQUARE, Window, check_window

Numbers = NDArray[np.float64]
DOUBTFUL = 1000  # powers of two, of the 1024 that float64 has


def prepared(network: Network, parameters: ArrayLike | Tensor, window: Window) -> tuple[Numbers, Numbers, Window]:
    """Parameters (P,) in float64; the same with a first layer that reads places in the window; and the window.

    Raises ValueError, in a sentence, for what cannot be subdivided.
    """
    if network.dims[0] != 2:
        raise ValueError(f"regions are of networks of 2 inputs, and this one has {network.dims[0]}")
    if not network.activation.piecewise_affine:
        raise ValueError(f"{network.activation.name} is not piecewise affine: its regions have no straight boundaries")
    values = parameters.detach().cpu().numpy() if isinstance(parameters, Tensor) else parameters
    numbers: Numbers = np.ascontiguousarray(values, np.float64)
    if numbers.shape != (network.size,):
        raise ValueError(f"parameters of shape {numbers.shape} were given for a network of {network.size}")
    largest = float(np.abs(numbers).max())
    if not math.isfinite(largest):
        raise ValueError("some parameters are not finite: such a network has no regions")
    checked = check_window(window)
    growth = math.log2(max(1.0, largest) * (max(network.dims) + 1))
    if growth * len(network.shapes) + math.log2(max(1.0, *map(abs, checked))) > DOUBTFUL:
        _require_finite(network, numbers, checked)
    return numbers, numbers if checked == UNIT_SQUARE else _moved(network, numbers, checked), checked


def _require_finite(network: Network, numbers: Numbers, window: Window) -> None:
    """Raises ValueError where sums may overflow, by the largest that each layer can make of the one before."""
    most = np.full(2, max(map(abs, window)))
    with np.errstate(over="ignore", invalid="ignore"):
        for place, (out, into) in zip(network.offsets, network.shapes, strict=True):
            weights = np.abs(numbers[place : place + out * into]).reshape(out, into)
            most = weights @ most + np.abs(numbers[place + out * into : place + out * (into + 1)])
    if not np.isfinite(most).all():
        raise ValueError("the network's sums overflow float64 in this window: its regions cannot be told")


def _moved(network: Network, numbers: Numbers, window: Window) -> Numbers:
    """The first layer's weights scaled and its biases moved, each rounded once: small windows lose nothing by it."""
    left, bottom, right, top = map(Fraction, window)
    out = network.dims[1]
    moved: Numbers = numbers.copy()
    for row in range(out):
        x, y = (Fraction(weight) for weight in numbers[2 * row : 2 * row + 2].tolist())
        moved[2 * row], moved[2 * row + 1] = float(x * (right - left)), float(y * (top - bottom))
        moved[2 * out + row] = float(Fraction(float(numbers[2 * out + row])) + x * left + y * bottom)
    return moved
