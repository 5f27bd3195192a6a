"""Muon's step of a layer in one program: its matrix orthogonalised as by `torch.optim.Muon`, its bias by AdamW."""

import triton
import triton.language as tl

from draw_poly.kernels.gpu.descent import KEPT, MOST_NORM, OTHER_RATE, clipped, descend
from draw_poly.kernels.gpu.layers import follow
from draw_poly.kernels.spec import Network, Optimizer
from draw_poly.kernels.spec import optimizer as places

REST, MATRIX_TINY = tl.constexpr(places.REST), tl.constexpr(places.MATRIX_TINY)
A, B, C = (tl.constexpr(number) for number in places.NEWTON_SCHULZ)
RUN_TIME = ["size", "moments_stride", "scalars_stride", "squares_stride", "blocks"]


@triton.jit
def rounded(numbers):
    """Bfloat16's nearest numbers, in float32; by hand, since the interpreter's own conversion cuts them off."""
    words = numbers.to(tl.uint32, bitcast=True)
    nearest = (words + 0x7FFF + ((words >> 16) & 1)) & 0xFFFF0000
    return tl.where(numbers == numbers, nearest.to(tl.float32, bitcast=True), numbers)


@triton.jit
def product(one, other):
    """Of bfloat16's numbers, which TensorFloat-32 holds, so that products are exact; sums are float32's."""
    return tl.dot(one, other, input_precision="tf32")


@triton.jit
def orthogonal(matrix, epsilon, ITERATIONS: tl.constexpr):
    """The matrix [S, L], which is not tall, with its singular values brought near 1; bfloat16's numbers in float32."""
    found = rounded(matrix)
    norm = rounded(tl.sqrt_rn(tl.sum(tl.sum(found * found, 1), 0)))
    found = rounded(tl.div_rn(found, tl.maximum(norm, epsilon, propagate_nan=tl.PropagateNan.ALL)))
    for _ in range(ITERATIONS):
        gram = rounded(product(found, tl.trans(found)))
        polynomial = rounded(product(gram, gram) * C + gram * B)
        found = rounded(product(polynomial, found) + found * A)
    return found


@triton.jit(do_not_specialize=RUN_TIME)
def muon_kernel(
    p_parameters,  # (networks, size)
    p_moments,  # (networks, count, size)
    p_gradient,  # (networks, size)
    p_squares,  # (networks, blocks), rows of any stride
    p_scalars,  # (networks, SCALARS), rows of any stride
    p_table,  # (layers, 3): offset, inputs, outputs
    size,
    moments_stride,
    scalars_stride,
    squares_stride,
    blocks,
    SMALL: tl.constexpr,
    LARGE: tl.constexpr,
    WIDE: tl.constexpr,
    ITERATIONS: tl.constexpr,
    NESTEROV: tl.constexpr,
    ORIGINAL: tl.constexpr,
    FORM: tl.constexpr,
    MANY: tl.constexpr,
    BLOCK: tl.constexpr,
    DEPENDENT: tl.constexpr,
):
    """By networks: a layer each. The matrix is read so that it is not tall, padded with zeros to SMALL x LARGE."""
    follow(DEPENDENT)
    if MANY:
        network = tl.program_id(1).to(tl.int64)
        p_parameters += network * size
        p_moments += network * moments_stride
        p_gradient += network * size
        p_squares += network * squares_stride
        p_scalars += network * scalars_stride
    layer = tl.program_id(0)
    offset, into, out = tl.load(p_table + 3 * layer), tl.load(p_table + 3 * layer + 1), tl.load(p_table + 3 * layer + 2)
    factor = 1.0
    if FORM.clips:
        factor = clipped(p_squares, blocks, tl.load(p_scalars + MOST_NORM), BLOCK)

    o_s, o_l = tl.arange(0, SMALL), tl.arange(0, LARGE)
    tall = out > into
    step_s, step_l = tl.where(tall, 1, into), tl.where(tall, into, 1)
    o_p = offset + o_s[:, None] * step_s + o_l[None, :] * step_l
    live = (o_s[:, None] < tl.minimum(out, into)) & (o_l[None, :] < tl.maximum(out, into))
    gradient = tl.load(p_gradient + o_p, mask=live, other=0.0) * factor
    mean = tl.load(p_moments + o_p, mask=live, other=0.0)
    rest = tl.load(p_scalars + REST)
    mean += rest * (gradient - mean)
    tl.store(p_moments + o_p, mean, mask=live)
    if NESTEROV:
        mean += rest * (gradient - mean)
    found = orthogonal(mean, tl.load(p_scalars + MATRIX_TINY), ITERATIONS)
    rows, columns = out.to(tl.float32), into.to(tl.float32)
    if ORIGINAL:
        ratio = tl.sqrt_rn(tl.maximum(tl.div_rn(rows, columns), 1.0))
    else:
        ratio = 0.2 * tl.sqrt_rn(tl.maximum(rows, columns))
    parameters = tl.load(p_parameters + o_p, mask=live)
    rate, kept = tl.load(p_scalars + OTHER_RATE), tl.load(p_scalars + KEPT)
    tl.store(p_parameters + o_p, parameters * kept - rate * ratio * found, mask=live)

    o_b = tl.arange(0, WIDE)
    live = o_b < out
    o_b += offset + out * into
    gradient = tl.load(p_gradient + o_b, mask=live, other=0.0) * factor
    descend(p_parameters, p_moments, gradient, size, p_scalars, o_b, live, "adamw", FORM.maximum)


def constants(network: Network, optimizer: Optimizer) -> dict[str, object]:
    """What the kernel is compiled for, of a network and an optimiser."""
    small, large = (max(map(side, network.shapes)) for side in (min, max))
    return {
        "SMALL": max(16, triton.next_power_of_2(small)),
        "LARGE": max(16, triton.next_power_of_2(large)),
        "WIDE": triton.next_power_of_2(max(network.dims[1:])),
        "ITERATIONS": optimizer.muon_ns_steps,
        "NESTEROV": optimizer.muon_nesterov,
        "ORIGINAL": optimizer.muon_adjust_lr_fn == "original",
    }
