"""The mathematics by PyTorch's own functions and autograd, any dtype and device: what a user would write without us."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from draw_poly.kernels.spec import Activation, KolmogorovTerm, Network


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
            hidden = plain_activation(hidden, network.activation)
    return hidden.t()


def plain_activation(sums: Tensor, activation: Activation) -> Tensor:
    """What becomes of a hidden layer's sums, by torch's own functions."""
    if activation.name == "relu2":
        return nn.functional.relu(sums).square()
    return nn.functional.leaky_relu(sums, activation.slope)


def plain_loss(outputs: Tensor, targets: Tensor, network: Network) -> Tensor:
    """The task's loss by torch's own functions, of outputs (k, n) and targets (targets, n)."""
    loss = network.loss
    if not loss.labelled:
        return nn.functional.mse_loss(outputs, targets)
    logits = outputs.sigmoid() if loss.final == "sigmoid" else nn.functional.leaky_relu(outputs, loss.slope)
    return nn.functional.cross_entropy(logits.t(), targets[0].long())


def plain_term_loss(outputs: Tensor, parameters: Tensor, term: KolmogorovTerm) -> Tensor:
    """Each loss from its definition, bin by bin; outputs (k, P)."""
    if term.loss == "cross_entropy":
        # By PyTorch before 2.14 as by the original, whose derivative at both ends is that of the inside; then it is 0.
        inside = (parameters >= term.low) & (parameters <= term.high)
        clipped = torch.where(inside, parameters, parameters.detach().clamp(term.low, term.high))
        center = (clipped - term.low) / (term.high - term.low) * (term.bins - 1)
        distance = (center[:, None] - torch.arange(term.bins, dtype=parameters.dtype, device=parameters.device)).abs()
        target = torch.softmax(-distance / 0.1, 1)
        return -(target * torch.log_softmax(outputs.t(), 1)).sum(1).mean()
    if term.loss == "mse":
        return nn.functional.mse_loss(outputs[0], parameters)
    location, log_scale = outputs
    if term.loss == "gaussian_nll":
        return nn.functional.gaussian_nll_loss(location, parameters, log_scale.exp(), full=True, eps=0)
    likelihood: Tensor = torch.distributions.Laplace(location, log_scale.exp(), validate_args=False).log_prob(
        parameters
    )
    return -likelihood.mean()


def by_autograd(
    parameters: Sequence[Tensor], network: Network, inputs: Tensor, targets: Tensor, positions: Tensor | None,
    term: KolmogorovTerm | None, dtype: torch.dtype, device: torch.device, precision: str = "fp32",
) -> list[Tensor]:  # fmt: skip
    """Losses, then gradients of their weighted sum, by PyTorch's own functions."""
    leaves = [one.to(device, dtype, copy=True).requires_grad_() for one in parameters]
    outputs = plain_forward(leaves[0], network, inputs.to(device, dtype), precision)
    losses = [plain_loss(outputs, targets.to(device, dtype), network)]
    total = losses[0]
    if term and positions is not None:
        predicted = plain_forward(leaves[1], term.predictor, positions.to(device, dtype), precision)
        losses.append(plain_term_loss(predicted, leaves[0], term))
        total = total + term.weight * losses[1]
    total.backward()
    return [*(loss.detach() for loss in losses), *(leaf.grad for leaf in leaves if leaf.grad is not None)]
