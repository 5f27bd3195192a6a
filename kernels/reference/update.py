"""The optimisers, with `torch.optim`'s arithmetic."""

from collections.abc import Sequence

from torch import Tensor

from draw_poly.kernels.reference.network import Scalar
from draw_poly.kernels.reference.workspace import Workspace
from draw_poly.kernels.spec import ADAM_BETAS, EPSILON, RMSPROP_ALPHA, Optimizer


def step(
    optimizer: Optimizer, parameters: Tensor, gradient: Tensor, moments: Tensor, scalars: Sequence[Scalar]
) -> None:
    """One optimiser step in place, with `torch.optim`'s arithmetic; moments are (count, P).

    `scalars` are `Optimizer.scalars` of this step, as numbers or as tensors of no dimension.
    Source: `torch.optim`'s single-tensor algorithms.
    """
    step_size, other = scalars
    if optimizer.kind == "adam":
        first, second = moments
        first.lerp_(gradient, 1.0 - ADAM_BETAS[0])
        second.mul_(ADAM_BETAS[1]).addcmul_(gradient, gradient, value=1.0 - ADAM_BETAS[1])
        root = second.sqrt().div_(other).add_(EPSILON)
        _descend(parameters, first, step_size, root)
    elif optimizer.kind == "rmsprop":
        moments.mul_(RMSPROP_ALPHA).addcmul_(gradient, gradient, value=1.0 - RMSPROP_ALPHA)
        _descend(parameters, gradient, step_size, moments[0].sqrt().add_(EPSILON))
    elif optimizer.kind == "sgd_momentum":
        moments.mul_(other).add_(gradient)
        _descend(parameters, moments[0], step_size)
    elif optimizer.kind == "sgd":
        _descend(parameters, gradient, step_size)


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
    gradients: Sequence[Tensor], scalars: Sequence[Scalar],
) -> None:  # fmt: skip
    """A step of each learner of one network, in place: parameters (P,), moments (count, P), scalars (2 each,)."""
    for index, optimizer in enumerate(optimizers):
        pair = scalars[2 * index : 2 * index + 2]
        step(optimizer, parameters[index], gradients[index], moments[index], pair)


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

    `scalars` (networks, 2 per learner) are `Optimizer.scalars`. Writes `losses` (networks, 1 per learner).
    """
    losses.copy_(workspace.losses)
    for index, row in enumerate(scalars.tolist()):
        flats, kept, gradients = (
            [one[index] for one in learners] for learners in (parameters, moments, workspace.gradients)
        )
        update_one(optimizers, flats, kept, gradients, row)
