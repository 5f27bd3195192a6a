"""Outputs and signatures, at points or at the pixels of a picture."""

from collections.abc import Sequence

import torch
from torch import Tensor

from draw_poly.kernels.picture.grid import places
from draw_poly.kernels.reference.network import Layer, activate_, layers
from draw_poly.kernels.spec import Activation, Network

# Sums of 256 halves of 16 bits are exact in float32.
EXACT_NEURONS = 256


def evaluate_one(
    stack: Sequence[Layer], coefficients: Tensor, inputs: Tensor, activation: Activation
) -> tuple[Tensor, Tensor]:
    """Outputs (out, points) and int64 signatures (points,) at inputs (2, points).

    A signature is the sum of the coefficients (neurons,) of a point's positive pre-activations: equal activation
    patterns have equal signatures. It is summed exactly as two halves of 16 bits in floating point, since a matrix
    product in int64 has no fast path.
    """
    exact = inputs.dtype if coefficients.numel() <= EXACT_NEURONS else torch.float64
    halves = torch.stack((coefficients >> 16, coefficients & 0xFFFF)).to(exact)  # (2, neurons)
    hidden, start = inputs, 0
    sums = torch.zeros((2, inputs.shape[1]), dtype=exact, device=inputs.device)
    for weight, bias in stack[:-1]:
        hidden = torch.addmm(bias, weight, hidden)  # (out, points)
        positive = torch.gt(hidden, 0, out=torch.empty_like(hidden)).to(exact)
        sums.addmm_(halves[:, start : start + weight.shape[0]], positive)
        start += weight.shape[0]
        hidden = activate_(hidden, activation)
    weight, bias = stack[-1]
    high, low = sums.long()
    return torch.addmm(bias, weight, hidden), (high << 16) + low


def evaluate(
    network: Network, parameters: Tensor, coefficients: Tensor, inputs: Tensor, outputs: Tensor, signatures: Tensor
) -> None:
    """Writes outputs (networks, k, n) and signatures (networks, n) at inputs (networks, 2, n)."""
    for index, flat in enumerate(parameters):
        stack, terms = layers(flat.contiguous(), network), coefficients[index].contiguous()
        outputs[index], signatures[index] = evaluate_one(stack, terms, inputs[index], network.activation)


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
