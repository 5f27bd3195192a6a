"""The Kolmogorov term: a tile of parameters through the predictor, its loss and back, logits never in memory."""

import triton
import triton.language as tl

from draw_poly.kernels.gpu.layers import accumulate, backward, dense, dense_backward, forward
from draw_poly.kernels.reference import TEMPERATURE

SHARPNESS = tl.constexpr(1.0 / TEMPERATURE)
LOG_TWO = tl.constexpr(0.6931471805599453)
LOG_TWO_PI = tl.constexpr(1.8378770664093453)


@triton.jit
def kolmogorov_gradient(
    program, p_theta, p_phi, p_table, p_scratch, p_rows, p_losses, p_positions, p_to_theta, programs, count, size,
    share, low, high, span, BINS: tl.constexpr, BLOCK: tl.constexpr, LOSS: tl.constexpr, ADD: tl.constexpr,
    SCRATCH: tl.constexpr, PLAN: tl.constexpr,
):  # fmt: skip
    """A program's tiles: its row of the predictor's partial gradient, its sum of losses, its parameters' gradients.

    `count` parameters of the network, `size` of the predictor; every gradient is multiplied by `share`.
    """
    T: tl.constexpr = PLAN.tile
    LAST: tl.constexpr = len(PLAN.dims) - 2
    p_row = p_rows + program.to(tl.int64) * size
    p_scratch += program.to(tl.int64) * SCRATCH
    o_w = tl.arange(0, PLAN.width)
    total = tl.zeros([T], tl.float32)
    for tile in range(program, tl.cdiv(count, PLAN.tile), programs):
        o_p = tile * PLAN.tile + tl.arange(0, PLAN.tile)
        live = o_p < count
        values = tl.load(p_theta + o_p, mask=live, other=0.0)
        known = (o_w[:, None] < PLAN.dims[0]) & live[None, :]
        positions = tl.load(p_positions + o_w[:, None] * count + o_p[None, :], mask=known, other=0.0)
        kept, hidden = forward(p_phi, p_table, p_scratch, positions, live, PLAN)
        add = tile != program
        if LOSS == "cross_entropy":
            loss, to_values, grad = cross_entropy(
                p_phi, p_row, hidden, values, live, low, high, span, share, add, BINS, BLOCK, ADD, PLAN
            )
        else:
            outputs = dense(p_phi, PLAN.offsets[LAST], PLAN.dims[LAST], PLAN.dims[LAST + 1], hidden, live, PLAN)
            first = tl.sum(tl.where(o_w[:, None] == 0, outputs, 0.0), 0)  # [T]
            second = tl.sum(tl.where(o_w[:, None] == 1, outputs, 0.0), 0)
            loss, to_values, to_first, to_second = score(values, first, second, LOSS)
            grad = tl.where(o_w[:, None] == 0, to_first[None, :], tl.where(o_w[:, None] == 1, to_second[None, :], 0.0))
            grad = tl.where(live[None, :], grad * share, 0.0)
            grad = dense_backward(
                p_phi, p_row, PLAN.offsets[LAST], PLAN.dims[LAST], PLAN.dims[LAST + 1], grad, hidden, live, add,
                ADD, PLAN,
            )  # fmt: skip
        backward(p_phi, p_row, p_table, p_scratch, kept, hidden, grad, live, add, ADD, PLAN)
        tl.store(p_to_theta + o_p, to_values * share, mask=live)
        total += tl.where(live, loss, 0.0)
        if ADD:
            tl.debug_barrier()  # the next tile adds to what any thread stored
    tl.store(p_losses + program, tl.sum(total, 0))


@triton.jit
def score(values, first, second, LOSS: tl.constexpr):
    """Loss of each value [T] under the predictor's one or two outputs; its gradients by value and outputs.

    Source: `kernels/README.md`, "The other code lengths".
    """
    error = values - first
    zero = tl.zeros_like(error)
    if LOSS == "mse":
        return error * error, 2.0 * error, -2.0 * error, zero
    precision = tl.exp(-second)
    if LOSS == "gaussian_nll":
        scaled = error * error * precision
        pull = error * precision
        return 0.5 * (second + scaled + LOG_TWO_PI), pull, -pull, 0.5 - 0.5 * scaled
    scaled = tl.abs(error) * precision  # laplacian_nll
    pull = tl.where(error > 0, precision, tl.where(error < 0, -precision, error))
    return second + scaled + LOG_TWO, pull, -pull, 1.0 - scaled


@triton.jit
def cross_entropy(
    p_phi, p_row, hidden, values, live, low, high, span, share, add, BINS: tl.constexpr, BLOCK: tl.constexpr,
    ADD: tl.constexpr, PLAN: tl.constexpr,
):  # fmt: skip
    """Binned cross-entropy of values [T] from the predictor's last activation [W, T], a block of bins at a time.

    Returns losses [T], their gradients by value [T] and, times `share`, by activation [W, T]; stores the output
    layer's. Two passes make the logits twice rather than keep them: one for their sums, one for gradients.
    Source: `kernels/README.md`, "Binned cross-entropy".
    """
    W: tl.constexpr = PLAN.width
    T: tl.constexpr = PLAN.tile
    clipped = tl.where(values < low, low, tl.where(values > high, high, values))  # a NaN stays one
    center = tl.div_rn(clipped - low, span) * (BINS - 1)
    whole = tl.minimum(tl.floor(center), BINS - 2)
    # The nearest bin's distance, taken off every exponent, keeps their sum above one.
    near = tl.minimum(center - whole, tl.abs(whole + 1 - center))  # the range's end may round past the last bin

    highest = tl.full([T], -float("inf"), tl.float32)
    total, targets, expected = tl.zeros_like(center), tl.zeros_like(center), tl.zeros_like(center)
    for start in range(0, BINS, BLOCK):
        logits, inside, weight = bins_of(p_phi, hidden, start, BINS, BLOCK, PLAN)  # [BLOCK, T]
        top = tl.maximum(highest, tl.max(tl.where(inside, logits, -float("inf")), 0))
        base = tl.where(top == -float("inf"), 0.0, top)  # no logit so far that counts
        parts = tl.where(inside, tl.exp(logits - base[None, :]), 0.0)
        total = total * tl.exp(highest - base) + tl.sum(parts, 0)
        highest = top
        target, side = soft_target(center, near, start, inside, BLOCK)
        targets += tl.sum(target, 0)
        expected += tl.sum(target * logits, 0)
    expected = tl.div_rn(expected, targets)
    log_total = highest + tl.log(total)

    LAST: tl.constexpr = len(PLAN.dims) - 2
    o_w = tl.arange(0, PLAN.width)
    pull = tl.zeros_like(center)
    grad = tl.zeros([W, T], tl.float32)
    for start in range(0, BINS, BLOCK):
        logits, inside, weight = bins_of(p_phi, hidden, start, BINS, BLOCK, PLAN)
        target, side = soft_target(center, near, start, inside, BLOCK)
        target = tl.div_rn(target, tl.broadcast_to(targets[None, :], target.shape))
        pull += tl.sum(target * side * (logits - expected[None, :]), 0)
        probability = tl.where(inside, tl.exp(logits - log_total[None, :]), 0.0)
        to_logits = tl.where(inside & live[None, :], (probability - target) * share, 0.0)
        o_b = start + tl.arange(0, BLOCK)
        o_weight = o_b[:, None] * PLAN.dims[LAST] + o_w[None, :]
        to_weight = tl.dot(to_logits, tl.trans(hidden), input_precision=PLAN.precision)  # [BLOCK, W]
        stored = (o_b[:, None] < BINS) & (o_w[None, :] < PLAN.dims[LAST])
        accumulate(p_row + PLAN.offsets[LAST] + o_weight, to_weight, stored, add, ADD)
        p_bias = p_row + PLAN.offsets[LAST] + BINS * PLAN.dims[LAST] + o_b
        accumulate(p_bias, tl.sum(to_logits, 1), o_b < BINS, add, ADD)
        grad += tl.dot(tl.trans(weight), to_logits, input_precision=PLAN.precision)
    grad = tl.where((o_w < PLAN.dims[LAST])[:, None] & live[None, :], grad, 0.0)
    within = (values >= low) & (values <= high)
    to_values = tl.where(within, tl.div_rn(pull, span) * ((1 - BINS) * SHARPNESS), 0.0)
    return log_total - expected, to_values, grad


@triton.jit
def bins_of(p_phi, hidden, start, BINS: tl.constexpr, BLOCK: tl.constexpr, PLAN: tl.constexpr):
    """Logits [BLOCK, T] from bin `start` on, which of them are bins [BLOCK, 1], and their weights [BLOCK, W]."""
    LAST: tl.constexpr = len(PLAN.dims) - 2
    o_b, o_w = start + tl.arange(0, BLOCK), tl.arange(0, PLAN.width)
    inside = o_b < BINS
    p_layer = p_phi + PLAN.offsets[LAST]
    known = inside[:, None] & (o_w[None, :] < PLAN.dims[LAST])
    weight = tl.load(p_layer + o_b[:, None] * PLAN.dims[LAST] + o_w[None, :], mask=known, other=0.0)
    bias = tl.load(p_layer + BINS * PLAN.dims[LAST] + o_b, mask=inside, other=0.0)
    logits = tl.dot(weight, hidden, input_precision=PLAN.precision) + bias[:, None]
    return tl.where(inside[:, None], logits, 0.0), inside[:, None], weight


@triton.jit
def soft_target(center, near, start, inside, BLOCK: tl.constexpr):
    """Soft target [BLOCK, T] of the bins from `start` on, before it is divided by its sum; the side each bin is on."""
    distance = (start + tl.arange(0, BLOCK))[:, None] - center[None, :]
    target = tl.exp((near[None, :] - tl.abs(distance)) * SHARPNESS)
    side = tl.where(distance > 0, 1.0, tl.where(distance < 0, -1.0, 0.0))
    return tl.where(inside, target, 0.0), side
