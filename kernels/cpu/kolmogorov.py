"""The Kolmogorov term on a block of parameters: how badly the predictor's outputs there predict them.

Each loss replaces the outputs in the block by the gradient of its sum, writes the gradient of the parameters
themselves, and returns the sum. Source of the formulas: `kernels/README.md`, "Binned cross-entropy" and "The other code
lengths".
"""

import math

import numpy as np

from draw_poly.kernels.compiled import numbered, part
from draw_poly.kernels.cpu.runtime.exponential import exp
from draw_poly.kernels.cpu.runtime.vector import (
    LANES,
    floor,
    fma,
    larger,
    load,
    load_lanes,
    splat,
    store,
    subtract_lanes,
    where_positive,
)
from draw_poly.kernels.reference import TEMPERATURE, WINDOW
from draw_poly.kernels.spec import KOLMOGOROV_LOSSES

LOSSES = numbered(KOLMOGOROV_LOSSES)
# Vectors that the cross-entropy notes of a panel: clipped parameter, sum of exponentials, largest logit less the
# expected one, gradient by c; then the logits of the window, and the target there.
VALUE, WHOLE, REST, PULL, NEAR = (LANES * index for index in range(5))
TARGET = NEAR + LANES * WINDOW
NOTES = TARGET + LANES * WINDOW
BLOCK = 64  # bins that are summed at once: one running sum over thousands would lose digits
LOG_2, LOG_2_PI = math.log(2.0), math.log(2.0 * math.pi)
ONE = np.float32(1.0)


@part
def term_loss(  # type: ignore[no-untyped-def]
    kind, bins, low, high, span, parameters, first, count, block, start, stride, notes, gradient
):
    """The loss `kind` (among `LOSSES`) of parameters `first` to `first + count`, outputs at a place in the block."""
    total = 0.0
    for done in range(0, count, LANES):
        lanes = min(LANES, count - done)
        at = start + done // LANES * stride
        if kind == LOSSES.cross_entropy:
            total += _cross_entropy(bins, low, high, span, parameters, first + done, lanes, block, at, notes, gradient)
        else:
            total += _likelihood(kind, parameters, first + done, lanes, block, at, gradient)
    return total


@part
def _cross_entropy(bins, low, high, span, parameters, first, lanes, block, at, notes, gradient):  # type: ignore[no-untyped-def]
    """Binned cross-entropy of the parameters of one panel."""
    window = min(WINDOW, bins)
    zero = splat(np.float32(0.0))
    for lane in range(LANES):
        notes[VALUE + lane] = within(parameters[first + min(lane, lanes - 1)], low, high)
    center = (load(notes, VALUE) - splat(low)) / splat(span) * splat(np.float32(bins - 1))
    window_start = larger(floor(center) - splat(np.float32(window // 2 - 1)), zero)  # also where it is no number
    window_start = zero - larger(zero - window_start, splat(-np.float32(bins - window)))
    for index in range(window):
        store(notes, NEAR + index * LANES, load_lanes(block, at + index * LANES, window_start))
    offset = window_start - center
    norm = zero
    for index in range(window):
        distance = offset + splat(np.float32(index))
        weight = exp(larger(distance, zero - distance) * splat(np.float32(-1.0 / TEMPERATURE)))
        store(notes, TARGET + index * LANES, weight)
        norm = norm + weight
    top, spoilt = _extremes(bins, block, at)
    expected = spoilt
    for index in range(window):
        weight = load(notes, TARGET + index * LANES) / norm
        store(notes, TARGET + index * LANES, weight)
        expected = fma(weight, load(notes, NEAR + index * LANES), expected)
    pull = zero
    for index in range(window):
        distance = offset + splat(np.float32(index))
        term = (load(notes, NEAR + index * LANES) - expected) * load(notes, TARGET + index * LANES)
        pull = pull + where_positive(distance, term, where_positive(zero - distance, zero - term, zero))
    store(notes, PULL, pull)

    whole = zero
    for begin in range(0, bins, BLOCK):
        some = zero
        for bin in range(begin, min(begin + BLOCK, bins)):
            weight = exp(load(block, at + bin * LANES) - top)
            store(block, at + bin * LANES, weight)
            some = some + weight
        whole = whole + some
    store(notes, WHOLE, whole)
    store(notes, REST, top - expected)
    slope = np.float32((1 - bins) / (TEMPERATURE * span))
    loss, product = 0.0, 1.0  # one logarithm for all lanes
    for lane in range(lanes):
        value = parameters[first + lane]
        gradient[first + lane] = notes[PULL + lane] * slope if low <= value <= high else np.float32(0.0)
        loss += notes[REST + lane]
        product *= notes[WHOLE + lane]
    share = splat(ONE) / whole + (center - center)  # that of a NaN is NaN in all bins
    for bin in range(bins):
        store(block, at + bin * LANES, load(block, at + bin * LANES) * share)
    for index in range(window):
        subtract_lanes(block, at + index * LANES, window_start, load(notes, TARGET + index * LANES))
    return loss + math.log(product)


@part
def _extremes(bins, block, at):  # type: ignore[no-untyped-def]
    """The largest logit of each lane, and zero: NaN once one is not finite.

    In four chains, which do not wait for each other.
    """
    zero = splat(np.float32(0.0))
    first = load(block, at)
    top_a, top_b, top_c, top_d = first, first, first, first
    spoilt_a, spoilt_b, spoilt_c, spoilt_d = zero, zero, zero, zero
    whole = bins // 4 * 4
    for bin in range(0, whole, 4):
        a, b = load(block, at + bin * LANES), load(block, at + (bin + 1) * LANES)
        c, d = load(block, at + (bin + 2) * LANES), load(block, at + (bin + 3) * LANES)
        top_a, top_b, top_c, top_d = larger(top_a, a), larger(top_b, b), larger(top_c, c), larger(top_d, d)
        spoilt_a, spoilt_b = fma(a, zero, spoilt_a), fma(b, zero, spoilt_b)
        spoilt_c, spoilt_d = fma(c, zero, spoilt_c), fma(d, zero, spoilt_d)
    for bin in range(whole, bins):
        a = load(block, at + bin * LANES)
        top_a, spoilt_a = larger(top_a, a), fma(a, zero, spoilt_a)
    return larger(larger(top_a, top_b), larger(top_c, top_d)), (spoilt_a + spoilt_b) + (spoilt_c + spoilt_d)


@part
def within(value, low, high):  # type: ignore[no-untyped-def]
    """The value between low and high; NaN stays."""
    if value < low:
        return low
    if value > high:
        return high
    return value


@part
def _likelihood(kind, parameters, first, lanes, block, at, gradient):  # type: ignore[no-untyped-def]
    """Squared error, Gaussian or Laplacian code length of the parameters of one panel."""
    total = 0.0
    for lane in range(lanes):
        place, log_place = at + lane, at + LANES + lane
        error = parameters[first + lane] - block[place]
        if kind == LOSSES.mse:
            total += error * error
            pull = np.float32(2.0) * error
        else:
            log_scale = block[log_place]
            precision = math.exp(-log_scale)
            if kind == LOSSES.gaussian_nll:
                scaled = error * error * precision
                total += 0.5 * (log_scale + scaled + LOG_2_PI)
                pull = error * precision
                block[log_place] = np.float32(0.5) - np.float32(0.5) * scaled
            elif kind == LOSSES.laplacian_nll:
                scaled = abs(error) * precision
                total += log_scale + scaled + LOG_2
                side = np.float32(error > np.float32(0.0)) - np.float32(error < np.float32(0.0))
                pull = side * precision
                block[log_place] = ONE - scaled
        block[place] = -pull
        gradient[first + lane] = pull
    return total
