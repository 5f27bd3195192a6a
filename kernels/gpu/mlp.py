"""The network: forward, loss and backward of a tile of points in one program, beside those of the Kolmogorov term."""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from draw_poly.kernels.gpu.kolmogorov import code_gradient
from draw_poly.kernels.gpu.layers import backward, dense, dense_backward, follow, forward
from draw_poly.kernels.gpu.partials import Partials
from draw_poly.kernels.gpu.plan import code_bins
from draw_poly.kernels.tensors import read, read_rows, sizes, written


@triton.jit
def task_gradient(
    program, p_parameters, p_table, p_scratch, p_rows, p_losses, p_inputs, p_targets, p_order, p_to_inputs, points,
    programs, inputs_stride, targets_stride, size, scale, ORDERED: tl.constexpr, GIVEN: tl.constexpr,
    ADD: tl.constexpr, SCRATCH: tl.constexpr, PLAN: tl.constexpr,
):  # fmt: skip
    """A program's tiles: its row of partial gradients, and its sum of squared errors.

    With ORDERED, the batch is the columns that `p_order` names. With GIVEN, `p_targets` holds the gradient of the
    outputs instead, and the gradient of the inputs is stored.
    """
    T: tl.constexpr = PLAN.tile
    LAST: tl.constexpr = len(PLAN.dims) - 2
    p_row = p_rows + program.to(tl.int64) * size
    p_scratch += program.to(tl.int64) * SCRATCH
    o_w = tl.arange(0, PLAN.width)[:, None]
    o_inputs, o_targets = o_w * inputs_stride.to(tl.int64), o_w * targets_stride.to(tl.int64)
    loss = tl.zeros([T], tl.float32)
    for tile in range(program, tl.cdiv(points, PLAN.tile), programs):
        o_t = (tile * PLAN.tile + tl.arange(0, PLAN.tile))[None, :]
        here = tile * PLAN.tile + tl.arange(0, PLAN.tile) < points
        column = o_t
        if ORDERED:
            column = tl.load(p_order + o_t, mask=o_t < points, other=0)
        inputs_live = (o_w < PLAN.dims[0]) & (o_t < points)
        inputs = tl.load(p_inputs + o_inputs + column, mask=inputs_live, other=0.0)
        live = (o_w < PLAN.dims[LAST + 1]) & (o_t < points)
        targets = tl.load(p_targets + o_targets + column, mask=live, other=0.0)
        kept, hidden = forward(p_parameters, p_table, p_scratch, inputs, here, PLAN)
        if GIVEN:
            grad = targets
        else:
            outputs = dense(
                p_parameters, PLAN.offsets[LAST], PLAN.dims[LAST], PLAN.dims[LAST + 1], hidden, here, PLAN
            )  # fmt: skip
            error = tl.where(live, outputs - targets, 0.0)
            loss += tl.sum(error * error, 0)
            grad = error * scale
        add = tile != program
        grad = dense_backward(
            p_parameters, p_row, PLAN.offsets[LAST], PLAN.dims[LAST], PLAN.dims[LAST + 1], grad, hidden, here, add, ADD,
            PLAN,
        )  # fmt: skip
        grad = backward(p_parameters, p_row, p_table, p_scratch, kept, hidden, grad, here, add, ADD, PLAN)
        if GIVEN:
            tl.store(p_to_inputs + o_w * points.to(tl.int64) + o_t, grad, mask=inputs_live)
        if ADD:
            tl.debug_barrier()  # the next tile adds to what any thread stored
    tl.store(p_losses + program, tl.sum(loss, 0))


RUN_TIME = [
    "points", "programs", "inputs_stride", "targets_stride", "size", "code_programs", "code_size",
]  # fmt: skip


@triton.jit(do_not_specialize=RUN_TIME)  # no kernel of its own for a batch of 1, or of a multiple of 16
def gradient_kernel(
    p_theta, p_table, p_scratch, p_rows, p_losses, p_inputs, p_targets, p_order, p_to_inputs, points, programs,
    inputs_stride, targets_stride, size, scale, p_phi, p_code_table, p_code_scratch, p_code_rows, p_code_losses,
    p_positions, p_to_theta, code_programs, code_size, share, low, high, span, BINS: tl.constexpr, BLOCK: tl.constexpr,
    LOSS: tl.constexpr, ORDERED: tl.constexpr, GIVEN: tl.constexpr, ADD: tl.constexpr, SCRATCH: tl.constexpr,
    PLAN: tl.constexpr, CODE_ADD: tl.constexpr, CODE_SCRATCH: tl.constexpr, CODE_PLAN: tl.constexpr,
    DEPENDENT: tl.constexpr,
):  # fmt: skip
    """The programs of the Kolmogorov term come first: each is the longer work."""
    program = tl.program_id(0)
    follow(DEPENDENT)
    if program < code_programs:
        if CODE_PLAN is not None:
            code_gradient(
                program, p_theta, p_phi, p_code_table, p_code_scratch, p_code_rows, p_code_losses, p_positions,
                p_to_theta, code_programs, size, code_size, share, low, high, span, BINS, BLOCK, LOSS, CODE_ADD,
                CODE_SCRATCH, CODE_PLAN,
            )  # fmt: skip
    else:
        task_gradient(
            program - code_programs, p_theta, p_table, p_scratch, p_rows, p_losses, p_inputs, p_targets, p_order,
            p_to_inputs, points, programs, inputs_stride, targets_stride, size, scale, ORDERED, GIVEN, ADD, SCRATCH,
            PLAN,
        )  # fmt: skip


def gradient(
    partials: Partials, parameters: Sequence[Tensor], positions: Tensor | None, inputs: Tensor, targets: Tensor,
    order: Tensor | None = None,
) -> None:  # fmt: skip
    """Losses and partial gradients of a batch, in one launch.

    `parameters` are θ, and φ if the term is on; `positions` (3, P); `inputs` (2, n), `targets` (k, n), rows of any
    stride. With an `order` (m,) int64, the batch is those columns of them. What it writes, `update` reads. Raises
    ValueError for more points than the partials were made for, and for other shapes and types.
    """
    _launch(partials, parameters, positions, inputs, targets, order, None)


def input_gradient(
    partials: Partials, parameters: Tensor, inputs: Tensor, to_outputs: Tensor, to_inputs: Tensor
) -> None:
    """Partial gradients from that of the outputs (k, n); writes that of the inputs into `to_inputs` (2, n)."""
    _launch(partials, [parameters], None, inputs, to_outputs, None, to_inputs)


def _launch(
    partials: Partials, parameters: Sequence[Tensor], positions: Tensor | None, inputs: Tensor, targets: Tensor,
    order: Tensor | None, to_inputs: Tensor | None,
) -> None:  # fmt: skip
    points = inputs.shape[1] if order is None else len(order)
    if not 1 <= points <= partials.points:
        raise ValueError(f"a batch of {points} points, where the partials were made for 1 to {partials.points}")
    if order is not None and not (order.is_contiguous() and order.dtype == torch.int64):
        raise ValueError(f"the order is {order.dtype} of stride {order.stride(0)}: give contiguous int64")
    network, task, code, predictor = partials.network, partials.task, partials.code, partials.predictor
    if code and positions is None:
        raise ValueError("the Kolmogorov term needs the positions of the parameters")
    counts = sizes(parameters, network, code)
    parameters = [read("parameters", flat, size) for flat, size in zip(parameters, counts, strict=True)]
    if code and positions is not None:
        positions = read("positions", positions, code.predictor.dims[0], network.size)
    inputs = read_rows("inputs", inputs, network.dims[0], inputs.shape[1])
    targets = read_rows("targets", targets, network.dims[-1], inputs.shape[1])
    if to_inputs is not None:
        written("the inputs' gradient", to_inputs, network.dims[0], points)
    tiles = -(-points // task.plan.tile)
    programs = min(tiles, task.launch.programs)
    partials.programs, partials.batch = programs, points
    code_programs, code_plan, code_add, block = 0, None, False, 0
    if code and predictor:
        code_plan, code_programs = predictor.plan, predictor.launch.programs
        code_add = -(-network.size // code_plan.tile) > code_programs
        block = code_bins(code_plan.width, code.bins)
    other = predictor or task
    with torch.cuda.device_of(inputs):
        gradient_kernel[(code_programs + programs,)](
            parameters[0], task.table, task.scratch, task.rows, task.losses, inputs, targets,
            task.table if order is None else order, inputs if to_inputs is None else to_inputs, points, programs,
            inputs.stride(0), targets.stride(0), network.size, 2.0 / (points * targets.shape[0]), parameters[-1],
            other.table, other.scratch, other.rows, other.losses, parameters[0] if positions is None else positions,
            partials.to_theta, code_programs, code.predictor.size if code else 0,
            code.weight / network.size if code else 0.0, code.low if code else 0.0, code.high if code else 0.0,
            code.high - code.low if code else 0.0, BINS=code.bins if code else 0, BLOCK=block,
            LOSS=code.loss if code else "", ORDERED=order is not None, GIVEN=to_inputs is not None,
            ADD=tiles > programs, SCRATCH=task.launch.scratch, PLAN=task.plan, CODE_ADD=code_add,
            CODE_SCRATCH=other.launch.scratch, CODE_PLAN=code_plan, DEPENDENT=task.launch.dependent,
            num_warps=max(task.launch.warps, other.launch.warps), **task.launch.options, enable_fp_fusion=True,
        )  # fmt: skip
