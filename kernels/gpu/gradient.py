"""The network: forward, loss and backward of a tile of points in one program, beside those of the Kolmogorov term."""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from draw_poly.kernels.gpu.kolmogorov import kolmogorov_gradient
from draw_poly.kernels.gpu.layers import backward, dense, dense_backward, follow, forward
from draw_poly.kernels.gpu.loss import read_targets, score
from draw_poly.kernels.gpu.plan import term_bins
from draw_poly.kernels.gpu.workspace import Workspace
from draw_poly.kernels.tensors import read, read_rows, sizes, written


@triton.jit
def task_gradient(
    program, p_parameters, p_table, p_scratch, p_rows, p_losses, p_inputs, p_targets, p_order, p_to_inputs, points,
    programs, inputs_stride, targets_stride, size, scale, ORDERED: tl.constexpr, GIVEN: tl.constexpr,
    ADD: tl.constexpr, SCRATCH: tl.constexpr, PLAN: tl.constexpr,
):  # fmt: skip
    """A program's tiles: its row of partial gradients, and its sum of losses.

    With ORDERED, the batch is the columns that `p_order` names. With GIVEN, `p_targets` holds the gradient of the
    outputs instead, and the gradient of the inputs is stored.
    """
    T: tl.constexpr = PLAN.tile
    LAST: tl.constexpr = len(PLAN.dims) - 2
    p_row = p_rows + program.to(tl.int64) * size
    p_scratch += program.to(tl.int64) * SCRATCH
    o_w = tl.arange(0, PLAN.width)[:, None]
    o_inputs = o_w * inputs_stride.to(tl.int64)
    loss = tl.zeros([T], tl.float32)
    for tile in range(program, tl.cdiv(points, PLAN.tile), programs):
        o_t = (tile * PLAN.tile + tl.arange(0, PLAN.tile))[None, :]
        here = tile * PLAN.tile + tl.arange(0, PLAN.tile) < points
        column = o_t
        if ORDERED:
            column = tl.load(p_order + o_t, mask=o_t < points, other=0)
        inputs_live = (o_w < PLAN.dims[0]) & (o_t < points)
        inputs = tl.load(p_inputs + o_inputs + column, mask=inputs_live, other=0.0)
        if GIVEN:
            live = (o_w < PLAN.dims[LAST + 1]) & (o_t < points)
            targets = tl.load(p_targets + o_w * targets_stride.to(tl.int64) + column, mask=live, other=0.0)
        else:
            targets = read_targets(p_targets, targets_stride, column, here, PLAN)
        kept, hidden = forward(p_parameters, p_table, p_scratch, inputs, here, PLAN)
        if GIVEN:
            grad = targets
        else:
            outputs = dense(
                p_parameters, PLAN.offsets[LAST], PLAN.dims[LAST], PLAN.dims[LAST + 1], hidden, here, PLAN
            )  # fmt: skip
            losses, grad = score(outputs, targets, here, scale, PLAN)
            loss += losses
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
    "points", "programs", "size", "inputs_stride", "inputs_row_stride", "targets_stride", "targets_row_stride",
    "order_stride", "term_programs", "term_size",
]  # fmt: skip


@triton.jit(do_not_specialize=RUN_TIME)  # no kernel of its own for a batch of 1, or of a multiple of 16
def gradient_kernel(
    p_theta,  # (networks, size)
    p_table,  # (layers, 3) int32
    p_scratch,  # (networks, programs, SCRATCH)
    p_rows,  # (networks, programs, size)
    p_losses,  # (networks, programs)
    p_inputs,  # (networks, inputs, all points), rows of any stride
    p_targets,  # (networks, targets, all points), rows of any stride; of outputs with GIVEN
    p_order,  # (networks, points) int64, rows of any stride
    p_to_inputs,  # (networks, inputs, points)
    p_phi,  # (networks, code_size)
    p_term_table,  # (layers, 3) int32
    p_term_scratch,  # (networks, code_programs, CODE_SCRATCH)
    p_term_rows,  # (networks, code_programs, code_size)
    p_term_losses,  # (networks, code_programs)
    p_positions,  # (3, size)
    p_to_theta,  # (networks, size)
    p_shares,  # (networks,)
    points,
    programs,
    size,
    inputs_stride,
    inputs_row_stride,
    targets_stride,
    targets_row_stride,
    order_stride,
    scale,
    term_programs,
    term_size,
    low,
    high,
    span,
    BINS: tl.constexpr,
    BLOCK: tl.constexpr,
    LOSS: tl.constexpr,
    ORDERED: tl.constexpr,
    GIVEN: tl.constexpr,
    MANY: tl.constexpr,
    ADD: tl.constexpr,
    SCRATCH: tl.constexpr,
    PLAN: tl.constexpr,
    TERM_ADD: tl.constexpr,
    TERM_SCRATCH: tl.constexpr,
    TERM_PLAN: tl.constexpr,
    DEPENDENT: tl.constexpr,
):
    """Programs by networks; those of the Kolmogorov term come first: each is the longer work.

    Without MANY there is one network, whose pointers keep the alignment that is known of them.
    """
    program = tl.program_id(0)
    follow(DEPENDENT)
    if MANY:
        network = tl.program_id(1).to(tl.int64)
        p_theta += network * size
        p_scratch += network * programs * SCRATCH
        p_rows += network * programs * size
        p_losses += network * programs
        p_inputs += network * inputs_stride
        p_targets += network * targets_stride
        if ORDERED:
            p_order += network * order_stride
        if GIVEN:
            p_to_inputs += network * PLAN.dims[0] * points
        if TERM_PLAN is not None:
            p_phi += network * term_size
            p_term_scratch += network * term_programs * TERM_SCRATCH
            p_term_rows += network * term_programs * term_size
            p_term_losses += network * term_programs
            p_to_theta += network * size
            p_shares += network
    if program < term_programs:
        if TERM_PLAN is not None:
            kolmogorov_gradient(
                program, p_theta, p_phi, p_term_table, p_term_scratch, p_term_rows, p_term_losses, p_positions,
                p_to_theta, term_programs, size, term_size, tl.load(p_shares), low, high, span, BINS, BLOCK, LOSS,
                TERM_ADD, TERM_SCRATCH, TERM_PLAN,
            )  # fmt: skip
    else:
        task_gradient(
            program - term_programs, p_theta, p_table, p_scratch, p_rows, p_losses, p_inputs, p_targets, p_order,
            p_to_inputs, points, programs, inputs_row_stride, targets_row_stride, size, scale, ORDERED, GIVEN, ADD,
            SCRATCH, PLAN,
        )  # fmt: skip


def gradient(
    workspace: Workspace, parameters: Sequence[Tensor], positions: Tensor | None, inputs: Tensor, targets: Tensor,
    order: Tensor | None = None,
) -> None:  # fmt: skip
    """Losses and partial gradients of a batch of each network, in one launch.

    `parameters` (networks, P) are θ, and φ if the term is on; `positions` (3, P); `inputs` (networks, 2, n), `targets`
    (networks, targets, n), rows of any stride. With an `order` (networks, m) int64, the batch is those columns of them.
    What it writes, `update` reads. Raises ValueError for more points than the partials were made for, and for other
    shapes and types.
    """
    _launch(workspace, parameters, positions, inputs, targets, order, None)


def input_gradient(
    workspace: Workspace, parameters: Tensor, inputs: Tensor, to_outputs: Tensor, to_inputs: Tensor
) -> None:
    """Partial gradients from that of the outputs (networks, k, n).

    Writes that of the inputs into `to_inputs` (networks, 2, n).
    """
    _launch(workspace, [parameters], None, inputs, to_outputs, None, to_inputs)


def _launch(
    workspace: Workspace, parameters: Sequence[Tensor], positions: Tensor | None, inputs: Tensor, targets: Tensor,
    order: Tensor | None, to_inputs: Tensor | None,
) -> None:  # fmt: skip
    given = inputs.shape[-1]
    points = given if order is None else order.shape[-1]
    if not 1 <= points <= workspace.points:
        raise ValueError(f"a batch of {points} points, where the partials were made for 1 to {workspace.points}")
    networks, network, task = workspace.networks, workspace.network, workspace.task
    term, predictor = workspace.term, workspace.predictor
    if order is not None and not (order.stride(-1) == 1 and order.dtype == torch.int64 and len(order) == networks):
        raise ValueError(
            f"the order is {order.dtype} of shape {tuple(order.shape)}, stride {order.stride(-1)}: give contiguous "
            f"int64 rows of {networks} networks"
        )
    if term and positions is None:
        raise ValueError("the Kolmogorov term needs the positions of the parameters")
    counts = sizes(parameters, network, term)
    parameters = [read("parameters", flat, networks, size) for flat, size in zip(parameters, counts, strict=True)]
    if term and positions is not None:
        positions = read("positions", positions, term.predictor.dims[0], network.size)
    inputs = read_rows("inputs", inputs, networks, network.dims[0], given)
    targets = read_rows("targets", targets, networks, network.targets if to_inputs is None else network.dims[-1], given)
    if to_inputs is not None:
        written("the inputs' gradient", to_inputs, networks, network.dims[0], points)
    tiles = -(-points // task.plan.tile)
    programs = min(tiles, task.launch.programs)
    workspace.programs, workspace.batch = programs, points
    term_programs, term_plan, term_add, block = 0, None, False, 0
    if term and predictor:
        term_plan, term_programs = predictor.plan, predictor.launch.programs
        term_add = -(-network.size // term_plan.tile) > term_programs
        block = term_bins(term_plan.width, term.bins)
    other = predictor or task
    with torch.cuda.device_of(inputs):
        gradient_kernel[(term_programs + programs, networks)](
            p_theta=parameters[0],
            p_table=task.table,
            p_scratch=task.scratch,
            p_rows=task.rows,
            p_losses=task.losses,
            p_inputs=inputs,
            p_targets=targets,
            p_order=task.table if order is None else order,
            p_to_inputs=inputs if to_inputs is None else to_inputs,
            p_phi=parameters[-1],
            p_term_table=other.table,
            p_term_scratch=other.scratch,
            p_term_rows=other.rows,
            p_term_losses=other.losses,
            p_positions=parameters[0] if positions is None else positions,
            p_to_theta=workspace.to_theta,
            p_shares=workspace.shares,
            points=points,
            programs=programs,
            size=network.size,
            inputs_stride=inputs.stride(0),
            inputs_row_stride=inputs.stride(1),
            targets_stride=targets.stride(0),
            targets_row_stride=targets.stride(1),
            order_stride=0 if order is None else order.stride(0),
            scale=network.loss.factor / (points * network.targets),
            term_programs=term_programs,
            term_size=term.predictor.size if term else 0,
            low=term.low if term else 0.0,
            high=term.high if term else 0.0,
            span=term.high - term.low if term else 0.0,
            BINS=term.bins if term else 0,
            BLOCK=block,
            LOSS=term.loss if term else "",
            ORDERED=order is not None,
            GIVEN=to_inputs is not None,
            MANY=networks > 1,
            ADD=tiles > programs,
            SCRATCH=task.launch.scratch,
            PLAN=task.plan,
            TERM_ADD=term_add,
            TERM_SCRATCH=other.launch.scratch,
            TERM_PLAN=term_plan,
            DEPENDENT=task.launch.dependent,
            num_warps=max(task.launch.warps, other.launch.warps),
            **task.launch.options,
            enable_fp_fusion=True,
        )
