"""The Kolmogorov term: each code loss with its gradients, and the predictor taken back.

The derivations are in `kernels/README.md`.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from draw_poly.kernels.reference.network import Layer, backward, forward
from draw_poly.kernels.spec import KolmogorovTerm

TEMPERATURE = 0.1
# Bins further than 5 from c weigh below exp(-45) of the nearest: nothing, even in float64.
WINDOW = 10


def cross_entropy(logits: Tensor, parameters: Tensor, term: KolmogorovTerm) -> tuple[Tensor, Tensor, Tensor]:
    """Binned cross-entropy of parameters (P,) under logits (bins, P).

    Returns the sum of losses in nats, its gradient with respect to the logits and with respect to the parameters.
    Source: `kernels/README.md`, "Binned cross-entropy".
    """
    bins = logits.shape[0]
    span = term.high - term.low
    center = (parameters.clamp(term.low, term.high) - term.low) / span * (bins - 1)  # (P,)
    window = min(WINDOW, bins)
    first = (center.floor().long() - (window // 2 - 1)).clamp_(0, bins - window)
    index = first[:, None] + torch.arange(window, device=logits.device)  # (P, window)
    offset = index - center[:, None]
    target = torch.softmax(offset.abs().div_(-TEMPERATURE), 1)

    rows = logits.t()  # a parameter's logits side by side, as `forward` stores them
    probability = torch.softmax(rows, 1)
    lowest, highest = rows.amin(1), rows.amax(1)  # in one call they take ten times as long
    log_total = highest - probability.amax(1).log_()
    near = rows.gather(1, index)
    spoilt = (lowest - lowest) + (highest - highest)  # NaN where a logit is not finite, in the window or not
    expected = (target * near).sum(1, keepdim=True) + spoilt[:, None]  # (P, 1)
    loss = (log_total - expected[:, 0]).sum()

    pull = near.sub_(expected).mul_(offset.sign_()).mul_(target).sum(1)
    outside = ~((parameters >= term.low) & (parameters <= term.high))
    grad_parameters = pull.mul_((1 - bins) / (TEMPERATURE * span)).masked_fill_(outside, 0.0)
    grad_logits = probability.scatter_add_(1, index, target.neg_()).add_((center - center)[:, None])  # NaN in all bins
    return loss, grad_logits.t(), grad_parameters


def squared_term(outputs: Tensor, parameters: Tensor, term: KolmogorovTerm) -> tuple[Tensor, Tensor, Tensor]:
    """Squared error of predicted values (1, P); returns as `cross_entropy` does."""
    error = outputs - parameters
    return error.square().sum(), 2.0 * error, -2.0 * error[0]


def gaussian_nll(outputs: Tensor, parameters: Tensor, term: KolmogorovTerm) -> tuple[Tensor, Tensor, Tensor]:
    """Gaussian negative log-likelihood, outputs (2, P) mean and log variance; returns as `cross_entropy` does."""
    mean, log_variance = outputs
    error = parameters - mean
    precision = (-log_variance).exp()
    scaled = error.square() * precision
    loss = 0.5 * (log_variance + scaled + math.log(2.0 * math.pi)).sum()
    pull = error * precision
    return loss, torch.stack((-pull, 0.5 - 0.5 * scaled)), pull


def laplacian_nll(outputs: Tensor, parameters: Tensor, term: KolmogorovTerm) -> tuple[Tensor, Tensor, Tensor]:
    """Laplacian negative log-likelihood, outputs (2, P) location and log scale; returns as `cross_entropy` does."""
    location, log_scale = outputs
    error = parameters - location
    precision = (-log_scale).exp()
    scaled = error.abs() * precision
    loss = (log_scale + scaled + math.log(2.0)).sum()
    pull = error.sign() * precision
    return loss, torch.stack((-pull, 1.0 - scaled)), pull


TERM_LOSS: dict[str, Callable[[Tensor, Tensor, KolmogorovTerm], tuple[Tensor, Tensor, Tensor]]] = {
    "cross_entropy": cross_entropy,
    "mse": squared_term,
    "gaussian_nll": gaussian_nll,
    "laplacian_nll": laplacian_nll,
}


def kolmogorov_gradient(
    parameters: Tensor, stack: Sequence[Layer], positions: Tensor, term: KolmogorovTerm, out: Sequence[Layer]
) -> tuple[Tensor, Tensor]:
    """Kolmogorov loss of parameters (P,) at positions (3, P), under a predictor of layers `stack`.

    Returns the sum of losses and its gradient with respect to the parameters, and writes that of the predictor's layers
    into `out`. The term is their mean; to divide by P is left to where the gradients are added up.
    """
    activations, outputs = forward(stack, positions, term.predictor.activation)
    loss, grad_outputs, grad_parameters = TERM_LOSS[term.loss](outputs, parameters, term)
    backward(stack, activations, grad_outputs, term.predictor.activation, out)
    return loss, grad_parameters
