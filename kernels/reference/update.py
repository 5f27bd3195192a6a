"""The optimisers, with `torch.optim`'s arithmetic."""

from collections.abc import Sequence

import torch
from torch import Tensor

from draw_poly.kernels.reference.muon import descend_matrices
from draw_poly.kernels.reference.network import Scalar, layers
from draw_poly.kernels.reference.workspace import Workspace
from draw_poly.kernels.spec import ADAM_BETAS, LION_BETAS, RMSPROP_ALPHA, Network, Optimizer
from draw_poly.kernels.spec.optimizer import (
    DECAY,
    DIVISOR,
    KEPT,
    MOMENTUM,
    MOST_NORM,
    NORM_EPSILON,
    OTHER_RATE,
    RATE,
    SCALARS,
    TINY,
)

Row = Sequence[Scalar] | Tensor


def step(
    optimizer: Optimizer, parameters: Tensor, gradient: Tensor, moments: Tensor, scalars: Row,
    network: Network | None = None,
) -> None:  # fmt: skip
    """One optimiser step in place, with `torch.optim`'s arithmetic; moments are (count, P).

    Which of the parameters are matrices, `network` says to an optimiser that takes them apart.
    `scalars` are `Optimizer.scalars` of this step, as numbers, as tensors of no dimension or as one tensor of them all.
    Source: `torch.optim`'s single-tensor algorithms; `torch.nn.utils.clip_grad_norm_`. Lion: Chen et al.,
    "Symbolic Discovery of Optimization Algorithms", 2023, algorithm 2.
    """
    if optimizer.clips:
        inverse = torch.linalg.vector_norm(gradient).add(NORM_EPSILON).reciprocal()
        gradient = gradient * (inverse * scalars[MOST_NORM]).clamp(max=1.0)
    if optimizer.weight_decay and optimizer.record.decoupled:
        parameters.mul_(scalars[KEPT])
    elif optimizer.weight_decay:
        gradient = _plus(gradient, parameters, scalars[DECAY])
    if optimizer.rest:
        assert network
        descend_matrices(optimizer, network, parameters, gradient, moments[0], scalars)
        each = [layers(flat, network) for flat in (parameters, gradient, *moments)]
        for flat, slope, *kept in zip(*([bias for _, bias in one] for one in each), strict=True):
            _take(optimizer.rest, flat, slope, kept, scalars)
    else:
        _take(optimizer, parameters, gradient, moments.unbind(0), scalars)


def _take(optimizer: Optimizer, parameters: Tensor, gradient: Tensor, moments: Sequence[Tensor], scalars: Row) -> None:
    """The step of one tensor, whose gradient is as it is to be taken, and whose decay is done."""
    if optimizer.kind in ("adam", "adamw", "nadam"):
        first, second = moments[:2]
        first.lerp_(gradient, 1.0 - ADAM_BETAS[0])
        second.mul_(ADAM_BETAS[1]).addcmul_(gradient, gradient, value=1.0 - ADAM_BETAS[1])
        if optimizer.kind == "nadam":
            root = second.div(scalars[DIVISOR]).sqrt_().add_(scalars[TINY])
            _descend(parameters, gradient, scalars[RATE], root)
            _descend(parameters, first, scalars[OTHER_RATE], root)
            return
        if optimizer.has_maximum:
            second = torch.maximum(moments[2], second, out=moments[2])
        root = second.sqrt().div_(scalars[DIVISOR]).add_(scalars[TINY])
        _descend(parameters, first, scalars[RATE], root)
    elif optimizer.kind == "lion":
        direction = moments[0].lerp(gradient, 1.0 - LION_BETAS[0]).sign_()
        moments[0].lerp_(gradient, 1.0 - LION_BETAS[1])
        _descend(parameters, direction, scalars[RATE])
    elif optimizer.kind == "rmsprop":
        moments[0].mul_(RMSPROP_ALPHA).addcmul_(gradient, gradient, value=1.0 - RMSPROP_ALPHA)
        _descend(parameters, gradient, scalars[RATE], moments[0].sqrt().add_(scalars[TINY]))
    elif optimizer.kind == "sgd_momentum":
        moments[0].mul_(scalars[MOMENTUM]).add_(gradient)
        _descend(parameters, moments[0], scalars[RATE])
    elif optimizer.kind == "sgd":
        _descend(parameters, gradient, scalars[RATE])


def _plus(gradient: Tensor, parameters: Tensor, decay: Scalar) -> Tensor:
    if isinstance(decay, Tensor):
        return gradient.addcmul(parameters, decay)  # rounded once, as with a number
    return gradient.add(parameters, alpha=decay)


def _descend(parameters: Tensor, direction: Tensor, step_size: Scalar, root: Tensor | None = None) -> None:
    """Takes the step along a direction, divided by the root where there is one, off the parameters."""
    if root is None:
        if isinstance(step_size, Tensor):
            parameters.addcmul_(direction, step_size, value=-1.0)  # rounded once, as with a number
        else:
            parameters.add_(direction, alpha=-step_size)
    elif isinstance(step_size, Tensor):
        parameters.sub_(direction.mul(step_size).div_(root))
    else:
        parameters.addcdiv_(direction, root, value=-step_size)


def update_one(
    optimizers: Sequence[Optimizer], parameters: Sequence[Tensor], moments: Sequence[Tensor],
    gradients: Sequence[Tensor], scalars: Row, networks: Sequence[Network],
) -> None:  # fmt: skip
    """A step of each learner of one network, in place: parameters (P,), moments (count, P), scalars (SCALARS each,).

    `networks` are what the learners are.
    """
    for index, optimizer in enumerate(optimizers):
        own = scalars[SCALARS * index : SCALARS * (index + 1)]
        step(optimizer, parameters[index], gradients[index], moments[index], own, networks[index])


def total(workspace: Workspace, gradients: Sequence[Tensor], losses: Tensor) -> None:
    """What `update` would take its steps with: each learner's gradient (networks, P), and the `losses`."""
    losses.copy_(workspace.losses)
    for wanted, ours in zip(gradients, workspace.gradients, strict=True):
        wanted.copy_(ours)


def update(
    workspace: Workspace, optimizers: Sequence[Optimizer], parameters: Sequence[Tensor], moments: Sequence[Tensor],
    scalars: Tensor, losses: Tensor,
) -> None:  # fmt: skip
    """A step of each network, in place: parameters (networks, P), moments (networks, count, P) of each learner.

    `scalars` (networks, SCALARS per learner) are `Optimizer.scalars`. Writes `losses` (networks, 1 per learner).
    """
    losses.copy_(workspace.losses)
    for index, row in enumerate(scalars.tolist()):
        flats, kept, gradients = (
            [one[index] for one in learners] for learners in (parameters, moments, workspace.gradients)
        )
        update_one(optimizers, flats, kept, gradients, row, workspace.networks)
