"""What kernels are held against: the truth in float64, how far from it rounding may lead, cases that leave no doubt.

The truth is the reference in float64, which itself is held against PyTorch's autograd. An error is allowed by the type
and by how PyTorch's own functions fare with the same sums, so it needs no guess at how errors grow with their length.

A network is linear between its neurons' zeros, a soft target between its bins, a clipped weight within its range: at
such a place float32 and float64 may rightly differ by the whole step from one side to the other, so cases are drawn
away from there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from draw_poly.kernels import reference
from draw_poly.kernels.spec import KolmogorovTerm, Network

NAN = float("nan")
# An error's norm, over the truth's, may be so many times that of PyTorch in the same type, or the second number where
# PyTorch was lucky: some ten roundings of float32, whose errors mostly cancel; in tf32, three of ten bits.
SLACK = {"fp32": (2.0, 1e-6), "tf32": (4.0, 3e-3)}
# Number by number, where one that is wrong would be lost in a norm: outputs of size one after some ten layers, and
# parameters and moments after some steps, each of which divides by what rounding has reached.
assert_outputs = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-5, check_dtype=False)
assert_steps = partial(torch.testing.assert_close, rtol=1e-4, atol=2e-6, check_dtype=False)
# Draws of how parameters may be rounded, and by how much of a number float32 rounds.
NUDGES, ROUNDING = 8, 2.0**-24
# How near to zero a pre-activation of usual size may be, some roundings of which have passed many layers.
MARGIN = {"fp32": 1e-5, "tf32": 1e-2}
# Of a bin's centre, in bins; of a clip range's end, in weights: float32 keeps 255 bins to 1.5e-5.
BIN_MARGIN = 1e-3
# Rounds of drawing, and networks, before it is given up: one may have a neuron that is near zero wherever one looks.
ROUNDS, NETWORKS = 20, 100


def truth(
    parameters: Sequence[Tensor], network: Network, inputs: Tensor, targets: Tensor, positions: Tensor | None,
    term: KolmogorovTerm | None, dtype: torch.dtype = torch.float64,
) -> list[Tensor]:  # fmt: skip
    """Losses, then the gradients of their weighted sum, by the reference.

    Parameters are θ (P,) and, with a code, φ; inputs (in, n), targets (targets, n), positions (3, P).
    """
    flats, networks = [flat.to(dtype) for flat in parameters], [network, *([term.predictor] if term else [])]
    stacks = [reference.layers(flat, one) for flat, one in zip(flats, networks, strict=True)]
    gradients = [torch.full_like(flat, NAN) for flat in flats]
    out = [reference.layers(flat, one) for flat, one in zip(gradients, networks, strict=True)]
    losses = [reference.task_gradient(stacks[0], inputs.to(dtype), targets.to(dtype), network, out[0])]
    if term and positions is not None:
        total, addition = reference.kolmogorov_gradient(flats[0], stacks[1], positions.to(dtype), term, out[1])
        losses.append(total / network.size)
        gradients[0].add_(addition, alpha=term.weight / network.size)
        gradients[1].mul_(term.weight / network.size)
    return [*losses, *gradients]


def error_of(found: Tensor, exact: Tensor) -> float:
    """The norm of the error over the truth's."""
    difference = (found.detach().cpu().double() - exact.detach().cpu()).norm()
    return float(difference / exact.detach().norm().clamp_min(1e-30))


def allowed(plain: float = 0.0, precision: str = "fp32") -> float:
    """The most that an error may be where PyTorch's own is `plain`."""
    factor, least = SLACK[precision]
    return max(factor * plain, least)


def swayed(
    network: Network, flat: Tensor, exact: Sequence[Tensor], by: Callable[[Tensor], Sequence[Tensor]]
) -> list[float]:
    """How far each of `exact`, what `by` makes of `flat` in float64, is moved by rounding the parameters alone.

    Where an activation squares, each layer doubles the relative error of the one before it, and a few points rule the
    norm: PyTorch's one error may be small by luck, and this, the most of some draws, is how much it might have been.
    0 where the network is piecewise affine.
    """
    worst = [0.0] * len(exact)
    if network.activation.piecewise_affine:
        return worst
    generator = torch.Generator().manual_seed(len(flat))
    for _ in range(NUDGES):
        sides = 2 * torch.rand(flat.shape, generator=generator, dtype=torch.float64) - 1
        moved = by(flat.double().cpu() * (1 + ROUNDING * sides))
        worst = [max(most, error_of(one, truth)) for most, one, truth in zip(worst, moved, exact, strict=True)]
    return worst


def poison(thing: Any) -> None:
    """Fills every tensor or array of floats within with NaN, however deep: what is read without being written shows."""
    if isinstance(thing, np.ndarray) and thing.dtype.kind == "f":
        thing.fill(NAN)
    elif isinstance(thing, Tensor) and thing.is_floating_point():
        thing.fill_(NAN)
    elif isinstance(thing, list | tuple):
        for part in thing:
            poison(part)
    elif type(thing).__module__.startswith("draw_poly.kernels.") and not isinstance(thing, Network | KolmogorovTerm):
        for name, part in vars(thing).items():
            if name != "shares":  # of the term: read
                poison(part)


def random_parameters(network: Network, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Flat parameters of a usual size, drawn from a seed."""
    generator = torch.Generator().manual_seed(seed)
    flat = torch.empty(network.size, dtype=dtype)
    for weight, bias in reference.layers(flat, network):
        weight.normal_(0, (2 / weight.shape[1]) ** 0.5, generator=generator)
        bias.normal_(0, 0.5, generator=generator)
    return flat


def random_targets(network: Network, points: int, generator: torch.Generator) -> Tensor:
    """Targets (targets, points) in [0, 1), or classes."""
    if network.loss.labelled:
        return torch.randint(0, network.dims[-1], (1, points), generator=generator).float()
    return torch.rand((network.targets, points), generator=generator)


def pixels(width: int, height: int, top: int = 0) -> Tensor:
    """Coordinates (2, n) of a picture's pixels, row by row from row `top` on."""
    y, x = np.mgrid[top:height, :width]
    return torch.from_numpy(np.stack(((x / width).ravel(), (y / height).ravel())).astype(np.float32))


class TooNear(Exception):
    """There are no such points, or too few."""


@dataclass(frozen=True)
class Drawn:
    """Parameters of the network, and of the predictor with its positions (3, P) if there is one; inputs (in, n)."""

    parameters: list[Tensor]
    positions: Tensor | None
    inputs: Tensor


def drawn(
    network: Network, term: KolmogorovTerm | None, points: int, generator: torch.Generator, margin: float
) -> Drawn:
    """A network, a predictor and points away from all their boundaries."""
    for number in range(NETWORKS):
        seed = generator.initial_seed() + 1_000_000 * number
        flat, positions = random_parameters(network, seed, torch.float32), None
        parameters = [flat]
        try:
            if term:
                predictor = random_parameters(term.predictor, seed, torch.float32)
                positions = points_away(predictor, term.predictor, network.size, generator, margin)
                parameters = [weights_away(flat, predictor, positions, term, margin), predictor]
            return Drawn(parameters, positions, points_away(parameters[0], network, points, generator, margin))
        except TooNear:
            continue
    raise TooNear(f"none of {NETWORKS} networks has {points} points that stand {margin} away from its boundaries")


def nearest(flat: Tensor, network: Network, inputs: Tensor) -> Tensor:
    """How near to zero a point's nearest pre-activation is (points,), an output's where the loss bends it there."""
    hidden, nearest = inputs, torch.full((inputs.shape[1],), torch.inf, dtype=inputs.dtype)
    stack = reference.layers(flat, network)
    for weight, bias in stack if network.loss.final == "leaky_relu" else stack[:-1]:
        before = torch.addmm(bias, weight, hidden)
        nearest = torch.minimum(nearest, before.abs().amin(0))
        hidden = reference.activate_(before, network.activation)
    return nearest


def points_away(flat: Tensor, network: Network, count: int, generator: torch.Generator, margin: float) -> Tensor:
    """Inputs (in, count) in the unit square at which no neuron is within `margin` of zero. Raises TooNear."""
    found, left = [], count
    for _ in range(ROUNDS):
        inputs = torch.rand((network.dims[0], 2 * left + 16), generator=generator)
        found.append(inputs[:, nearest(flat.double(), network, inputs.double()) > margin])
        left -= found[-1].shape[1]
        if left <= 0:
            return torch.cat(found, 1)[:, :count].contiguous()
    raise TooNear(f"of {count} points, {left} could not be drawn that stand {margin} away from every neuron's zero")


def weights_away(flat: Tensor, predictor: Tensor, positions: Tensor, term: KolmogorovTerm, margin: float) -> Tensor:
    """Parameters (P,) moved off the corners of their loss: bins' centres and the range's ends, or what is predicted."""
    if term.loss == "cross_entropy":
        width = (term.high - term.low) / (term.bins - 1)
        centre = (flat.double() - term.low) / width
        return torch.where((centre - centre.round()).abs() < BIN_MARGIN, flat + 3 * BIN_MARGIN * width, flat)
    if term.loss == "laplacian_nll":
        stack = reference.layers(predictor.double(), term.predictor)
        predicted = reference.forward(stack, positions.double(), term.predictor.activation)[1][0]
        return torch.where((flat.double() - predicted).abs() < margin, flat + 3 * margin, flat)
    return flat
