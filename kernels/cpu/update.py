"""The optimisers, on a segment of the flat vectors: sums the partial gradients in a fixed order, then one step.

Source: `torch.optim`'s single-tensor algorithms.
"""

import math

import numpy as np

from draw_poly.kernels.compiled import numbered, part
from draw_poly.kernels.spec import ADAM_BETAS, LION_BETAS, OPTIMIZERS, RMSPROP_ALPHA
from draw_poly.kernels.spec.optimizer import DECAY, DIVISOR, KEPT, MOMENTUM, NORM_EPSILON, OTHER_RATE, RATE, TINY

KINDS = numbered(OPTIMIZERS)
SEGMENT = 2048  # parameters: a task of a thread, small enough to stay in cache from the sums to the step
# In double precision, as torch does; then of the vectors' own.
FIRST, REST_OF_FIRST = np.float32(ADAM_BETAS[0]), np.float32(1.0 - ADAM_BETAS[0])
SECOND, REST_OF_SECOND = np.float32(ADAM_BETAS[1]), np.float32(1.0 - ADAM_BETAS[1])
REST_OF_LION, REST_OF_MEAN = np.float32(1.0 - LION_BETAS[0]), np.float32(1.0 - LION_BETAS[1])
ONE = np.float32(1.0)
TO_NORM = np.float32(NORM_EPSILON)
ALPHA, REST_OF_ALPHA = np.float32(RMSPROP_ALPHA), np.float32(1.0 - RMSPROP_ALPHA)


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
def squared_norm(vector):  # type: ignore[no-untyped-def]
    """The sum of the squares of a vector's numbers, in double precision and an order of its own."""
    count = len(vector)
    one = two = three = four = five = six = seven = eight = 0.0
    whole = count // 8 * 8
    for index in range(0, whole, 8):  # sums in flight beside each other
        one += np.float64(vector[index]) ** 2
        two += np.float64(vector[index + 1]) ** 2
        three += np.float64(vector[index + 2]) ** 2
        four += np.float64(vector[index + 3]) ** 2
        five += np.float64(vector[index + 4]) ** 2
        six += np.float64(vector[index + 5]) ** 2
        seven += np.float64(vector[index + 6]) ** 2
        eight += np.float64(vector[index + 7]) ** 2
    for index in range(whole, count):
        one += np.float64(vector[index]) ** 2
    return ((one + two) + (three + four)) + ((five + six) + (seven + eight))


@part
def clip(gradient, squares, most, begin, end):  # type: ignore[no-untyped-def]
    """Scales a segment of a gradient so that the whole has at most this norm; `squares` (segments,) are its parts'.

    Source: `torch.nn.utils.clip_grad_norm_`.
    """
    if most == math.inf:
        return
    total = 0.0
    for segment in range(len(squares)):
        total += squares[segment]
    factor = most / (np.float32(math.sqrt(total)) + TO_NORM)
    if not factor >= 1:  # as of what is no number
        gradient = gradient[begin:end]
        for index in range(len(gradient)):
            gradient[index] *= factor


@part
def step(kind, scalars, parameters, gradient, moments, begin, end):  # type: ignore[no-untyped-def]
    """One step in place, from begin to end, of the optimiser of this number among `KINDS`; moments are (count, P).

    `scalars` are `Optimizer.scalars`. Spoils the gradient.
    """
    parameters, gradient = parameters[begin:end], gradient[begin:end]
    count = len(parameters)
    step_size, epsilon = scalars[RATE], scalars[TINY]
    decay, kept = scalars[DECAY], scalars[KEPT]
    if decay != 0:
        for index in range(count):
            gradient[index] += decay * parameters[index]
    if kept != 1:
        for index in range(count):
            parameters[index] *= kept
    if kind == KINDS.adam or kind == KINDS.adamw or kind == KINDS.nadam:
        divisor, other = scalars[DIVISOR], scalars[OTHER_RATE]
        firsts, seconds = moments[0, begin:end], moments[1, begin:end]
        for index in range(count):
            slope = gradient[index]
            first = firsts[index]
            first += REST_OF_FIRST * (slope - first)
            second = seconds[index] * SECOND + REST_OF_SECOND * slope * slope
            firsts[index], seconds[index] = first, second
        if kind == KINDS.nadam:
            for index in range(count):
                root = math.sqrt(seconds[index] / divisor) + epsilon
                parameters[index] -= step_size * gradient[index] / root
                parameters[index] -= other * firsts[index] / root
            return
        if len(moments) > 2:
            greatest = moments[2, begin:end]
            for index in range(count):
                if not greatest[index] >= seconds[index]:  # as of what is no number
                    greatest[index] = seconds[index]
            seconds = greatest
        for index in range(count):
            parameters[index] -= firsts[index] * step_size / (math.sqrt(seconds[index]) / divisor + epsilon)
    elif kind == KINDS.lion:
        means = moments[0, begin:end]
        for index in range(count):
            slope, mean = gradient[index], means[index]
            direction = mean + REST_OF_LION * (slope - mean)
            means[index] = mean + REST_OF_MEAN * (slope - mean)
            if direction > 0:
                direction = ONE
            elif direction < 0:
                direction = -ONE
            parameters[index] -= step_size * direction
    elif kind == KINDS.rmsprop:
        seconds = moments[0, begin:end]
        for index in range(count):
            slope = gradient[index]
            second = seconds[index] * ALPHA + REST_OF_ALPHA * slope * slope
            seconds[index] = second
            parameters[index] -= step_size * (slope / (math.sqrt(second) + epsilon))
    elif kind == KINDS.sgd_momentum:
        momentum, velocities = scalars[MOMENTUM], moments[0, begin:end]
        for index in range(count):
            velocity = velocities[index] * momentum + gradient[index]
            velocities[index] = velocity
            parameters[index] -= step_size * velocity
    elif kind == KINDS.sgd:
        for index in range(count):
            parameters[index] -= step_size * gradient[index]
