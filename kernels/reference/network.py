"""One network in plain PyTorch: its layers, forwards and backwards.

Coordinates are feature-major, shape (2, points), so a layer is `W @ h`. Parameters, gradients and moments are flat
vectors in the order of `kernels.spec.Network`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from draw_poly.kernels.spec import Activation, Network

Layer = tuple[Tensor, Tensor]  # weight (out, in), bias (out, 1)
Scalar = float | Tensor

LEAKY_RELU_BACKWARD = torch.ops.aten.leaky_relu_backward.default


@dataclass(frozen=True)
class Memory:
    """What steps on batches of one size use again and again: per hidden layer (width, points), and ones (points, 1)."""

    hidden: list[Tensor]
    ones: Tensor

    @staticmethod
    def like(stack: Sequence[Layer], points: int) -> "Memory":
        """For a network of layers like these."""
        hidden = [bias.new_empty((len(bias), points)) for _, bias in stack[:-1]]
        return Memory(hidden, stack[0][1].new_ones((points, 1)))


def layers(parameters: Tensor, network: Network) -> list[Layer]:
    """Views of a flat vector, one (weight, bias) pair a layer.

    Raises ValueError if the vector's length is not the network's.
    """
    if parameters.shape != (network.size,):
        raise ValueError(f"{parameters.numel()} parameters for a network of {network.size}")
    sizes = [size for out, into in network.shapes for size in (out * into, out)]
    parts = iter(parameters.split(sizes))
    return [(next(parts).view(out, into), next(parts).view(out, 1)) for out, into in network.shapes]


def activate_(hidden: Tensor, activation: Activation) -> Tensor:
    """An activation's results, in place. Raises ValueError for one that the reference does not know."""
    if activation.name == "leaky_relu":
        return F.leaky_relu_(hidden, activation.slope)
    if activation.name == "relu2":
        return hidden.relu_().square_()
    raise ValueError(f"the reference does not know the activation {activation.name}")


def activation_backward(grad: Tensor, result: Tensor, activation: Activation) -> Tensor:
    """The gradient of what an activation was given, from that of its result and the result itself.

    Raises ValueError for an activation that the reference does not know.
    """
    if activation.name == "leaky_relu":
        before: Tensor = LEAKY_RELU_BACKWARD(grad, result, activation.slope, True)
        return before
    if activation.name == "relu2":
        return grad * result.sqrt().mul_(2.0)
    raise ValueError(f"the reference does not know the activation {activation.name}")


def forward(
    stack: Sequence[Layer], inputs: Tensor, activation: Activation, memory: Memory | None = None
) -> tuple[list[Tensor], Tensor]:
    """The inputs of every layer [(in, points)], and the network's outputs (out, points)."""
    activations = [inputs]
    for index, (weight, bias) in enumerate(stack[:-1]):
        hidden = torch.addmm(
            bias, weight, activations[-1], out=memory.hidden[index] if memory else None
        )  # (out, points)
        activations.append(activate_(hidden, activation))
    weight, bias = stack[-1]
    if len(weight) == 1:
        return activations, torch.addmm(bias, weight, activations[-1])
    # Stored point by point: a softmax over outputs then runs along memory.
    return activations, torch.addmm(bias.t(), activations[-1].t(), weight.t()).t()


def backward(
    stack: Sequence[Layer],
    activations: Sequence[Tensor],
    grad: Tensor,
    activation: Activation,
    out: Sequence[Layer],
    memory: Memory | None = None,
) -> Tensor:
    """Writes the gradient of each layer into `out`, from the gradient of the outputs (out, points).

    Returns that of the first layer's pre-activations.
    """
    for index in range(len(stack) - 1, -1, -1):
        inputs = activations[index]
        grad_weight, grad_bias = out[index]
        if grad.stride(1) > 1:  # stored point by point, where the plain product is six times slower
            grad_weight.copy_(torch.mm(inputs, grad.t()).t())
        else:
            torch.mm(grad, inputs.t(), out=grad_weight)
        if memory is None:
            torch.sum(grad, 1, keepdim=True, out=grad_bias)
        else:  # half the time, where nothing fuses the sum
            torch.mm(grad, memory.ones, out=grad_bias)
        if index:
            grad = torch.mm(stack[index][0].t(), grad)
            grad = activation_backward(grad, inputs, activation)
    return grad
