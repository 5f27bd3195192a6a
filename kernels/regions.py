"""The linear regions of anyone's network of two inputs, exact to float64, for other programs: see `regions`."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor, nn

from draw_poly.kernels.cpu.regions import Regions
from draw_poly.kernels.spec import Network, leaky_relu
from draw_poly.kernels.spec.subdivision import MOST_REGIONS, Subdivision, TooManyRegions
from draw_poly.kernels.spec.window import UNIT_SQUARE, Window

__all__ = ["Subdivision", "TooManyRegions", "regions"]

AFFINE = "Linear layers with a ReLU or a LeakyReLU between each two of them"


def regions(
    network: Network | nn.Sequential,
    parameters: ArrayLike | Tensor | None = None,
    window: Window = UNIT_SQUARE,
    most_regions: int = MOST_REGIONS,
) -> Subdivision:
    """The linear regions of a LeakyReLU or ReLU network of two inputs in a window (x0, y0, x1, y1).

    Of several definitions of a linear region (arXiv 2505.16716) this is the one by activation patterns: all points of
    the window at which the same hidden neurons are positive (z > 0), if they have area. Such a set is convex, and the
    network is affine on it; two neighbours may have the same affine map. What is narrower than 1e-14 of the window, or
    smaller, counts as without area.

    `network` is a `Network` with its flat `parameters` (P,), per layer the weight matrix row by row, then the bias; or
    an `nn.Sequential` of Linear layers with ReLU or LeakyReLU in between, which has its own. Float32 is taken to
    float64, in which all is computed.

    Returns a `Subdivision`: vertices (V, 2), half-edges (H,), and of each region its pattern (F, words), area (F,),
    centre (F, 2) and, once asked for, map (F, outputs, 3).

    Raises ValueError for a network of other than two inputs or with another activation, for parameters that are not
    finite or of another shape, and for a degenerate window; TooManyRegions past `most_regions`.
    """
    if isinstance(network, nn.Module):
        if parameters is not None:
            raise ValueError("a module has its own parameters: give no others beside it")
        network, parameters = _of_module(network)
    elif parameters is None:
        raise ValueError("no parameters were given: give the flat vector of the network's")
    return Regions(network, most_regions).subdivide(parameters, window)


def _of_module(module: nn.Module) -> tuple[Network, np.ndarray]:
    """A module as a network and its parameters in float64. Raises ValueError for what is no chain of affine layers."""
    linear: list[nn.Linear] = []
    slopes: list[float] = []
    for one in _flat(module):
        if isinstance(one, nn.Linear) and len(linear) == len(slopes):
            if linear and linear[-1].out_features != one.in_features:
                raise ValueError(f"{one} follows a layer of {linear[-1].out_features} outputs")
            linear.append(one)
        elif isinstance(one, nn.ReLU | nn.LeakyReLU) and len(slopes) < len(linear):
            slopes.append(one.negative_slope if isinstance(one, nn.LeakyReLU) else 0.0)
        else:
            raise ValueError(f"{type(one).__name__} stands where it cannot: give {AFFINE}")
    if len(linear) != len(slopes) + 1:
        raise ValueError(f"the module ends with an activation, or has no layer: give {AFFINE}, and a Linear layer last")
    if len(set(slopes)) > 1:
        raise ValueError(f"its activations have the slopes {sorted(set(slopes))}: give one slope to all")
    network = Network(
        (linear[0].in_features, *(one.out_features for one in linear)), leaky_relu(slopes[0] if slopes else 0.0)
    )
    parts = []
    for one in linear:
        parts.append(one.weight.detach().cpu().double().numpy().ravel())
        parts.append(np.zeros(one.out_features) if one.bias is None else one.bias.detach().cpu().double().numpy())
    return network, np.concatenate(parts)


def _flat(module: nn.Module) -> Iterator[nn.Module]:
    if isinstance(module, nn.Sequential):
        for inner in module:
            yield from _flat(inner)
    elif not isinstance(module, nn.Identity):
        yield module
