"""The optimisers, on a segment of the flat vectors: sums the partial gradients in a fixed order, then one step.

Source: `torch.optim`'s single-tensor algorithms.
"""

import math

import numpy as np

from draw_poly.kernels.compiled import numbered, part
from draw_poly.kernels.spec import ADAM_BETAS, EPSILON, OPTIMIZERS, RMSPROP_ALPHA

KINDS = numbered(OPTIMIZERS)
SEGMENT = 2048  # parameters: a task of a thread, small enough to stay in cache from the sums to the step
# In double precision, as torch does; then of the vectors' own.
FIRST, REST_OF_FIRST = np.float32(ADAM_BETAS[0]), np.float32(1.0 - ADAM_BETAS[0])
SECOND, REST_OF_SECOND = np.float32(ADAM_BETAS[1]), np.float32(1.0 - ADAM_BETAS[1])
ALPHA, REST_OF_ALPHA = np.float32(RMSPROP_ALPHA), np.float32(1.0 - RMSPROP_ALPHA)
TINY = np.float32(EPSILON)


@part
def add_up_rows(rows, used, scale, addition, share, total, begin, end):  # type: ignore[no-untyped-def]
    """Writes `scale` times the sum of the first `used` rows, and `share` of the addition if any, from begin to end.

    On slices, whose indices are seen not to be negative: else each one is looked at, and nothing is vectorised.
    """
    total = total[begin:end]
    first = rows[0, begin:end]
    for index in range(len(total)):  # arrays assigned whole take the compiler seconds
        total[index] = first[index]
    for row in range(1, used):
        partial = rows[row, begin:end]
        for index in range(len(total)):
            total[index] += partial[index]
    for index in range(len(total)):
        total[index] *= scale
    if len(addition):
        addition = addition[begin:end]
        for index in range(len(total)):
            total[index] += share * addition[index]


@part
def step(kind, step_size, other, parameters, gradient, moments, begin, end):  # type: ignore[no-untyped-def]
    """One step in place, from begin to end, of the optimiser of this number among `KINDS`; moments are (count, P).

    `step_size` and `other` are `Optimizer.scalars`.
    """
    parameters, gradient = parameters[begin:end], gradient[begin:end]
    count = len(parameters)
    if kind == KINDS.adam:
        firsts, seconds = moments[0, begin:end], moments[1, begin:end]
        for index in range(count):
            slope = gradient[index]
            first = firsts[index]
            first += REST_OF_FIRST * (slope - first)
            second = seconds[index] * SECOND + REST_OF_SECOND * slope * slope
            firsts[index], seconds[index] = first, second
            parameters[index] -= first * step_size / (math.sqrt(second) / other + TINY)
    elif kind == KINDS.rmsprop:
        seconds = moments[0, begin:end]
        for index in range(count):
            slope = gradient[index]
            second = seconds[index] * ALPHA + REST_OF_ALPHA * slope * slope
            seconds[index] = second
            parameters[index] -= step_size * (slope / (math.sqrt(second) + TINY))
    elif kind == KINDS.sgd_momentum:
        velocities = moments[0, begin:end]
        for index in range(count):
            velocity = velocities[index] * other + gradient[index]
            velocities[index] = velocity
            parameters[index] -= step_size * velocity
    elif kind == KINDS.sgd:
        for index in range(count):
            parameters[index] -= step_size * gradient[index]
