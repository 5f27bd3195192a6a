"""The task's losses on a tile of points, in registers; a loss is compiled into a kernel, as an activation is."""

import triton
import triton.language as tl


@triton.jit
def read_targets(p_targets, stride, column, live, PLAN: tl.constexpr):
    """What `score` asks for of points that are `live` [T], at `column` [1, T]: read early, it arrives in time.

    A row of targets for each output, a stride apart, [W, T], or one of classes, [1, T].
    """
    if PLAN.loss == "squared_error":
        o_w = tl.arange(0, PLAN.width)[:, None]
        asked = (o_w < PLAN.dims[len(PLAN.dims) - 1]) & live[None, :]
        targets = tl.load(p_targets + o_w * stride.to(tl.int64) + column, mask=asked, other=0.0)
    else:
        targets = tl.load(p_targets + column, mask=live[None, :], other=0.0)
    return targets


@triton.jit
def score(outputs, targets, live, scale, PLAN: tl.constexpr):
    """Losses [T] of outputs [W, T] and their gradient [W, T], times `scale`; targets are those of `read_targets`.

    `live` [T] are the batch's points.
    """
    tl.static_assert(PLAN.loss == "squared_error" or PLAN.loss == "cross_entropy")
    if PLAN.loss == "squared_error":
        loss, grad = squared_error(outputs, targets, live, scale, PLAN)
    else:
        loss, grad = cross_entropy(outputs, targets, live, scale, PLAN)
    return loss, grad


@triton.jit
def squared_error(outputs, targets, live, scale, PLAN: tl.constexpr):
    """See `score`; targets [W, T]."""
    o_w = tl.arange(0, PLAN.width)[:, None]
    asked = (o_w < PLAN.dims[len(PLAN.dims) - 1]) & live[None, :]
    error = tl.where(asked, outputs - targets, 0.0)
    return tl.sum(error * error, 0), error * scale


@triton.jit
def cross_entropy(outputs, labels, live, scale, PLAN: tl.constexpr):
    """See `score`; a label [1, T] is a class, or its loss is NaN. Source: `kernels/README.md`, "Classes"."""
    o_w = tl.arange(0, PLAN.width)[:, None]
    inside = o_w < PLAN.dims[len(PLAN.dims) - 1]
    logits, derivative = finished(outputs, PLAN)
    top = tl.max(tl.where(inside, logits, -float("inf")), 0)  # may pass a NaN over: the sum has it
    parts = tl.where(inside, tl.exp(logits - top[None, :]), 0.0)
    whole = tl.sum(parts, 0)
    hits = inside & (o_w == labels)
    known = tl.sum(hits.to(tl.float32), 0) > 0
    expected = tl.where(known, tl.sum(tl.where(hits, logits, 0.0), 0), float("nan"))
    loss = tl.where(live, tl.log(whole) + (top - expected), 0.0)
    shares = tl.div_rn(parts, tl.broadcast_to(whole[None, :], parts.shape))
    grad = (shares - tl.where(hits, 1.0, 0.0)) * derivative * scale
    return loss, tl.where(inside & live[None, :], grad, 0.0)


@triton.jit
def finished(outputs, PLAN: tl.constexpr):
    """Outputs after their activation, and the activation's derivative."""
    tl.static_assert(PLAN.final == "sigmoid" or PLAN.final == "leaky_relu")
    if PLAN.final == "sigmoid":
        small = tl.exp(-tl.abs(outputs))
        share = tl.div_rn(tl.full(small.shape, 1.0, tl.float32), 1.0 + small)
        made, derivative = tl.where(outputs > 0, share, small * share), small * share * share
    else:
        made = tl.where(outputs > 0, outputs, PLAN.final_slope * outputs)
        derivative = tl.where(outputs > 0, 1.0, PLAN.final_slope)
    return made, derivative


@triton.jit
def classes_of(outputs, PLAN: tl.constexpr):
    """The class [T] that points are given: the first of the largest outputs [W, T], as a number."""
    OUTPUTS: tl.constexpr = PLAN.dims[len(PLAN.dims) - 1]
    o_w = tl.arange(0, PLAN.width)[:, None]
    logits, _ = finished(outputs, PLAN)
    logits = tl.where(o_w < OUTPUTS, logits, -float("inf"))
    top = tl.max(logits, 0)
    first = tl.min(tl.where((logits == top[None, :]) & (o_w < OUTPUTS), o_w, OUTPUTS), 0)
    return first.to(tl.float32)
