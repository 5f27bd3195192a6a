"""One launch after the gradient's: partial gradients summed in a fixed order, an optimiser's step, the losses."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from draw_poly.kernels.gpu.layers import follow
from draw_poly.kernels.gpu.workspace import BLOCK, Workspace
from draw_poly.kernels.spec import ADAM_BETAS, LION_BETAS, RMSPROP_ALPHA, SCALARS, Optimizer
from draw_poly.kernels.spec import optimizer as places
from draw_poly.kernels.tensors import read_rows, sizes, written, written_rows

# Rows that a program reads at once.
ROWS = 16
FIRST_BETA, SECOND_BETA = tl.constexpr(ADAM_BETAS[0]), tl.constexpr(ADAM_BETAS[1])
ALPHA = tl.constexpr(RMSPROP_ALPHA)
LION_BETA, MEAN_BETA = tl.constexpr(LION_BETAS[0]), tl.constexpr(LION_BETAS[1])
# Where a step's scalars stand.
COUNT, RATE, DIVISOR = tl.constexpr(SCALARS), tl.constexpr(places.RATE), tl.constexpr(places.DIVISOR)
MOMENTUM, TINY, OTHER_RATE = tl.constexpr(places.MOMENTUM), tl.constexpr(places.TINY), tl.constexpr(places.OTHER_RATE)
DECAY, KEPT = tl.constexpr(places.DECAY), tl.constexpr(places.KEPT)
MOST_NORM, TO_NORM = tl.constexpr(places.MOST_NORM), tl.constexpr(places.NORM_EPSILON)


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
def clipped(p_squares, blocks, most, BLOCK: tl.constexpr):
    """What a gradient is scaled by, of whose blocks these are the squared norms, so that its norm is `most` at most.

    Source: `torch.nn.utils.clip_grad_norm_`.
    """
    norm = tl.sqrt_rn(sum_losses(p_squares, blocks, BLOCK))
    return tl.minimum(tl.div_rn(most, norm + TO_NORM), 1.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def step(p_parameters, p_moments, gradient, size, p_scalars, o_p, live, FORM: tl.constexpr):
    """An optimiser's step on one block, with `torch.optim`'s arithmetic; the gradient itself if there is none."""
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
    if KIND == "adam" or KIND == "adamw":
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
        parameters -= tl.div_rn(first * step_size, tl.div_rn(tl.sqrt_rn(second), divisor) + epsilon)
    elif KIND == "nadam":
        divisor, other = tl.load(p_scalars + DIVISOR), tl.load(p_scalars + OTHER_RATE)
        first = tl.load(p_moments + o_p, mask=live)
        second = tl.load(p_moments + size + o_p, mask=live)
        first += (1.0 - FIRST_BETA) * (gradient - first)
        second = second * SECOND_BETA + (1.0 - SECOND_BETA) * gradient * gradient
        tl.store(p_moments + o_p, first, mask=live)
        tl.store(p_moments + size + o_p, second, mask=live)
        root = tl.sqrt_rn(tl.div_rn(second, divisor)) + epsilon
        parameters -= tl.div_rn(step_size * gradient, root)
        parameters -= tl.div_rn(other * first, root)
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


RUN_TIME = [
    "rows", "size", "moments_stride", "scalars_stride", "out_stride", "squares_stride", "term_rows", "term_size",
    "term_moments_stride", "blocks", "term_blocks",
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
    p_scalars,  # (networks, SCALARS per learner), rows of any stride
    p_out,  # (networks, 1 per learner), rows of any stride
    p_squares,  # (networks, blocks of all learners)
    rows,
    size,
    moments_stride,
    scalars_stride,
    out_stride,
    squares_stride,
    loss_scale,
    term_rows,
    term_size,
    term_moments_stride,
    term_loss_scale,
    blocks,
    term_blocks,
    WITH_TERM: tl.constexpr,
    STAGE: tl.constexpr,
    FORM: tl.constexpr,
    TERM_FORM: tl.constexpr,
    MANY: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
    DEPENDENT: tl.constexpr,
):
    """By networks: blocks of θ, then blocks of φ, then a program for the losses. MANY as of the gradient's kernel.

    Where a step looks at whole gradients, it is two launches: of STAGE 1, which adds the rows up and leaves each
    block's squared norm, and of STAGE 2, to which the sums are rows and the addition; else one, of STAGE 0.
    """
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
        p_squares += network * squares_stride
        if WITH_TERM:
            p_to_theta += network * size
            p_phi += network * term_size
            p_term_moments += network * term_moments_stride
            p_term_rows += network * term_rows * term_size
            p_term_losses += network * term_rows
    if program < blocks:
        o_p = program * BLOCK + tl.arange(0, BLOCK)
        live = o_p < size
        if STAGE == 2:
            gradient = tl.load(p_rows + o_p, mask=live, other=0.0)
        else:
            gradient = sum_rows(p_rows, rows, size, o_p, live, BLOCK, ROWS)
            if WITH_TERM:
                gradient += tl.load(p_to_theta + o_p, mask=live, other=0.0)
        if STAGE == 1:
            tl.store(p_squares + program, tl.sum(gradient * gradient))
        if FORM.clips and STAGE == 2:
            gradient *= clipped(p_squares, blocks, tl.load(p_scalars + MOST_NORM), BLOCK)
        step(p_theta, p_moments, gradient, size, p_scalars, o_p, live, FORM)
    elif program < blocks + term_blocks:
        if WITH_TERM:
            o_p = (program - blocks) * BLOCK + tl.arange(0, BLOCK)
            live = o_p < term_size
            if STAGE == 2:
                gradient = tl.load(p_term_rows + o_p, mask=live, other=0.0)
            else:
                gradient = sum_rows(p_term_rows, term_rows, term_size, o_p, live, BLOCK, ROWS)
            if STAGE == 1:
                tl.store(p_squares + program, tl.sum(gradient * gradient))
            if TERM_FORM.clips and STAGE == 2:
                most = tl.load(p_scalars + COUNT + MOST_NORM)
                gradient *= clipped(p_squares + blocks, term_blocks, most, BLOCK)
            step(p_phi, p_term_moments, gradient, term_size, p_scalars + COUNT, o_p, live, TERM_FORM)
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
    """Takes one step of each network with the gradient that `gradient` left: in one launch, or two where it is clipped.

    Each sequence holds the networks' and, if the term is on, the predictors': `parameters` (networks, P), `moments`
    (networks, count, P). `scalars` (networks, SCALARS per learner) are `Optimizer.scalars`, which hold all that
    networks may differ in; `losses` (networks, 1 per learner) receives task and Kolmogorov loss. A captured launch
    follows the scalars.
    """
    networks = workspace.networks
    for flat, kept, one, size in zip(parameters, moments, optimizers, _sizes(workspace, parameters), strict=True):
        written("parameters", flat, networks, size)
        written("moments", kept, networks, one.moments, size)
    scalars = read_rows("scalars", scalars, networks, SCALARS * len(parameters))
    each = [Form(one.kind, one.has_maximum, one.clips) for one in optimizers]
    if not any(form.clips for form in each):
        _launch(workspace, parameters, moments, scalars, losses, each)
        return
    sums = workspace.sums
    _launch(workspace, sums, sums, losses, losses, [SUM] * len(sums), stage=1)
    _launch(workspace, parameters, moments, scalars, losses, each, stage=2)


def total(workspace: Workspace, gradients: Sequence[Tensor], losses: Tensor) -> None:
    """What `update` would take its steps with: the gradient (networks, P) of each learner, and the `losses`."""
    for gradient, size in zip(gradients, _sizes(workspace, gradients), strict=True):
        written("gradient", gradient, workspace.networks, size)
    _launch(workspace, gradients, gradients, losses, losses, [SUM] * len(gradients))


def _sizes(workspace: Workspace, vectors: Sequence[Tensor]) -> list[int]:
    return sizes(vectors, workspace.network, workspace.term)


class Form(NamedTuple):
    """What of an optimiser a kernel is compiled for."""

    kind: str
    maximum: bool = False
    clips: bool = False


SUM = Form("none")


def _launch(
    workspace: Workspace, parameters: Sequence[Tensor], moments: Sequence[Tensor], scalars: Tensor, losses: Tensor,
    forms: Sequence[Form], stage: int = 0,
) -> None:  # fmt: skip
    networks, network, task = workspace.networks, workspace.network, workspace.task
    term, predictor = workspace.term, workspace.predictor
    written_rows("losses", losses, networks, len(parameters))
    other = predictor or task
    blocks, term_blocks = -(-network.size // BLOCK), -(-term.predictor.size // BLOCK) if term else 0
    rows = [task.rows, other.rows] if stage < 2 else [workspace.sums[0], workspace.sums[-1]]
    with torch.cuda.device_of(losses):
        update_kernel[(blocks + term_blocks + (stage < 2), networks)](
            p_theta=parameters[0],
            p_moments=moments[0],
            p_rows=rows[0],
            p_to_theta=workspace.to_theta,
            p_losses=task.losses,
            p_phi=parameters[-1],
            p_term_moments=moments[-1],
            p_term_rows=rows[1],
            p_term_losses=other.losses,
            p_scalars=scalars,
            p_out=losses,
            p_squares=workspace.squares,
            rows=workspace.programs if stage < 2 else 1,
            size=network.size,
            moments_stride=moments[0].stride(0),
            scalars_stride=scalars.stride(0),
            out_stride=losses.stride(0),
            squares_stride=workspace.squares.stride(0),
            loss_scale=1.0 / (workspace.batch * network.dims[-1]),
            term_rows=other.launch.programs if stage < 2 else 1,
            term_size=term.predictor.size if term else 0,
            term_moments_stride=moments[-1].stride(0),
            term_loss_scale=1.0 / network.size,
            blocks=blocks,
            term_blocks=term_blocks,
            WITH_TERM=term is not None,
            STAGE=stage,
            FORM=forms[0],
            TERM_FORM=forms[-1],
            MANY=networks > 1,
            BLOCK=BLOCK,
            ROWS=ROWS,
            DEPENDENT=task.launch.dependent,
            num_warps=4,
            **task.launch.options,
            enable_fp_fusion=True,
        )
