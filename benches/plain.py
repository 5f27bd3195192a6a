"""The mathematics by PyTorch's own functions and autograd, any dtype and device: what a user would write without us."""

import torch
from torch import Tensor, nn

from kernels import reference
from kernels.spec import CodeLength, Network


def random_parameters(network: Network, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Flat parameters of a usual size, drawn from a seed."""
    draws = torch.Generator().manual_seed(seed)
    flat = torch.empty(network.size, dtype=dtype)
    for weight, bias in reference.layers(flat, network):
        weight.normal_(0, (2 / weight.shape[1]) ** 0.5, generator=draws)
        bias.normal_(0, 0.5, generator=draws)
    return flat


def plain_forward(flat: Tensor, network: Network, inputs: Tensor) -> Tensor:
    """The network by torch's own modules' functions, points in rows; differentiable."""
    hidden, start = inputs.t(), 0
    for index, (out, into) in enumerate(network.shapes):
        weight = flat[start : start + out * into].view(out, into)
        start += out * into
        hidden = nn.functional.linear(hidden, weight, flat[start : start + out])
        start += out
        if index < len(network.shapes) - 1:
            hidden = nn.functional.leaky_relu(hidden, network.slope)
    return hidden.t()


def plain_code_loss(outputs: Tensor, parameters: Tensor, code: CodeLength) -> Tensor:
    """Each loss from its definition, bin by bin; outputs (k, P)."""
    if code.loss == "cross_entropy":
        clipped = parameters.clamp(code.low, code.high)
        center = (clipped - code.low) / (code.high - code.low) * (code.bins - 1)
        distance = (center[:, None] - torch.arange(code.bins, dtype=parameters.dtype, device=parameters.device)).abs()
        target = torch.softmax(-distance / 0.1, 1)
        return -(target * torch.log_softmax(outputs.t(), 1)).sum(1).mean()
    if code.loss == "mse":
        return nn.functional.mse_loss(outputs[0], parameters)
    location, log_scale = outputs
    if code.loss == "gaussian_nll":
        return nn.functional.gaussian_nll_loss(location, parameters, log_scale.exp(), full=True, eps=0)
    likelihood: Tensor = torch.distributions.Laplace(location, log_scale.exp()).log_prob(parameters)
    return -likelihood.mean()


# Fewer bins than the window, as many, one more, and the default; few enough parameters to tell an off-by-one.
