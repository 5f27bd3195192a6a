"""Validation in one launch: mean squared error, lowest and highest output of points that do not train."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from draw_poly.kernels.gpu.layers import dense, forward
from draw_poly.kernels.gpu.plan import batch_tile, plan
from draw_poly.kernels.gpu.workspace import layer_table
from draw_poly.kernels.spec import Network
from draw_poly.kernels.support import gpu_limit
from draw_poly.kernels.tensors import read, read_rows, written_rows

RUN_TIME = [
    "points", "programs", "size", "inputs_stride", "inputs_row_stride", "targets_stride", "targets_row_stride",
    "out_stride",
]  # fmt: skip


@triton.jit(do_not_specialize=RUN_TIME)
def validate_kernel(
    p_parameters,  # (networks, size)
    p_table,  # (layers, 3) int32
    p_scratch,  # (networks, programs, SCRATCH)
    p_found,  # (networks, 3, programs)
    p_finished,  # (networks,) int32
    p_inputs,  # (networks, inputs, points), rows of any stride
    p_targets,  # (networks, outputs, points), rows of any stride
    p_out,  # (networks, 3), rows of any stride
    points,
    programs,
    size,
    inputs_stride,
    inputs_row_stride,
    targets_stride,
    targets_row_stride,
    out_stride,
    share,
    MANY: tl.constexpr,
    BLOCK: tl.constexpr,
    SCRATCH: tl.constexpr,
    PLAN: tl.constexpr,
):
    """A program's tiles to its column of `p_found`; who finishes last of a network adds them up, in their order."""
    T: tl.constexpr = PLAN.tile
    W: tl.constexpr = PLAN.width
    LAST: tl.constexpr = len(PLAN.dims) - 2
    program = tl.program_id(0)
    if MANY:
        network = tl.program_id(1).to(tl.int64)
        p_parameters += network * size
        p_scratch += network * programs * SCRATCH
        p_found += network * 3 * programs
        p_finished += network
        p_inputs += network * inputs_stride
        p_targets += network * targets_stride
        p_out += network * out_stride
    p_scratch += program.to(tl.int64) * SCRATCH
    o_w = tl.arange(0, PLAN.width)[:, None]
    o_inputs, o_targets = o_w * inputs_row_stride.to(tl.int64), o_w * targets_row_stride.to(tl.int64)
    total, spoilt = tl.zeros([W, T], tl.float32), tl.zeros([W, T], tl.float32)
    lowest, highest = tl.full([W, T], float("inf"), tl.float32), tl.full([W, T], -float("inf"), tl.float32)
    for tile in range(program, tl.cdiv(points, PLAN.tile), programs):
        o_t = (tile * PLAN.tile + tl.arange(0, PLAN.tile))[None, :]
        live = tile * PLAN.tile + tl.arange(0, PLAN.tile) < points
        known = (o_w < PLAN.dims[0]) & (o_t < points)
        inputs = tl.load(p_inputs + o_inputs + o_t, mask=known, other=0.0)
        _, hidden = forward(p_parameters, p_table, p_scratch, inputs, live, PLAN)
        outputs = dense(p_parameters, PLAN.offsets[LAST], PLAN.dims[LAST], PLAN.dims[LAST + 1], hidden, live, PLAN)
        asked = (o_w < PLAN.dims[LAST + 1]) & (o_t < points)
        difference = outputs - tl.load(p_targets + o_targets + o_t, mask=asked, other=0.0)
        total += tl.where(asked, difference * difference, 0.0)
        spoilt += tl.where(asked & (outputs != outputs), outputs, 0.0)  # a minimum may pass a NaN over
        lowest = tl.minimum(lowest, tl.where(asked, outputs, float("inf")))
        highest = tl.maximum(highest, tl.where(asked, outputs, -float("inf")))
    tl.store(p_found + program, tl.sum(tl.sum(total, 0), 0))
    missing = tl.sum(tl.sum(spoilt, 0), 0)  # 0, or NaN
    tl.store(p_found + programs + program, tl.min(tl.min(lowest, 0), 0) + missing)
    tl.store(p_found + 2 * programs + program, tl.max(tl.max(highest, 0), 0) + missing)
    tl.debug_barrier()  # before this program says that it has finished
    if tl.atomic_add(p_finished, 1, sem="acq_rel") == programs - 1:
        error, none, low, high = 0.0, 0.0, float("inf"), -float("inf")
        for start in range(0, programs, BLOCK):
            o_r = start + tl.arange(0, BLOCK)
            live = o_r < programs
            # Past the processor's own cache, which does not see what other programs stored.
            error += tl.sum(tl.load(p_found + o_r, mask=live, other=0.0, cache_modifier=".cg"), 0)
            least = tl.load(p_found + programs + o_r, mask=live, other=float("inf"), cache_modifier=".cg")
            most = tl.load(p_found + 2 * programs + o_r, mask=live, other=-float("inf"), cache_modifier=".cg")
            none += tl.sum(tl.where(least != least, least, 0.0), 0)
            low, high = tl.minimum(low, tl.min(least, 0)), tl.maximum(high, tl.max(most, 0))
        tl.store(p_out, error * share)
        tl.store(p_out + 1, low + none)
        tl.store(p_out + 2, high + none)
        tl.store(p_finished, 0)  # for the next launch


class Validation:
    """What validating networks on so many `points` each takes, made once: a graph keeps its addresses."""

    def __init__(self, network: Network, points: int, device: torch.device, networks: int = 1) -> None:
        if limit := gpu_limit(network, None):
            raise ValueError(limit)
        self.network, self.points, self.networks = network, points, networks
        self._plan, self._launch = plan(network, network.dims, points, batch_tile(network, points), "fp32")
        programs = self._launch.programs
        self._table = layer_table(network, device)
        self._scratch = torch.empty((networks, programs, self._launch.scratch), dtype=torch.float32, device=device)
        self._found = torch.empty((networks, 3, programs), dtype=torch.float32, device=device)
        self._finished = torch.zeros(networks, dtype=torch.int32, device=device)

    def run(self, parameters: Tensor, inputs: Tensor, targets: Tensor, out: Tensor) -> None:
        """Writes mean squared error, lowest and highest output (networks, 3) of each network (networks, P).

        Of inputs (networks, 2, n) and targets (networks, k, n); never in tf32. Raises ValueError for another number of
        points than it was made for.
        """
        points = inputs.shape[-1]
        if points != self.points:
            raise ValueError(f"{points} points to validate on, where {self.points} were said")
        launch, network, networks = self._launch, self.network, self.networks
        parameters = read("parameters", parameters, networks, network.size)
        inputs = read_rows("inputs", inputs, networks, network.dims[0], points)
        targets = read_rows("targets", targets, networks, network.dims[-1], points)
        written_rows("the numbers", out, networks, 3)
        with torch.cuda.device_of(inputs):
            validate_kernel[(launch.programs, networks)](
                p_parameters=parameters,
                p_table=self._table,
                p_scratch=self._scratch,
                p_found=self._found,
                p_finished=self._finished,
                p_inputs=inputs,
                p_targets=targets,
                p_out=out,
                points=points,
                programs=launch.programs,
                size=network.size,
                inputs_stride=inputs.stride(0),
                inputs_row_stride=inputs.stride(1),
                targets_stride=targets.stride(0),
                targets_row_stride=targets.stride(1),
                out_stride=out.stride(0),
                share=1.0 / (points * network.dims[-1]),
                MANY=networks > 1,
                BLOCK=64,
                SCRATCH=launch.scratch,
                PLAN=self._plan,
                num_warps=launch.warps,
                num_stages=launch.stages,
                enable_fp_fusion=True,
            )
