"""The mathematics by PyTorch's own functions and autograd, any dtype and device: what a user would write without us."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from kernels import reference
from kernels.spec import CodeLength, Network

# How near to zero a neuron may be at a point, by its mean there: rounding must not decide which side it is on.
MARGIN = 2e-5


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


def steady_points(flat: Tensor, network: Network, count: int, draws: torch.Generator) -> Tensor:
    """Coordinates (2, count) where no neuron is so near zero that float32 could see it on the other side."""
    found = torch.empty((network.dims[0], 0))
    while found.shape[1] < count:
        inputs = torch.rand((network.dims[0], 2 * count), generator=draws)
        steady = torch.ones(2 * count, dtype=torch.bool)
        for before in _before_activation(flat.double(), network, inputs):
            steady &= (before.abs() > MARGIN * before.abs().mean()).all(0)
        found = torch.cat((found, inputs[:, steady]), 1)
    return found[:, :count].contiguous()


def plain_signatures(
    flat: Tensor, network: Network, coefficients: Tensor, inputs: Tensor, doubtful: int | None = None
) -> Tensor:
    """Signatures (points,) neuron by neuron; `doubtful`, if given, where rounding could decide one of them."""
    signatures, start = torch.zeros(inputs.shape[1], dtype=torch.int64), 0
    unsure = torch.zeros(inputs.shape[1], dtype=torch.bool)
    for before in _before_activation(flat, network, inputs):
        codes = coefficients[start : start + len(before), None]
        signatures += torch.where(before > 0, codes, 0).sum(0)
        unsure |= (before.abs() <= MARGIN * before.abs().mean()).any(0)
        start += len(before)
    return signatures if doubtful is None else signatures.masked_fill(unsure, doubtful)


def _before_activation(flat: Tensor, network: Network, inputs: Tensor) -> Iterator[Tensor]:
    """What each hidden layer is before LeakyReLU (out, points)."""
    hidden = inputs.to(flat)
    for weight, bias in reference.layers(flat, network)[:-1]:
        before = torch.addmm(bias, weight, hidden)
        yield before
        hidden = nn.functional.leaky_relu(before, network.slope)


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
    likelihood: Tensor = torch.distributions.Laplace(location, log_scale.exp(), validate_args=False).log_prob(
        parameters
    )
    return -likelihood.mean()


# Fewer bins than the window, as many, one more, and the default; few enough parameters to tell an off-by-one.
