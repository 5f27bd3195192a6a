"""What every kernel means, in plain PyTorch: any floating dtype, any device, gradients written by hand.

Coordinates are feature-major, shape (2, points), so a layer is `W @ h`. Parameters, gradients and moments are flat
vectors in the order of `kernels.spec.Network`. All of this is of one network; `kernels.population` is of several. The
derivations are in `kernels/README.md`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from draw_poly.kernels.spec import ADAM_BETAS, EPSILON, RMSPROP_ALPHA, Activation, CodeLength, Network, Optimizer

Layer = tuple[Tensor, Tensor]  # weight (out, in), bias (out, 1)
Scalar = float | Tensor

TEMPERATURE = 0.1
# Bins further than 5 from c weigh below exp(-45) of the nearest: nothing, even in float64.
WINDOW = 10
# Sums of 256 halves of 16 bits are exact in float32.
EXACT_NEURONS = 256
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
    raise ValueError(f"the reference does not know the activation {activation.name}")


def activation_backward(grad: Tensor, result: Tensor, activation: Activation) -> Tensor:
    """The gradient of what an activation was given, from that of its result and the result itself.

    Raises ValueError for an activation that the reference does not know.
    """
    if activation.name == "leaky_relu":
        before: Tensor = LEAKY_RELU_BACKWARD(grad, result, activation.slope, True)
        return before
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


def squared_error(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squared error and its gradient with respect to the outputs; both (out, points)."""
    difference = outputs - targets
    return difference.square().mean(), difference * (2.0 / difference.numel())


def cross_entropy(logits: Tensor, parameters: Tensor, code: CodeLength) -> tuple[Tensor, Tensor, Tensor]:
    """Binned cross-entropy of parameters (P,) under logits (bins, P).

    Returns the sum of losses in nats, its gradient with respect to the logits and with respect to the parameters.
    Source: `kernels/README.md`, "Binned cross-entropy".
    """
    bins = logits.shape[0]
    span = code.high - code.low
    center = (parameters.clamp(code.low, code.high) - code.low) / span * (bins - 1)  # (P,)
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
    outside = ~((parameters >= code.low) & (parameters <= code.high))
    grad_parameters = pull.mul_((1 - bins) / (TEMPERATURE * span)).masked_fill_(outside, 0.0)
    grad_logits = probability.scatter_add_(1, index, target.neg_()).add_((center - center)[:, None])  # NaN in all bins
    return loss, grad_logits.t(), grad_parameters


def squared_code(outputs: Tensor, parameters: Tensor, code: CodeLength) -> tuple[Tensor, Tensor, Tensor]:
    """Squared error of predicted values (1, P); returns as `cross_entropy` does."""
    error = outputs - parameters
    return error.square().sum(), 2.0 * error, -2.0 * error[0]


def gaussian_nll(outputs: Tensor, parameters: Tensor, code: CodeLength) -> tuple[Tensor, Tensor, Tensor]:
    """Gaussian negative log-likelihood, outputs (2, P) mean and log variance; returns as `cross_entropy` does."""
    mean, log_variance = outputs
    error = parameters - mean
    precision = (-log_variance).exp()
    scaled = error.square() * precision
    loss = 0.5 * (log_variance + scaled + math.log(2.0 * math.pi)).sum()
    pull = error * precision
    return loss, torch.stack((-pull, 0.5 - 0.5 * scaled)), pull


def laplacian_nll(outputs: Tensor, parameters: Tensor, code: CodeLength) -> tuple[Tensor, Tensor, Tensor]:
    """Laplacian negative log-likelihood, outputs (2, P) location and log scale; returns as `cross_entropy` does."""
    location, log_scale = outputs
    error = parameters - location
    precision = (-log_scale).exp()
    scaled = error.abs() * precision
    loss = (log_scale + scaled + math.log(2.0)).sum()
    pull = error.sign() * precision
    return loss, torch.stack((-pull, 1.0 - scaled)), pull


CODE_LOSS: dict[str, Callable[[Tensor, Tensor, CodeLength], tuple[Tensor, Tensor, Tensor]]] = {
    "cross_entropy": cross_entropy,
    "mse": squared_code,
    "gaussian_nll": gaussian_nll,
    "laplacian_nll": laplacian_nll,
}


def task_gradient(
    stack: Sequence[Layer],
    inputs: Tensor,
    targets: Tensor,
    activation: Activation,
    out: Sequence[Layer],
    memory: Memory | None = None,
) -> Tensor:
    """Task loss on a batch (2, points), (out, points); writes the gradient of each layer into `out`."""
    activations, outputs = forward(stack, inputs, activation, memory)
    loss, grad = squared_error(outputs, targets)
    backward(stack, activations, grad, activation, out, memory)
    return loss


def code_gradient(
    parameters: Tensor, stack: Sequence[Layer], positions: Tensor, code: CodeLength, out: Sequence[Layer]
) -> tuple[Tensor, Tensor]:
    """Kolmogorov loss of parameters (P,) at positions (3, P), under a predictor of layers `stack`.

    Returns the sum of losses and its gradient with respect to the parameters, and writes that of the predictor's layers
    into `out`. The term is their mean; to divide by P is left to where the gradients are added up.
    """
    activations, outputs = forward(stack, positions, code.predictor.activation)
    loss, grad_outputs, grad_parameters = CODE_LOSS[code.loss](outputs, parameters, code)
    backward(stack, activations, grad_outputs, code.predictor.activation, out)
    return loss, grad_parameters


def differentiate(
    network: Network,
    code: CodeLength | None,
    stacks: Sequence[Sequence[Layer]],
    parameters: Tensor,
    positions: Tensor | None,
    inputs: Tensor,
    targets: Tensor,
    out: Sequence[Sequence[Layer]],
    memory: Memory | None = None,
) -> tuple[list[Tensor], Tensor | None]:
    """The losses of a batch, and the term's gradient of the parameters (P,); writes the other gradients into `out`.

    `stacks` and `out` are those of the network and, with a term, of the predictor.
    """
    losses = [task_gradient(stacks[0], inputs, targets, network.activation, out[0], memory)]
    if code is None or positions is None:
        return losses, None
    total, addition = code_gradient(parameters, stacks[1], positions, code, out[1])
    return [*losses, total * (1.0 / network.size)], addition


def weigh(share: Scalar, gradients: Sequence[Tensor], addition: Tensor | None) -> None:
    """Makes the two losses' gradients (P,) that of their weighted sum, in place.

    `share` is the term's weight over P, a number or a tensor of no dimension.
    """
    if addition is None:
        return
    if isinstance(share, Tensor):
        gradients[0].add_(addition * share)
    else:
        gradients[0].add_(addition, alpha=share)
    gradients[1].mul_(share)


def update(
    optimizer: Optimizer, parameters: Tensor, gradient: Tensor, moments: Tensor, scalars: Sequence[Scalar]
) -> None:
    """One optimiser step in place, with `torch.optim`'s arithmetic; moments are (count, P).

    `scalars` are `Optimizer.scalars` of this step, as numbers or as tensors of no dimension.
    Source: `torch.optim`'s single-tensor algorithms.
    """
    step_size, other = scalars
    if optimizer.kind == "adam":
        first, second = moments
        first.lerp_(gradient, 1.0 - ADAM_BETAS[0])
        second.mul_(ADAM_BETAS[1]).addcmul_(gradient, gradient, value=1.0 - ADAM_BETAS[1])
        root = second.sqrt().div_(other).add_(EPSILON)
        _descend(parameters, first, step_size, root)
    elif optimizer.kind == "rmsprop":
        moments.mul_(RMSPROP_ALPHA).addcmul_(gradient, gradient, value=1.0 - RMSPROP_ALPHA)
        _descend(parameters, gradient, step_size, moments[0].sqrt().add_(EPSILON))
    elif optimizer.kind == "sgd_momentum":
        moments.mul_(other).add_(gradient)
        _descend(parameters, moments[0], step_size)
    elif optimizer.kind == "sgd":
        _descend(parameters, gradient, step_size)


def _descend(parameters: Tensor, direction: Tensor, step_size: Scalar, root: Tensor | None = None) -> None:
    """Takes the step along a direction, divided by the root where there is one, off the parameters."""
    if root is None:
        if isinstance(step_size, Tensor):
            parameters.addcmul_(direction, step_size, value=-1.0)  # rounded once, as with a number
        else:
            parameters.add_(direction, alpha=-step_size)
    elif isinstance(step_size, Tensor):
        parameters.sub_(direction.mul(step_size).div_(root))
    else:
        parameters.addcdiv_(direction, root, value=-step_size)


def evaluate(
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


def validate(stack: Sequence[Layer], inputs: Tensor, targets: Tensor, activation: Activation) -> Tensor:
    """Mean squared error, lowest and highest output (3,) at inputs (2, points), targets (out, points)."""
    outputs = forward(stack, inputs, activation)[1]
    return torch.stack(((outputs - targets).square().mean(), *torch.aminmax(outputs)))
