"""Validation: mean loss, lowest and highest output of points that do not train."""

from collections.abc import Sequence

import torch
from torch import Tensor

from draw_poly.kernels.reference.loss import span, task_loss
from draw_poly.kernels.reference.network import Layer, forward, layers
from draw_poly.kernels.spec import Network


def validate_one(stack: Sequence[Layer], inputs: Tensor, targets: Tensor, network: Network) -> Tensor:
    """Mean loss, and the ends of `loss.span`, (3,), at inputs (2, points), targets (targets, points)."""
    outputs = forward(stack, inputs, network.activation)[1]
    return torch.stack((task_loss(outputs, targets, network.loss)[0], *span(outputs, network.loss)))


def validate(network: Network, parameters: Tensor, inputs: Tensor, targets: Tensor, out: Tensor) -> None:
    """Writes mean loss, lowest and highest output (networks, 3)."""
    for index, flat in enumerate(parameters):
        out[index] = validate_one(layers(flat, network), inputs[index], targets[index], network)
