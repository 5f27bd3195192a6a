"""One launch after the gradient's: partial gradients summed in a fixed order, an optimiser's step, the losses."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from draw_poly.kernels.gpu.descent import MOST_NORM, clipped, step, sum_losses
from draw_poly.kernels.gpu.layers import follow
from draw_poly.kernels.gpu.muon import constants, muon_kernel
from draw_poly.kernels.gpu.workspace import BLOCK, Workspace
from draw_poly.kernels.spec import SCALARS, Optimizer
from draw_poly.kernels.tensors import read_rows, sizes, written, written_rows

# Rows that a program reads at once.
ROWS = 16
COUNT = tl.constexpr(SCALARS)


@triton.jit
def sum_rows(p_rows, rows, size, o_p, live, BLOCK: tl.constexpr, ROWS: tl.constexpr):
    """The sum over rows of one block of columns [BLOCK]: each of ROWS running sums in turn, then these."""
    total = tl.zeros([ROWS, BLOCK], tl.float32)
    for start in range(0, rows, ROWS):
        o_r = start + tl.arange(0, ROWS)
        pointers = p_rows + o_r[:, None].to(tl.int64) * size + o_p[None, :]
        total += tl.load(pointers, mask=(o_r[:, None] < rows) & live[None, :], other=0.0)
    return tl.sum(total, 0)


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
    if not any(one.looks_ahead for one in optimizers):
        _launch(workspace, parameters, moments, scalars, losses, each)
        return
    sums = workspace.sums
    _launch(workspace, sums, sums, losses, losses, [SUM] * len(sums), stage=1)
    if not all(one.rest for one in optimizers):
        _launch(workspace, parameters, moments, scalars, losses, each, stage=2)
    for index, one in enumerate(optimizers):
        if one.rest:
            _launch_muon(workspace, index, one, parameters[index], moments[index], scalars, each[index])


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


def _launch_muon(
    workspace: Workspace, learner: int, optimizer: Optimizer, parameters: Tensor, moments: Tensor, scalars: Tensor,
    form: Form,
) -> None:  # fmt: skip
    """The step of a learner's layers, whose gradient has been summed up."""
    network, shares = workspace.network, workspace.task
    if learner:
        assert workspace.term
        assert workspace.predictor
        network, shares = workspace.term.predictor, workspace.predictor
    first = -(-workspace.network.size // BLOCK) if learner else 0
    squares, own = workspace.squares[:, first:], scalars[:, SCALARS * learner :]
    with torch.cuda.device_of(parameters):
        muon_kernel[(len(network.shapes), workspace.networks)](
            p_parameters=parameters,
            p_moments=moments,
            p_gradient=workspace.sums[learner],
            p_squares=squares,
            p_scalars=own,
            p_table=shares.table,
            size=network.size,
            moments_stride=moments.stride(0),
            scalars_stride=own.stride(0),
            squares_stride=squares.stride(0),
            blocks=-(-network.size // BLOCK),
            FORM=form,
            MANY=workspace.networks > 1,
            BLOCK=BLOCK,
            DEPENDENT=workspace.task.launch.dependent,
            num_warps=4,
            **constants(network, optimizer),
            **workspace.task.launch.options,
        )


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
            loss_scale=1.0 / (workspace.batch * network.targets),
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
