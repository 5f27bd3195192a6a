"""Draws that stand away from boundaries, where rounding alone decides which side's derivative is taken.

A network is linear between its neurons' zeros, a soft target between its bins, a clipped weight within its range: at
such a place float32 and float64 may rightly differ by the whole step from one side to the other.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from benches.plain import random_parameters
from draw_poly.kernels import reference
from draw_poly.kernels.spec import CodeLength, Network

# Rounds of drawing, and networks, before it is given up: one may have a neuron that is near zero wherever one looks.
ROUNDS, NETWORKS = 20, 100
# How near to zero a pre-activation of usual size may be, some roundings of which have passed many layers.
MARGIN = {"fp32": 1e-5, "tf32": 1e-2}
# Of a bin's centre, in bins; of a clip range's end, in weights: float32 keeps 255 bins to 1.5e-5.
BIN_MARGIN = 1e-3


class TooNear(Exception):
    """There are no such points, or too few."""


@dataclass(frozen=True)
class Drawn:
    """Parameters of the network, and of the predictor with its positions (3, P) if there is one; inputs (in, n)."""

    parameters: list[Tensor]
    positions: Tensor | None
    inputs: Tensor


def drawn(network: Network, code: CodeLength | None, points: int, draws: torch.Generator, margin: float) -> Drawn:
    """A network, a predictor and points away from all their boundaries."""
    for number in range(NETWORKS):
        seed = draws.initial_seed() + 1_000_000 * number
        flat, positions = random_parameters(network, seed, torch.float32), None
        parameters = [flat]
        try:
            if code:
                predictor = random_parameters(code.predictor, seed, torch.float32)
                positions = points_away(predictor, code.predictor, network.size, draws, margin)
                parameters = [weights_away(flat, predictor, positions, code, margin), predictor]
            return Drawn(parameters, positions, points_away(parameters[0], network, points, draws, margin))
        except TooNear:
            continue
    raise TooNear(f"none of {NETWORKS} networks has {points} points that stand {margin} away from its boundaries")


def nearest(flat: Tensor, network: Network, inputs: Tensor) -> Tensor:
    """How near to zero a point's nearest pre-activation is (points,)."""
    hidden, nearest = inputs, torch.full((inputs.shape[1],), torch.inf, dtype=inputs.dtype)
    for weight, bias in reference.layers(flat, network)[:-1]:
        before = torch.addmm(bias, weight, hidden)
        nearest = torch.minimum(nearest, before.abs().amin(0))
        hidden = torch.nn.functional.leaky_relu(before, network.slope)
    return nearest


def points_away(flat: Tensor, network: Network, count: int, draws: torch.Generator, margin: float) -> Tensor:
    """Inputs (in, count) in the unit square at which no neuron is within `margin` of zero. Raises TooNear."""
    found, left = [], count
    for _ in range(ROUNDS):
        inputs = torch.rand((network.dims[0], 2 * left + 16), generator=draws)
        found.append(inputs[:, nearest(flat.double(), network, inputs.double()) > margin])
        left -= found[-1].shape[1]
        if left <= 0:
            return torch.cat(found, 1)[:, :count].contiguous()
    raise TooNear(f"of {count} points, {left} could not be drawn that stand {margin} away from every neuron's zero")


def weights_away(flat: Tensor, predictor: Tensor, positions: Tensor, code: CodeLength, margin: float) -> Tensor:
    """Parameters (P,) moved off the corners of their loss: bins' centres and the range's ends, or what is predicted."""
    if code.loss == "cross_entropy":
        width = (code.high - code.low) / (code.bins - 1)
        centre = (flat.double() - code.low) / width
        return torch.where((centre - centre.round()).abs() < BIN_MARGIN, flat + 3 * BIN_MARGIN * width, flat)
    if code.loss == "laplacian_nll":
        stack = reference.layers(predictor.double(), code.predictor)
        predicted = reference.forward(stack, positions.double(), code.predictor.activation)[1][0]
        return torch.where((flat.double() - predicted).abs() < margin, flat + 3 * margin, flat)
    return flat
