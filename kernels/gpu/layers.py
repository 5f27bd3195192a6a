"""What the kernels share: a tile of points taken through a network's hidden layers and back.

Every layer is one `tl.dot` of a weight matrix, padded with zeros to [W, W], and a tile of activations [W, T]. What
pads, neurons that a layer has not and points that the batch has not, is written over with zeros after each product:
zero times an infinity is a NaN. Gradients of padded neurons are not stored. What becomes of the last layer's output is
the caller's. An unrolled plan keeps all activations in registers; otherwise a run-time loop keeps them in `p_scratch`
(layers, W, T), a program's own, and reads each layer's offset, inputs and outputs from `p_table`, (layers, 3) int32.

Letters: `p_` pointer, `o_` offsets. W padded width, T points of a tile; `live` [T] are the batch's.
"""

import triton
import triton.language as tl


@triton.jit
def dense(p_parameters, offset, into, out, hidden, live, PLAN: tl.constexpr):
    """One layer without activation: [W, T] to [W, T]."""
    o_w = tl.arange(0, PLAN.width)
    inside = (o_w[:, None] < out) & (o_w[None, :] < into)
    weight = tl.load(p_parameters + offset + o_w[:, None] * into + o_w[None, :], mask=inside, other=0.0)  # [out, in]
    bias = tl.load(p_parameters + offset + out * into + o_w, mask=o_w < out, other=0.0)
    z = tl.dot(weight, hidden, input_precision=PLAN.precision) + bias[:, None]
    return tl.where((o_w < out)[:, None] & live[None, :], z, 0.0)


@triton.jit
def activate(z, PLAN: tl.constexpr):
    """The activation."""
    if PLAN.activation == "relu2":
        positive = tl.where(z <= 0, 0.0, z)  # what is no number stays so
        found = positive * positive
    else:
        tl.static_assert(PLAN.activation == "leaky_relu")
        found = tl.where(z > 0, z, PLAN.slope * z)
    return found


@triton.jit
def derivative(hidden, PLAN: tl.constexpr):
    """The activation's derivative, told by its result."""
    if PLAN.activation == "relu2":
        found = 2.0 * tl.sqrt_rn(hidden)
    else:
        tl.static_assert(PLAN.activation == "leaky_relu")
        found = tl.where(hidden > 0, 1.0, PLAN.slope)
    return found


@triton.jit
def accumulate(pointers, value, mask, add, ADD: tl.constexpr):
    """Stores a partial gradient; on top of what an earlier tile of this program left there, if `add`."""
    if ADD:
        value = tl.where(add, value + tl.load(pointers, mask=mask, other=0.0), value)
    tl.store(pointers, value, mask=mask)


@triton.jit
def dense_backward(
    p_parameters, p_row, offset, into, out, grad, hidden, live, add, ADD: tl.constexpr, PLAN: tl.constexpr
):  # fmt: skip
    """Stores one layer's gradient from that of its output [W, T]; returns that of its input [W, T]."""
    o_w = tl.arange(0, PLAN.width)
    to_weight = tl.dot(grad, tl.trans(hidden), input_precision=PLAN.precision)  # [out, in]
    inside = (o_w[:, None] < out) & (o_w[None, :] < into)
    accumulate(p_row + offset + o_w[:, None] * into + o_w[None, :], to_weight, inside, add, ADD)
    accumulate(p_row + offset + out * into + o_w, tl.sum(grad, 1), o_w < out, add, ADD)
    turned = (o_w[:, None] < into) & (o_w[None, :] < out)
    weight = tl.load(p_parameters + offset + o_w[None, :] * into + o_w[:, None], mask=turned, other=0.0)  # [in, out]
    to_inputs = tl.dot(weight, grad, input_precision=PLAN.precision)
    return tl.where((o_w < into)[:, None] & live[None, :], to_inputs, 0.0)


@triton.jit
def follow(DEPENDENT: tl.constexpr):
    """Waits for the launch before this one, beside which it may have begun, and lets the next one begin beside it.

    Every program has to, before it touches what a launch writes: else the next launch could not wait for both.
    """
    if DEPENDENT:
        tl.extra.cuda.gdc_wait()
        tl.extra.cuda.gdc_launch_dependents()


@triton.jit
def forward(p_parameters, p_table, p_scratch, hidden, live, PLAN: tl.constexpr):
    """The inputs [W, T] through all hidden layers: what `backward` needs of them, and the last activation [W, T]."""
    HIDDEN: tl.constexpr = len(PLAN.dims) - 2
    kept = (hidden,)
    if PLAN.unrolled:
        for layer in tl.static_range(HIDDEN):
            z = dense(p_parameters, PLAN.offsets[layer], PLAN.dims[layer], PLAN.dims[layer + 1], hidden, live, PLAN)
            hidden = activate(z, PLAN)
            kept += (hidden,)  # type: ignore[assignment]
    else:
        o_tile = tl.arange(0, PLAN.width)[:, None] * PLAN.tile + tl.arange(0, PLAN.tile)[None, :]
        for layer in range(HIDDEN):
            tl.store(p_scratch + layer * (PLAN.width * PLAN.tile) + o_tile, hidden)
            offset, into, out = place(p_table, layer)
            hidden = activate(dense(p_parameters, offset, into, out, hidden, live, PLAN), PLAN)
    return kept, hidden


@triton.jit
def place(p_table, layer):
    """A layer's offset, inputs and outputs."""
    return tl.load(p_table + 3 * layer), tl.load(p_table + 3 * layer + 1), tl.load(p_table + 3 * layer + 2)


@triton.jit
def backward(
    p_parameters, p_row, p_table, p_scratch, kept, hidden, grad, live, add, ADD: tl.constexpr, PLAN: tl.constexpr
):  # fmt: skip
    """From the gradient of the last activation [W, T] down: stores each hidden layer's, returns that of the inputs."""
    HIDDEN: tl.constexpr = len(PLAN.dims) - 2
    if PLAN.unrolled:
        for layer in tl.static_range(HIDDEN - 1, -1, -1):
            grad *= derivative(kept[layer + 1], PLAN)
            grad = dense_backward(
                p_parameters, p_row, PLAN.offsets[layer], PLAN.dims[layer], PLAN.dims[layer + 1], grad, kept[layer],
                live, add, ADD, PLAN,
            )  # fmt: skip
    else:
        o_tile = tl.arange(0, PLAN.width)[:, None] * PLAN.tile + tl.arange(0, PLAN.tile)[None, :]
        tl.debug_barrier()  # a thread may read what another stored
        for back in range(HIDDEN):
            layer = HIDDEN - 1 - back
            grad *= derivative(hidden, PLAN)
            hidden = tl.load(p_scratch + layer * (PLAN.width * PLAN.tile) + o_tile)
            offset, into, out = place(p_table, layer)
            grad = dense_backward(p_parameters, p_row, offset, into, out, grad, hidden, live, add, ADD, PLAN)
        tl.debug_barrier()  # before the next tile's activations take this one's place
    return grad
