"""The gradient of a batch: the task's loss, and the Kolmogorov term weighed into it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from draw_poly.kernels.reference.kolmogorov import kolmogorov_gradient
from draw_poly.kernels.reference.loss import task_loss
from draw_poly.kernels.reference.network import Layer, Memory, Scalar, backward, forward, layers
from draw_poly.kernels.reference.workspace import Workspace
from draw_poly.kernels.spec import KolmogorovTerm, Network
from draw_poly.kernels.tensors import sizes


def task_gradient(
    stack: Sequence[Layer], inputs: Tensor, targets: Tensor, network: Network, out: Sequence[Layer],
    memory: Memory | None = None,
) -> Tensor:  # fmt: skip
    """Task loss on a batch (2, points), (targets, points); writes the gradient of each layer into `out`."""
    activations, outputs = forward(stack, inputs, network.activation, memory)
    loss, grad = task_loss(outputs, targets, network.loss)
    backward(stack, activations, grad, network.activation, out, memory)
    return loss


def differentiate(
    network: Network,
    term: KolmogorovTerm | None,
    stacks: Sequence[Sequence[Layer]],
    parameters: Tensor,
    positions: Tensor | None,
    inputs: Tensor,
    targets: Tensor,
    out: Sequence[Sequence[Layer]],
    memory: Memory | None = None,
) -> tuple[list[Tensor], Tensor | None]:
    """The losses of a batch, and the term's gradient of the parameters (P,); writes the other gradients into `out`.

    `stacks` and `out` are those of the network and, with a term, of the predictor.
    """
    losses = [task_gradient(stacks[0], inputs, targets, network, out[0], memory)]
    if term is None or positions is None:
        return losses, None
    total, addition = kolmogorov_gradient(parameters, stacks[1], positions, term, out[1])
    return [*losses, total * (1.0 / network.size)], addition


def weigh(share: Scalar, gradients: Sequence[Tensor], addition: Tensor | None) -> None:
    """Makes the two losses' gradients (P,) that of their weighted sum, in place.

    `share` is the term's weight over P, a number or a tensor of no dimension.
    """
    if addition is None:
        return
    if isinstance(share, Tensor):
        gradients[0].add_(addition * share)
    else:
        gradients[0].add_(addition, alpha=share)
    gradients[1].mul_(share)


def gradient(
    workspace: Workspace, parameters: Sequence[Tensor], positions: Tensor | None, inputs: Tensor, targets: Tensor
) -> None:
    """Losses and gradients of a batch of each network: inputs (networks, 2, n), targets (networks, targets, n).

    `parameters` (networks, P) of the networks, and of the predictors if there are any; `positions` (3, P).
    """
    network, term = workspace.network, workspace.term
    learners = [network, *([term.predictor] if term else [])]
    sizes(parameters, network, term)
    workspace.gradients = [torch.empty_like(flat, memory_format=torch.contiguous_format) for flat in parameters]
    losses = []
    for index, share in enumerate(workspace.shares):
        flats = [flat[index].contiguous() for flat in parameters]
        gradients = [flat[index] for flat in workspace.gradients]
        stacks, out = (list(map(layers, one, learners)) for one in (flats, gradients))
        found, addition = differentiate(network, term, stacks, flats[0], positions, inputs[index], targets[index], out)
        weigh(share, gradients, addition)
        losses.append(torch.stack(found))
    workspace.losses = torch.stack(losses)
