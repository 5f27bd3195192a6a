"""One launch after the gradient's: partial gradients summed in a fixed order, an optimiser's step, the losses."""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from draw_poly.kernels.gpu.layers import follow
from draw_poly.kernels.gpu.workspace import Workspace
from draw_poly.kernels.spec import ADAM_BETAS, EPSILON, RMSPROP_ALPHA, Optimizer
from draw_poly.kernels.tensors import read_rows, sizes, written, written_rows

# Parameters a program updates, and rows it reads at once.
BLOCK, ROWS = 64, 16
FIRST_BETA, SECOND_BETA = tl.constexpr(ADAM_BETAS[0]), tl.constexpr(ADAM_BETAS[1])
ALPHA, TINY = tl.constexpr(RMSPROP_ALPHA), tl.constexpr(EPSILON)


@triton.jit
def sum_rows(p_rows, rows, size, o_p, live, BLOCK: tl.constexpr, ROWS: tl.constexpr):
    """The sum over rows of one block of columns [BLOCK]: each of ROWS running sums in turn, then these."""
    total = tl.zeros([ROWS, BLOCK], tl.float32)
    for start in range(0, rows, ROWS):
        o_r = start + tl.arange(0, ROWS)
        pointers = p_rows + o_r[:, None].to(tl.int64) * size + o_p[None, :]
        total += tl.load(pointers, mask=(o_r[:, None] < rows) & live[None, :], other=0.0)
    return tl.sum(total, 0)


@triton.jit
def step(p_parameters, p_moments, gradient, size, p_scalars, o_p, live, KIND: tl.constexpr):
    """An optimiser's step on one block, with `torch.optim`'s arithmetic; the gradient itself if there is none."""
    if KIND == "none":
        tl.store(p_parameters + o_p, gradient, mask=live)
    else:
        descend(p_parameters, p_moments, gradient, size, p_scalars, o_p, live, KIND)


@triton.jit
def descend(p_parameters, p_moments, gradient, size, p_scalars, o_p, live, KIND: tl.constexpr):
    """The step; `p_scalars` are `Optimizer.scalars`."""
    step_size = tl.load(p_scalars)
    parameters = tl.load(p_parameters + o_p, mask=live)
    if KIND == "adam":
        divisor = tl.load(p_scalars + 1)
        first = tl.load(p_moments + o_p, mask=live)
        second = tl.load(p_moments + size + o_p, mask=live)
        first += (1.0 - FIRST_BETA) * (gradient - first)
        second = second * SECOND_BETA + (1.0 - SECOND_BETA) * gradient * gradient
        tl.store(p_moments + o_p, first, mask=live)
        tl.store(p_moments + size + o_p, second, mask=live)
        parameters -= tl.div_rn(first * step_size, tl.div_rn(tl.sqrt_rn(second), divisor) + TINY)
    elif KIND == "rmsprop":
        square = tl.load(p_moments + o_p, mask=live)
        square = square * ALPHA + (1.0 - ALPHA) * gradient * gradient
        tl.store(p_moments + o_p, square, mask=live)
        parameters -= step_size * tl.div_rn(gradient, tl.sqrt_rn(square) + TINY)
    elif KIND == "sgd_momentum":
        momentum = tl.load(p_scalars + 1)
        velocity = tl.load(p_moments + o_p, mask=live) * momentum + gradient
        tl.store(p_moments + o_p, velocity, mask=live)
        parameters -= step_size * velocity
    else:
        tl.static_assert(KIND == "sgd")
        parameters -= step_size * gradient
    tl.store(p_parameters + o_p, parameters, mask=live)


RUN_TIME = [
    "rows", "size", "moments_stride", "scalars_stride", "out_stride", "term_rows", "term_size", "term_moments_stride",
    "blocks",
]  # fmt: skip


@triton.jit(do_not_specialize=RUN_TIME)
def update_kernel(
    p_theta,  # (networks, size)
    p_moments,  # (networks, count, size)
    p_rows,  # (networks, rows, size)
    p_to_theta,  # (networks, size)
    p_losses,  # (networks, rows)
    p_phi,  # (networks, code_size)
    p_term_moments,  # (networks, count, code_size)
    p_term_rows,  # (networks, code_rows, code_size)
    p_term_losses,  # (networks, code_rows)
    p_scalars,  # (networks, 2 per learner), rows of any stride
    p_out,  # (networks, 1 per learner), rows of any stride
    rows,
    size,
    moments_stride,
    scalars_stride,
    out_stride,
    loss_scale,
    term_rows,
    term_size,
    term_moments_stride,
    term_loss_scale,
    blocks,
    WITH_TERM: tl.constexpr,
    KIND: tl.constexpr,
    TERM_KIND: tl.constexpr,
    MANY: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
    DEPENDENT: tl.constexpr,
):
    """By networks: blocks of θ, then blocks of φ, then a program for the losses. MANY as of the gradient's kernel."""
    program = tl.program_id(0)
    follow(DEPENDENT)
    if MANY:
        network = tl.program_id(1).to(tl.int64)
        p_theta += network * size
        p_moments += network * moments_stride
        p_rows += network * rows * size
        p_losses += network * rows
        p_scalars += network * scalars_stride
        p_out += network * out_stride
        if WITH_TERM:
            p_to_theta += network * size
            p_phi += network * term_size
            p_term_moments += network * term_moments_stride
            p_term_rows += network * term_rows * term_size
            p_term_losses += network * term_rows
    if program < blocks:
        o_p = program * BLOCK + tl.arange(0, BLOCK)
        live = o_p < size
        gradient = sum_rows(p_rows, rows, size, o_p, live, BLOCK, ROWS)
        if WITH_TERM:
            gradient += tl.load(p_to_theta + o_p, mask=live)
        step(p_theta, p_moments, gradient, size, p_scalars, o_p, live, KIND)
    elif program < tl.num_programs(0) - 1:
        if WITH_TERM:
            o_p = (program - blocks) * BLOCK + tl.arange(0, BLOCK)
            live = o_p < term_size
            gradient = sum_rows(p_term_rows, term_rows, term_size, o_p, live, BLOCK, ROWS)
            step(p_phi, p_term_moments, gradient, term_size, p_scalars + 2, o_p, live, TERM_KIND)
    else:
        tl.store(p_out, sum_losses(p_losses, rows, BLOCK) * loss_scale)
        if WITH_TERM:
            tl.store(p_out + 1, sum_losses(p_term_losses, term_rows, BLOCK) * term_loss_scale)


@triton.jit
def sum_losses(p_losses, rows, BLOCK: tl.constexpr):
    """The sum of the programs' losses."""
    total = tl.zeros([BLOCK], tl.float32)
    for start in range(0, rows, BLOCK):
        o_r = start + tl.arange(0, BLOCK)
        total += tl.load(p_losses + o_r, mask=o_r < rows, other=0.0)
    return tl.sum(total, 0)


def update(
    workspace: Workspace, optimizers: Sequence[Optimizer], parameters: Sequence[Tensor], moments: Sequence[Tensor],
    scalars: Tensor, losses: Tensor,
) -> None:  # fmt: skip
    """Takes one step of each network with the gradient that `gradient` left, in one launch.

    Each sequence holds the networks' and, if the term is on, the predictors': `parameters` (networks, P), `moments`
    (networks, count, P). `scalars` (networks, 2 per learner) are `Optimizer.scalars`, which hold all that networks may
    differ in; `losses` (networks, 1 per learner) receives task and Kolmogorov loss. A captured launch follows the
    scalars.
    """
    networks = workspace.networks
    for flat, kept, one, size in zip(parameters, moments, optimizers, _sizes(workspace, parameters), strict=True):
        written("parameters", flat, networks, size)
        written("moments", kept, networks, one.moments, size)
    scalars = read_rows("scalars", scalars, networks, 2 * len(parameters))
    _launch(workspace, parameters, moments, scalars, losses, [one.kind for one in optimizers])


def total(workspace: Workspace, gradients: Sequence[Tensor], losses: Tensor) -> None:
    """What `update` would take its steps with: the gradient (networks, P) of each learner, and the `losses`."""
    for gradient, size in zip(gradients, _sizes(workspace, gradients), strict=True):
        written("gradient", gradient, workspace.networks, size)
    _launch(workspace, gradients, gradients, losses, losses, ["none"] * len(gradients))


def _sizes(workspace: Workspace, vectors: Sequence[Tensor]) -> list[int]:
    return sizes(vectors, workspace.network, workspace.term)


def _launch(
    workspace: Workspace, parameters: Sequence[Tensor], moments: Sequence[Tensor], scalars: Tensor, losses: Tensor,
    kinds: Sequence[str],
) -> None:  # fmt: skip
    networks, network, task = workspace.networks, workspace.network, workspace.task
    term, predictor = workspace.term, workspace.predictor
    written_rows("losses", losses, networks, len(parameters))
    other = predictor or task
    blocks, term_blocks = -(-network.size // BLOCK), -(-term.predictor.size // BLOCK) if term else 0
    with torch.cuda.device_of(losses):
        update_kernel[(blocks + term_blocks + 1, networks)](
            p_theta=parameters[0],
            p_moments=moments[0],
            p_rows=task.rows,
            p_to_theta=workspace.to_theta,
            p_losses=task.losses,
            p_phi=parameters[-1],
            p_term_moments=moments[-1],
            p_term_rows=other.rows,
            p_term_losses=other.losses,
            p_scalars=scalars,
            p_out=losses,
            rows=workspace.programs,
            size=network.size,
            moments_stride=moments[0].stride(0),
            scalars_stride=scalars.stride(0),
            out_stride=losses.stride(0),
            loss_scale=1.0 / (workspace.batch * network.dims[-1]),
            term_rows=other.launch.programs,
            term_size=term.predictor.size if term else 0,
            term_moments_stride=moments[-1].stride(0),
            term_loss_scale=1.0 / network.size,
            blocks=blocks,
            WITH_TERM=term is not None,
            KIND=kinds[0],
            TERM_KIND=kinds[-1],
            MANY=networks > 1,
            BLOCK=BLOCK,
            ROWS=ROWS,
            DEPENDENT=task.launch.dependent,
            num_warps=4,
            **task.launch.options,
            enable_fp_fusion=True,
        )
