"""An optimiser's step on a block of parameters, and what a clipped gradient is scaled by."""

import triton
import triton.language as tl

from draw_poly.kernels.spec import ADAM_BETAS, LION_BETAS, RMSPROP_ALPHA
from draw_poly.kernels.spec import optimizer as places

FIRST_BETA, SECOND_BETA = tl.constexpr(ADAM_BETAS[0]), tl.constexpr(ADAM_BETAS[1])
LION_BETA, MEAN_BETA = tl.constexpr(LION_BETAS[0]), tl.constexpr(LION_BETAS[1])
ALPHA = tl.constexpr(RMSPROP_ALPHA)
# Where a step's scalars stand.
RATE, OTHER_RATE = tl.constexpr(places.RATE), tl.constexpr(places.OTHER_RATE)
DIVISOR, MOMENTUM, TINY = tl.constexpr(places.DIVISOR), tl.constexpr(places.MOMENTUM), tl.constexpr(places.TINY)
DECAY, KEPT = tl.constexpr(places.DECAY), tl.constexpr(places.KEPT)
MOST_NORM, TO_NORM = tl.constexpr(places.MOST_NORM), tl.constexpr(places.NORM_EPSILON)


@triton.jit
def sum_losses(p_losses, rows, BLOCK: tl.constexpr):
    """The sum of the programs' losses."""
    total = tl.zeros([BLOCK], tl.float32)
    for start in range(0, rows, BLOCK):
        o_r = start + tl.arange(0, BLOCK)
        total += tl.load(p_losses + o_r, mask=o_r < rows, other=0.0)
    return tl.sum(total, 0)


@triton.jit
def clipped(p_squares, blocks, most, BLOCK: tl.constexpr):
    """What a gradient is scaled by, of whose blocks these are the squared norms, so that its norm is `most` at most.

    Source: `torch.nn.utils.clip_grad_norm_`.
    """
    norm = tl.sqrt_rn(sum_losses(p_squares, blocks, BLOCK))
    return tl.minimum(tl.div_rn(most, norm + TO_NORM), 1.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def step(p_parameters, p_moments, gradient, size, p_scalars, o_p, live, FORM: tl.constexpr):
    """An optimiser's step on one block, with `torch.optim`'s arithmetic; the gradient itself if there is none."""
    if FORM.kind == "muon":  # whose kernel is another one
        return
    if FORM.kind == "none":
        tl.store(p_parameters + o_p, gradient, mask=live)
    else:
        descend(p_parameters, p_moments, gradient, size, p_scalars, o_p, live, FORM.kind, FORM.maximum)


@triton.jit
def descend(p_parameters, p_moments, gradient, size, p_scalars, o_p, live, KIND: tl.constexpr, MAXIMUM: tl.constexpr):
    """The step; `p_scalars` are `Optimizer.scalars`."""
    step_size, epsilon = tl.load(p_scalars + RATE), tl.load(p_scalars + TINY)
    decay, kept = tl.load(p_scalars + DECAY), tl.load(p_scalars + KEPT)
    parameters = tl.load(p_parameters + o_p, mask=live)
    if decay != 0:
        gradient += decay * parameters
    parameters *= kept
    if KIND == "adam" or KIND == "adamw" or KIND == "nadam":
        divisor = tl.load(p_scalars + DIVISOR)
        first = tl.load(p_moments + o_p, mask=live)
        second = tl.load(p_moments + size + o_p, mask=live)
        first += (1.0 - FIRST_BETA) * (gradient - first)
        second = second * SECOND_BETA + (1.0 - SECOND_BETA) * gradient * gradient
        tl.store(p_moments + o_p, first, mask=live)
        tl.store(p_moments + size + o_p, second, mask=live)
        if MAXIMUM:
            greatest = tl.load(p_moments + 2 * size + o_p, mask=live)
            second = tl.maximum(greatest, second, propagate_nan=tl.PropagateNan.ALL)
            tl.store(p_moments + 2 * size + o_p, second, mask=live)
        if KIND == "nadam":
            root = tl.sqrt_rn(tl.div_rn(second, divisor)) + epsilon
            parameters -= tl.div_rn(step_size * gradient, root)
            parameters -= tl.div_rn(tl.load(p_scalars + OTHER_RATE) * first, root)
        else:
            parameters -= tl.div_rn(first * step_size, tl.div_rn(tl.sqrt_rn(second), divisor) + epsilon)
    elif KIND == "lion":
        mean = tl.load(p_moments + o_p, mask=live)
        direction = mean + (1.0 - LION_BETA) * (gradient - mean)
        tl.store(p_moments + o_p, mean + (1.0 - MEAN_BETA) * (gradient - mean), mask=live)
        parameters -= step_size * tl.where(direction > 0, 1.0, tl.where(direction < 0, -1.0, direction))
    elif KIND == "rmsprop":
        square = tl.load(p_moments + o_p, mask=live)
        square = square * ALPHA + (1.0 - ALPHA) * gradient * gradient
        tl.store(p_moments + o_p, square, mask=live)
        parameters -= step_size * tl.div_rn(gradient, tl.sqrt_rn(square) + epsilon)
    elif KIND == "sgd_momentum":
        momentum = tl.load(p_scalars + MOMENTUM)
        velocity = tl.load(p_moments + o_p, mask=live) * momentum + gradient
        tl.store(p_moments + o_p, velocity, mask=live)
        parameters -= step_size * velocity
    else:
        tl.static_assert(KIND == "sgd")
        parameters -= step_size * gradient
    tl.store(p_parameters + o_p, parameters, mask=live)
