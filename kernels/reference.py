"""What every kernel means, in plain PyTorch: any floating dtype, any device, gradients written by hand.

Coordinates are feature-major, shape (2, points), so a layer is `W @ h`. Parameters, gradients and moments are flat
vectors in the order of `kernels.spec.Network`. The derivations are in `kernels/README.md`.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.spec import ADAM_BETAS, EPSILON, RMSPROP_ALPHA, CodeLength, Network, Optimizer

Layer = tuple[Tensor, Tensor]  # weight (out, in), bias (out, 1)
Scalar = float | Tensor

TEMPERATURE = 0.1
# Bins further than 5 from c weigh below exp(-45) of the nearest: nothing, even in float64.
WINDOW = 10
# Sums of 256 halves of 16 bits are exact in float32.
EXACT_NEURONS = 256


def layers(parameters: Tensor, network: Network) -> list[Layer]:
    """Views of a flat vector, one (weight, bias) pair a layer.

    Raises ValueError if the vector's length is not the network's.
    """
    if parameters.shape != (network.size,):
        raise ValueError(f"{parameters.numel()} parameters for a network of {network.size}")
    sizes = [size for out, into in network.shapes for size in (out * into, out)]
    parts = iter(parameters.split(sizes))
    return [(next(parts).view(out, into), next(parts).view(out, 1)) for out, into in network.shapes]


def forward(stack: Sequence[Layer], inputs: Tensor, slope: float) -> tuple[list[Tensor], Tensor]:
    """The inputs of every layer [(in, points)], and the network's outputs (out, points)."""
    activations = [inputs]
    for weight, bias in stack[:-1]:
        hidden = torch.addmm(bias, weight, activations[-1])  # (out, points)
        activations.append(F.leaky_relu(hidden, slope, inplace=True))
    weight, bias = stack[-1]
    # Stored point by point: a softmax over outputs then runs along memory.
    return activations, torch.addmm(bias.t(), activations[-1].t(), weight.t()).t()


def backward(stack: Sequence[Layer], activations: Sequence[Tensor], grad: Tensor, slope: float) -> Tensor:
    """Flat gradient of the parameters, from the gradient of the outputs (out, points)."""
    parts = []
    for index in range(len(stack) - 1, -1, -1):
        inputs = activations[index]  # (in, points)
        # The product whose left side lies along memory: of the outputs' gradient the other is six times slower.
        by_point = grad.stride(0) == 1
        product = torch.mm(inputs, grad.t()).t() if by_point else torch.mm(grad, inputs.t())
        parts += [grad.sum(1), product.reshape(-1)]
        if index:
            # LeakyReLU keeps the sign, so its result tells its derivative.
            grad = torch.ops.aten.leaky_relu_backward(torch.mm(stack[index][0].t(), grad), inputs, slope, True)
    return torch.cat(parts[::-1])


def squared_error(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squared error and its gradient with respect to the outputs; both (out, points)."""
    difference = outputs - targets
    return difference.square().mean(), difference * (2.0 / difference.numel())


def cross_entropy(logits: Tensor, parameters: Tensor, code: CodeLength) -> tuple[Tensor, Tensor, Tensor]:
    """Binned cross-entropy of parameters (P,) under logits (bins, P).

    Returns the mean loss in nats, its gradient with respect to the logits and with respect to the parameters.
    Source: `kernels/README.md`, "Binned cross-entropy".
    """
    bins, count = logits.shape
    span = code.high - code.low
    center = (parameters.clamp(code.low, code.high) - code.low) / span * (bins - 1)  # (P,)
    window = min(WINDOW, bins)
    first = (center.floor().long() - (window // 2 - 1)).clamp_(0, bins - window)
    index = first + torch.arange(window, device=logits.device)[:, None]  # (window, P)
    offset = index - center
    target = torch.softmax(offset.abs().div_(-TEMPERATURE), 0)
    near = logits.gather(0, index)
    expected = (target * near).sum(0)  # (P,)

    rows = logits.t()  # a parameter's logits side by side, as `forward` stores them
    probability = torch.softmax(rows, 1)
    log_total = rows.amax(1) - probability.amax(1).log_()
    loss = (log_total - expected).mean()

    pull = near.sub_(expected).mul_(offset.sign_()).mul_(target).sum(0)
    grad_center = pull.mul_(-1.0 / (TEMPERATURE * count))
    grad_logits = probability.t().scatter_add_(0, index, target.neg_()).mul_(1.0 / count)
    inside = (parameters >= code.low) & (parameters <= code.high)
    return loss, grad_logits, grad_center.mul_((bins - 1) / span).mul_(inside)


def mean_squared_code(outputs: Tensor, parameters: Tensor, code: CodeLength) -> tuple[Tensor, Tensor, Tensor]:
    """Squared error of predicted values (1, P); returns as `cross_entropy` does."""
    loss, grad = squared_error(outputs, parameters[None])
    return loss, grad, -grad[0]


def gaussian_nll(outputs: Tensor, parameters: Tensor, code: CodeLength) -> tuple[Tensor, Tensor, Tensor]:
    """Gaussian negative log-likelihood, outputs (2, P) mean and log variance; returns as `cross_entropy` does."""
    mean, log_variance = outputs
    error = parameters - mean
    precision = (-log_variance).exp()
    scaled = error.square() * precision
    half = 0.5 / error.numel()
    loss = (log_variance + scaled + math.log(2.0 * math.pi)).sum() * half
    grad_error = error * precision * (2 * half)
    return loss, torch.stack((-grad_error, (1.0 - scaled) * half)), grad_error


def laplacian_nll(outputs: Tensor, parameters: Tensor, code: CodeLength) -> tuple[Tensor, Tensor, Tensor]:
    """Laplacian negative log-likelihood, outputs (2, P) location and log scale; returns as `cross_entropy` does."""
    location, log_scale = outputs
    error = parameters - location
    precision = (-log_scale).exp()
    scaled = error.abs() * precision
    share = 1.0 / error.numel()
    loss = (log_scale + scaled + math.log(2.0)).sum() * share
    grad_error = error.sign() * precision * share
    return loss, torch.stack((-grad_error, (1.0 - scaled) * share)), grad_error


CODE_LOSS: dict[str, Callable[[Tensor, Tensor, CodeLength], tuple[Tensor, Tensor, Tensor]]] = {
    "cross_entropy": cross_entropy,
    "mse": mean_squared_code,
    "gaussian_nll": gaussian_nll,
    "laplacian_nll": laplacian_nll,
}


def task_gradient(stack: Sequence[Layer], inputs: Tensor, targets: Tensor, slope: float) -> tuple[Tensor, Tensor]:
    """Task loss and the flat gradient of the network's parameters on a batch (2, points), (out, points)."""
    activations, outputs = forward(stack, inputs, slope)
    loss, grad = squared_error(outputs, targets)
    return loss, backward(stack, activations, grad, slope)


def code_gradient(
    parameters: Tensor, stack: Sequence[Layer], positions: Tensor, code: CodeLength
) -> tuple[Tensor, Tensor, Tensor]:
    """Kolmogorov loss of parameters (P,) at positions (3, P), under a predictor of layers `stack`.

    Returns the unweighted loss, and its weighted gradients: of the parameters, and of the predictor's.
    """
    activations, outputs = forward(stack, positions, code.predictor.slope)
    loss, grad_outputs, grad_parameters = CODE_LOSS[code.loss](outputs, parameters, code)
    grad_predictor = backward(stack, activations, grad_outputs.mul_(code.weight), code.predictor.slope)
    return loss, grad_parameters.mul_(code.weight), grad_predictor


def gradient(
    parameters: Tensor,
    stack: Sequence[Layer],
    predictor: Sequence[Layer] | None,
    positions: Tensor | None,
    inputs: Tensor,
    targets: Tensor,
    slope: float,
    code: CodeLength | None,
) -> tuple[list[Tensor], Tensor, Tensor | None]:
    """Losses, task alone or task and unweighted Kolmogorov, and the gradients of their weighted sum.

    The gradients are flat: of the network's parameters, whose views are `stack`, and of the predictor's, or None.
    """
    task, grad = task_gradient(stack, inputs, targets, slope)
    if code is None or predictor is None or positions is None:
        return [task], grad, None
    loss, grad_parameters, grad_predictor = code_gradient(parameters, predictor, positions, code)
    return [task, loss], grad.add_(grad_parameters), grad_predictor


def update(
    optimizer: Optimizer, parameters: Tensor, gradient: Tensor, moments: Tensor, scalars: Sequence[Scalar]
) -> None:
    """One optimiser step in place, with `torch.optim`'s arithmetic; moments are (count, P).

    `scalars` are `Optimizer.scalars` of this step, as numbers or as tensors of no dimension.
    Source: `torch.optim`'s single-tensor algorithms.
    """
    rate = optimizer.learning_rate
    if optimizer.kind == "adam":
        step_size, divisor = scalars
        first, second = moments
        first.lerp_(gradient, 1.0 - ADAM_BETAS[0])
        second.mul_(ADAM_BETAS[1]).addcmul_(gradient, gradient, value=1.0 - ADAM_BETAS[1])
        root = second.sqrt().div_(divisor).add_(EPSILON)
        parameters.sub_(first.mul(step_size).div_(root))
    elif optimizer.kind == "rmsprop":
        moments.mul_(RMSPROP_ALPHA).addcmul_(gradient, gradient, value=1.0 - RMSPROP_ALPHA)
        parameters.addcdiv_(gradient, moments[0].sqrt().add_(EPSILON), value=-rate)
    elif optimizer.kind == "sgd_momentum":
        moments.mul_(optimizer.momentum).add_(gradient)
        parameters.add_(moments[0], alpha=-rate)
    elif optimizer.kind == "sgd":
        parameters.add_(gradient, alpha=-rate)
    else:
        raise ValueError(f"no optimiser is called {optimizer.kind!r}")


def evaluate(stack: Sequence[Layer], coefficients: Tensor, inputs: Tensor, slope: float) -> tuple[Tensor, Tensor]:
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
        hidden = F.leaky_relu(hidden, slope, inplace=True)
    weight, bias = stack[-1]
    high, low = sums.long()
    return torch.addmm(bias, weight, hidden), (high << 16) + low
