"""Outputs and signatures, at points that are read or at pixels whose coordinates are computed; for frames, boundaries."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.gpu.layers import dense, leaky, place
from kernels.gpu.partials import layer_table
from kernels.gpu.plan import evaluation_plan
from kernels.spec import Network


@triton.jit
def outputs_and_signature(p_parameters, p_table, p_coefficients, hidden, PLAN: tl.constexpr):
    """Outputs [W, T] and signatures [T] int64 of inputs [W, T]."""
    LAST: tl.constexpr = len(PLAN.dims) - 2
    o_w = tl.arange(0, PLAN.width)
    signature = tl.zeros([PLAN.tile], tl.int64)
    if PLAN.unrolled:
        for layer in tl.static_range(LAST):
            z = dense(p_parameters, PLAN.offsets[layer], PLAN.dims[layer], PLAN.dims[layer + 1], hidden, PLAN)
            signature += pattern(p_coefficients, o_w, PLAN.dims[layer + 1], z)
            p_coefficients += PLAN.dims[layer + 1]
            hidden = leaky(z, PLAN)
    else:
        for layer in range(LAST):
            offset, into, out = place(p_table, layer)
            z = dense(p_parameters, offset, into, out, hidden, PLAN)
            signature += pattern(p_coefficients, o_w, out, z)
            p_coefficients += out
            hidden = leaky(z, PLAN)
    return dense(p_parameters, PLAN.offsets[LAST], PLAN.dims[LAST], PLAN.dims[LAST + 1], hidden, PLAN), signature


@triton.jit
def pattern(p_coefficients, o_w, out, z):
    """One layer's share of the signatures: the sum of its positive neurons' coefficients [T]."""
    coefficients = tl.load(p_coefficients + o_w, mask=o_w < out, other=0)
    return tl.sum(tl.where(z > 0, coefficients[:, None], 0), 0)


@triton.jit(do_not_specialize=["points", "stride"])
def evaluate_kernel(
    p_parameters, p_table, p_coefficients, p_inputs, p_outputs, p_signatures, points, stride, PLAN: tl.constexpr
):  # fmt: skip
    """A tile of points, coordinates read."""
    LAST: tl.constexpr = len(PLAN.dims) - 1
    o_w = tl.arange(0, PLAN.width)[:, None]
    o_t = tl.program_id(0).to(tl.int64) * PLAN.tile + tl.arange(0, PLAN.tile)
    inputs = tl.load(
        p_inputs + o_w * stride + o_t[None, :], mask=(o_w < PLAN.dims[0]) & (o_t[None, :] < points), other=0.0
    )
    outputs, signature = outputs_and_signature(p_parameters, p_table, p_coefficients, inputs, PLAN)
    tl.store(p_outputs + o_w * points + o_t[None, :], outputs, mask=(o_w < PLAN.dims[LAST]) & (o_t[None, :] < points))
    tl.store(p_signatures + o_t, signature, mask=o_t < points)


@triton.jit(do_not_specialize=["width", "height", "top", "rows"])
def grid_kernel(
    p_parameters, p_table, p_coefficients, p_outputs, p_signatures, p_boundaries, width, height, top, rows,
    DOWN: tl.constexpr, ACROSS: tl.constexpr, BOUNDARIES: tl.constexpr, PLAN: tl.constexpr,
):  # fmt: skip
    """A tile of pixels, DOWN x ACROSS with its rim of neighbours if boundaries are asked for.

    A pixel is a boundary if one of its four neighbours in the picture has another signature.
    """
    LAST: tl.constexpr = len(PLAN.dims) - 1
    RIM: tl.constexpr = 1 if BOUNDARIES else 0
    o_w = tl.arange(0, PLAN.width)[:, None]
    o_t = tl.arange(0, PLAN.tile)
    tile_row, tile_column = o_t // ACROSS, o_t % ACROSS
    row = tl.program_id(1) * (DOWN - 2 * RIM) + tile_row - RIM  # of those asked for
    column = tl.program_id(0) * (ACROSS - 2 * RIM) + tile_column - RIM
    # One rounding, as of a division in float64 that is then rounded to float32: that has bits enough.
    x = tl.div_rn(column.to(tl.float32), width.to(tl.float32))
    y = tl.div_rn((row + top).to(tl.float32), height.to(tl.float32))
    inputs = tl.where(o_w == 0, x[None, :], tl.where(o_w == 1, y[None, :], 0.0))
    outputs, signature = outputs_and_signature(p_parameters, p_table, p_coefficients, inputs, PLAN)
    own = (row >= 0) & (row < rows) & (column >= 0) & (column < width)
    if BOUNDARIES:
        own &= (tile_row > 0) & (tile_row < DOWN - 1) & (tile_column > 0) & (tile_column < ACROSS - 1)
        left, right = tl.maximum(o_t - 1, 0), tl.minimum(o_t + 1, PLAN.tile - 1)
        above, below = tl.maximum(o_t - ACROSS, 0), tl.minimum(o_t + ACROSS, PLAN.tile - 1)
        boundary = (tl.gather(signature, left, 0) != signature) & (column > 0)
        boundary |= (tl.gather(signature, right, 0) != signature) & (column < width - 1)
        boundary |= (tl.gather(signature, above, 0) != signature) & (row + top > 0)
        boundary |= (tl.gather(signature, below, 0) != signature) & (row + top < height - 1)
        tl.store(p_boundaries + row.to(tl.int64) * width + column, boundary.to(tl.int8), mask=own)
    place_of = row.to(tl.int64) * width + column
    stored = (o_w < PLAN.dims[LAST]) & own[None, :]
    tl.store(p_outputs + o_w * rows.to(tl.int64) * width + place_of[None, :], outputs, mask=stored)
    tl.store(p_signatures + place_of, signature, mask=own)


def evaluate(
    network: Network, parameters: Tensor, coefficients: Tensor, inputs: Tensor, outputs: Tensor, signatures: Tensor
) -> None:
    """Writes outputs (k, n) and int64 signatures (n,) at inputs (2, n), whose rows may have any stride."""
    constants, warps = evaluation_plan(network)
    points = inputs.shape[1]
    with torch.cuda.device_of(inputs):
        evaluate_kernel[(-(-points // constants.tile),)](
            parameters, layer_table(network, parameters.device), coefficients, inputs, outputs, signatures, points, inputs.stride(0), PLAN=constants,
            num_warps=warps, enable_fp_fusion=True,
        )  # fmt: skip


def evaluate_grid(
    network: Network, parameters: Tensor, coefficients: Tensor, size: tuple[int, int], top: int, outputs: Tensor,
    signatures: Tensor, boundaries: Tensor | None = None,
) -> None:  # fmt: skip
    """As `evaluate`, at pixels: rows from `top` on of a picture of `size` (width, height).

    `outputs` (k, rows, width), `signatures` (rows, width); `boundaries` (rows, width) int8 receives 1 where one of a
    pixel's four neighbours in the picture has another signature, else 0.
    """
    constants, warps = evaluation_plan(network)
    width, height = size
    rows = signatures.shape[0]
    down = 1 << (constants.tile.bit_length() - 1) // 2
    across = constants.tile // down
    rim = 0 if boundaries is None else 2
    grid = -(-width // (across - rim)), -(-rows // (down - rim))
    with torch.cuda.device_of(outputs):
        grid_kernel[grid](
            parameters, layer_table(network, parameters.device), coefficients, outputs, signatures, signatures if boundaries is None else boundaries,
            width, height, top, rows, DOWN=down, ACROSS=across, BOUNDARIES=boundaries is not None, PLAN=constants,
            num_warps=warps, enable_fp_fusion=True,
        )  # fmt: skip
