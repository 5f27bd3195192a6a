"""The reference of a population, by the names that the packages of kernels have: one network after the other."""

from collections.abc import Sequence

import torch
from torch import Tensor

from draw_poly.kernels import reference
from draw_poly.kernels.picture.grid import places
from draw_poly.kernels.spec import CodeLength, Network, Optimizer
from draw_poly.kernels.tensors import shares, sizes


class Partials:
    """What `gradient` leaves for `update` and `total`; `weights` (networks,) of the term are the code's by default."""

    def __init__(
        self, network: Network, code: CodeLength | None, points: int, device: torch.device, networks: int = 1,
        weights: Sequence[float] | None = None,
    ) -> None:  # fmt: skip
        self.network, self.code = network, code
        self.shares = shares(network, code, networks, weights)
        self.gradients: list[Tensor] = []  # (networks, P) of each learner
        self.losses = torch.empty((networks, 0), device=device)  # (networks, 1 per learner)


def gradient(
    partials: Partials, parameters: Sequence[Tensor], positions: Tensor | None, inputs: Tensor, targets: Tensor
) -> None:
    """Losses and gradients of a batch of each network: inputs (networks, 2, n), targets (networks, k, n).

    `parameters` (networks, P) of the networks, and of the predictors if there are any; `positions` (3, P).
    """
    network, code = partials.network, partials.code
    learners = [network, *([code.predictor] if code else [])]
    sizes(parameters, network, code)
    partials.gradients = [torch.empty_like(flat, memory_format=torch.contiguous_format) for flat in parameters]
    losses = []
    for index, share in enumerate(partials.shares):
        flats = [flat[index].contiguous() for flat in parameters]
        gradients = [flat[index] for flat in partials.gradients]
        stacks, out = (list(map(reference.layers, one, learners)) for one in (flats, gradients))
        found, addition = reference.differentiate(
            network, code, stacks, flats[0], positions, inputs[index], targets[index], out
        )
        reference.weigh(share, gradients, addition)
        losses.append(torch.stack(found))
    partials.losses = torch.stack(losses)


def total(partials: Partials, gradients: Sequence[Tensor], losses: Tensor) -> None:
    """What `update` would take its steps with: each learner's gradient (networks, P), and the `losses`."""
    losses.copy_(partials.losses)
    for wanted, ours in zip(gradients, partials.gradients, strict=True):
        wanted.copy_(ours)


def update(
    partials: Partials, optimizers: Sequence[Optimizer], parameters: Sequence[Tensor], moments: Sequence[Tensor],
    scalars: Tensor, losses: Tensor,
) -> None:  # fmt: skip
    """A step of each network, in place: parameters (networks, P), moments (networks, count, P) of each learner.

    `scalars` (networks, 2 per learner) are `Optimizer.scalars`. Writes `losses` (networks, 1 per learner).
    """
    losses.copy_(partials.losses)
    for which, optimizer in enumerate(optimizers):
        for index, row in enumerate(scalars.tolist()):
            reference.update(
                optimizer, parameters[which][index], partials.gradients[which][index], moments[which][index],
                row[2 * which : 2 * which + 2],
            )  # fmt: skip


def evaluate(
    network: Network, parameters: Tensor, coefficients: Tensor, inputs: Tensor, outputs: Tensor, signatures: Tensor
) -> None:
    """Writes outputs (networks, k, n) and signatures (networks, n) at inputs (networks, 2, n)."""
    for index, flat in enumerate(parameters):
        stack, codes = reference.layers(flat.contiguous(), network), coefficients[index].contiguous()
        outputs[index], signatures[index] = reference.evaluate(stack, codes, inputs[index], network.activation)


def evaluate_grid(
    network: Network, parameters: Tensor, coefficients: Tensor, size: tuple[int, int], top: int, outputs: Tensor,
    signatures: Tensor,
) -> None:  # fmt: skip
    """As `evaluate`, at pixels: outputs (networks, k, rows, width) of rows from `top` on of a picture of `size`."""
    width, height = size
    networks, rows = signatures.shape[:2]
    x, y = torch.from_numpy(places(0, width, width)), torch.from_numpy(places(top, rows, height))
    pixels = torch.stack((x.expand(rows, width), y[:, None].expand(rows, width))).view(1, 2, -1)
    flat = outputs.view(networks, network.dims[-1], -1), signatures.view(networks, -1)
    evaluate(network, parameters, coefficients, pixels.expand(networks, -1, -1), *flat)


def validate(network: Network, parameters: Tensor, inputs: Tensor, targets: Tensor, out: Tensor) -> None:
    """Writes mean squared error, lowest and highest output (networks, 3)."""
    for index, flat in enumerate(parameters):
        stack = reference.layers(flat, network)
        out[index] = reference.validate(stack, inputs[index], targets[index], network.activation)
