"""The task's losses: outputs scored against targets, with their gradient, and what a validation ranges over."""

import torch
import torch.nn.functional as F
from torch import Tensor

from draw_poly.kernels.spec import Loss

LEAKY_RELU_BACKWARD = torch.ops.aten.leaky_relu_backward.default
SIGMOID_BACKWARD = torch.ops.aten.sigmoid_backward.default


def task_loss(outputs: Tensor, targets: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
    """The mean loss of outputs (k, points) and its gradient by them, given targets (`Loss.targets`, points)."""
    return cross_entropy_of_classes(outputs, targets, loss) if loss.labelled else squared_error(outputs, targets)


def squared_error(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squared error and its gradient with respect to the outputs; both (out, points)."""
    difference = outputs - targets
    return difference.square().mean(), difference * (2.0 / difference.numel())


def cross_entropy_of_classes(outputs: Tensor, targets: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy of logits after their activation (classes, points), of targets (1, points), and its gradient.

    Source: `kernels/README.md`, "Classes".
    """
    logits, labels = finished(outputs, loss), targets.long()
    logarithms = F.log_softmax(logits, 0)
    value = -logarithms.gather(0, labels).mean()
    hits = torch.zeros_like(logits).scatter_(0, labels, 1.0)
    grad = (logarithms.exp() - hits) * (1.0 / labels.shape[1])
    if loss.final == "sigmoid":
        return value, SIGMOID_BACKWARD(grad, logits)
    return value, LEAKY_RELU_BACKWARD(grad, outputs, loss.slope, False)


def finished(outputs: Tensor, loss: Loss) -> Tensor:
    """Outputs after their activation, where they have one. Raises ValueError for one that the reference lacks."""
    if loss.final is None:
        return outputs
    if loss.final == "sigmoid":
        return torch.sigmoid(outputs)
    if loss.final == "leaky_relu":
        return F.leaky_relu(outputs, loss.slope)
    raise ValueError(f"the reference does not know the activation of outputs {loss.final}")


def classes_of(outputs: Tensor, loss: Loss, dim: int = 0) -> Tensor:
    """The class that points are given, int64: the first of the largest outputs, which are the classes in `dim`."""
    return finished(outputs, loss).argmax(dim)


def span(outputs: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
    """The lowest and highest number of the output (k, points) that has the widest range; or of the classes given."""
    rows = classes_of(outputs, loss)[None].to(outputs.dtype) if loss.labelled else outputs
    if len(rows) == 1:
        low, high = torch.aminmax(rows)
        return low, high
    lowest, highest = torch.aminmax(rows, dim=1)
    widest = (highest - lowest).argmax().view(1)
    return lowest.index_select(0, widest)[0], highest.index_select(0, widest)[0]
