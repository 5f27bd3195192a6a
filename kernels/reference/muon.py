"""Muon: the momentum of each weight matrix, orthogonalised, is its step.

In bfloat16, as `torch.optim.Muon` does it; but what is given in float64 stays so, since it is the truth of others.
"""

import torch
from torch import Tensor

from draw_poly.kernels.reference.network import Scalar, layers
from draw_poly.kernels.spec import Network, Optimizer
from draw_poly.kernels.spec.optimizer import MATRIX_TINY, MOMENTUM, NEWTON_SCHULZ, OTHER_RATE, REST


def orthogonal(matrix: Tensor, steps: int, epsilon: Scalar) -> Tensor:
    """The matrix with all singular values brought near 1, by so many Newton-Schulz iterations.

    It is divided by its norm first, or by `epsilon` where that is larger.
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    found = matrix if matrix.dtype == torch.float64 else matrix.bfloat16()
    found = found.T if tall else found
    found = found / found.norm().clamp(min=epsilon)
    for _ in range(steps):
        gram = found @ found.T
        found = torch.addmm(found, torch.addmm(gram, gram, gram, beta=b, alpha=c), found, beta=a)
    return found.T if tall else found


def descend_matrices(
    optimizer: Optimizer, network: Network, parameters: Tensor, gradient: Tensor, buffer: Tensor, scalars: object
) -> None:
    """The step of each weight matrix within flat vectors (P,), in place; `buffer` is the momentum's."""
    numbers: list[Scalar] = [scalars[place] for place in (OTHER_RATE, MOMENTUM, REST, MATRIX_TINY)]  # type: ignore[index]
    rate, momentum, rest, epsilon = numbers
    each = (layers(flat, network) for flat in (parameters, gradient, buffer))
    for (weight, _), (slope, _), (mean, _) in zip(*each, strict=True):
        mean.lerp_(slope, rest)
        direction = slope.lerp(mean, momentum) if optimizer.muon_nesterov else mean
        found = orthogonal(direction, optimizer.muon_ns_steps, epsilon)
        own = rate * optimizer.rate_of(*weight.shape)
        if isinstance(own, Tensor):
            weight.addcmul_(found.to(weight.dtype), own, value=-1.0)
        else:
            weight.add_(found, alpha=-own)
