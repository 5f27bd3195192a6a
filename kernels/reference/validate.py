"""Validation: mean squared error, lowest and highest output of points that do not train."""

from collections.abc import Sequence

import torch
from torch import Tensor

from draw_poly.kernels.reference.network import Layer, forward, layers
from draw_poly.kernels.spec import Activation, Network


def validate_one(stack: Sequence[Layer], inputs: Tensor, targets: Tensor, activation: Activation) -> Tensor:
    """Mean squared error, lowest and highest output (3,) at inputs (2, points), targets (out, points)."""
    outputs = forward(stack, inputs, activation)[1]
    return torch.stack(((outputs - targets).square().mean(), *torch.aminmax(outputs)))


def validate(network: Network, parameters: Tensor, inputs: Tensor, targets: Tensor, out: Tensor) -> None:
    """Writes mean squared error, lowest and highest output (networks, 3)."""
    for index, flat in enumerate(parameters):
        stack = layers(flat, network)
        out[index] = validate_one(stack, inputs[index], targets[index], network.activation)
