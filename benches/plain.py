"""The mathematics by PyTorch's own functions and autograd, any dtype and device: what a user would write without us."""

from typing import Any

import torch
from torch import Tensor, nn

from draw_poly.kernels import reference
from draw_poly.kernels.spec import CodeLength, Network


def random_parameters(network: Network, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Flat parameters of a usual size, drawn from a seed."""
    draws = torch.Generator().manual_seed(seed)
    flat = torch.empty(network.size, dtype=dtype)
    for weight, bias in reference.layers(flat, network):
        weight.normal_(0, (2 / weight.shape[1]) ** 0.5, generator=draws)
        bias.normal_(0, 0.5, generator=draws)
    return flat


class TensorFloat(torch.autograd.Function):
    """A product of operands that keep ten bits of their fractions, as TF32 has them; also its gradients."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor) -> Tensor:
        """Rows of `left` by rows of `right`."""
        ctx.save_for_backward(left, right)
        return _ten_bits(left) @ _ten_bits(right).t()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        """By both."""
        (left, right), gradient = ctx.saved_tensors, _ten_bits(gradients[0])
        return gradient @ _ten_bits(right), gradient.t() @ _ten_bits(left)


def _ten_bits(values: Tensor) -> Tensor:
    """float32 without the last 13 bits."""
    return (values.contiguous().view(torch.int32) & ~0x1FFF).view(torch.float32)


def plain_forward(flat: Tensor, network: Network, inputs: Tensor, precision: str = "fp32") -> Tensor:
    """The network by torch's own modules' functions, points in rows; differentiable."""
    hidden, start = inputs.t(), 0
    for index, (out, into) in enumerate(network.shapes):
        weight = flat[start : start + out * into].view(out, into)
        start += out * into
        bias = flat[start : start + out]
        if precision == "tf32":
            hidden = TensorFloat.apply(hidden, weight) + bias
        else:
            hidden = nn.functional.linear(hidden, weight, bias)
        start += out
        if index < len(network.shapes) - 1:
            hidden = nn.functional.leaky_relu(hidden, network.slope)
    return hidden.t()


def plain_code_loss(outputs: Tensor, parameters: Tensor, code: CodeLength) -> Tensor:
    """Each loss from its definition, bin by bin; outputs (k, P)."""
    if code.loss == "cross_entropy":
        # By PyTorch before 2.14 as by the original, whose derivative at both ends is that of the inside; then it is 0.
        inside = (parameters >= code.low) & (parameters <= code.high)
        clipped = torch.where(inside, parameters, parameters.detach().clamp(code.low, code.high))
        center = (clipped - code.low) / (code.high - code.low) * (code.bins - 1)
        distance = (center[:, None] - torch.arange(code.bins, dtype=parameters.dtype, device=parameters.device)).abs()
        target = torch.softmax(-distance / 0.1, 1)
        return -(target * torch.log_softmax(outputs.t(), 1)).sum(1).mean()
    if code.loss == "mse":
        return nn.functional.mse_loss(outputs[0], parameters)
    location, log_scale = outputs
    if code.loss == "gaussian_nll":
        return nn.functional.gaussian_nll_loss(location, parameters, log_scale.exp(), full=True, eps=0)
    likelihood: Tensor = torch.distributions.Laplace(location, log_scale.exp(), validate_args=False).log_prob(
        parameters
    )
    return -likelihood.mean()


# Fewer bins than the window, as many, one more, and the default; few enough parameters to tell an off-by-one.
