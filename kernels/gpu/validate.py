"""Validation in one launch: mean loss, lowest and highest output of points that do not train."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from draw_poly.kernels.gpu.layers import dense, forward
from draw_poly.kernels.gpu.loss import classes_of, read_targets, score
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
    p_found,  # (networks, 1 + 2 * targets, programs): losses, then the lowest of each range, then the highest
    p_finished,  # (networks,) int32
    p_inputs,  # (networks, inputs, points), rows of any stride
    p_targets,  # (networks, targets, points), rows of any stride
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
    CLASSES: tl.constexpr = PLAN.loss == "cross_entropy"
    RANGES: tl.constexpr = 1 if CLASSES else PLAN.dims[len(PLAN.dims) - 1]
    program = tl.program_id(0)
    if MANY:
        network = tl.program_id(1).to(tl.int64)
        p_parameters += network * size
        p_scratch += network * programs * SCRATCH
        p_found += network * (1 + 2 * RANGES) * programs
        p_finished += network
        p_inputs += network * inputs_stride
        p_targets += network * targets_stride
        p_out += network * out_stride
    p_scratch += program.to(tl.int64) * SCRATCH
    o_w = tl.arange(0, PLAN.width)[:, None]
    o_inputs = o_w * inputs_row_stride.to(tl.int64)
    total, spoilt = tl.zeros([T], tl.float32), tl.zeros([W, T], tl.float32)
    lowest, highest = tl.full([W, T], float("inf"), tl.float32), tl.full([W, T], -float("inf"), tl.float32)
    for tile in range(program, tl.cdiv(points, PLAN.tile), programs):
        o_t = (tile * PLAN.tile + tl.arange(0, PLAN.tile))[None, :]
        live = tile * PLAN.tile + tl.arange(0, PLAN.tile) < points
        known = (o_w < PLAN.dims[0]) & (o_t < points)
        inputs = tl.load(p_inputs + o_inputs + o_t, mask=known, other=0.0)
        _, hidden = forward(p_parameters, p_table, p_scratch, inputs, live, PLAN)
        outputs = dense(p_parameters, PLAN.offsets[LAST], PLAN.dims[LAST], PLAN.dims[LAST + 1], hidden, live, PLAN)
        targets = read_targets(p_targets, targets_row_stride, o_t, live, PLAN)
        losses, _ = score(outputs, targets, live, 0.0, PLAN)
        total += losses
        ranged = outputs
        if CLASSES:
            ranged = tl.broadcast_to(classes_of(outputs, PLAN)[None, :], [W, T])
        asked = (o_w < RANGES) & live[None, :]
        spoilt += tl.where(asked & (ranged != ranged), ranged, 0.0)  # a minimum may pass a NaN over
        lowest = tl.minimum(lowest, tl.where(asked, ranged, float("inf")))
        highest = tl.maximum(highest, tl.where(asked, ranged, -float("inf")))
    tl.store(p_found + program, tl.sum(total, 0))
    missing = tl.sum(spoilt, 1)  # 0, or NaN
    o_range = tl.arange(0, PLAN.width)
    p_lowest = p_found + (1 + o_range) * programs + program
    tl.store(p_lowest, tl.min(lowest, 1) + missing, mask=o_range < RANGES)
    tl.store(p_lowest + RANGES * programs, tl.max(highest, 1) + missing, mask=o_range < RANGES)
    tl.debug_barrier()  # before this program says that it has finished
    if tl.atomic_add(p_finished, 1, sem="acq_rel") == programs - 1:
        error, low, high = 0.0, 0.0, 0.0
        for start in range(0, programs, BLOCK):
            o_r = start + tl.arange(0, BLOCK)
            # Past the processor's own cache, which does not see what other programs stored.
            error += tl.sum(tl.load(p_found + o_r, mask=o_r < programs, other=0.0, cache_modifier=".cg"), 0)
        tl.store(p_out, error * share)
        for place in range(RANGES):
            least, most = range_of(p_found + (1 + place) * programs, RANGES * programs, programs, BLOCK)
            wider = (place == 0) | (low == low) & ~(most - least <= high - low)  # NaN is the widest
            low, high = tl.where(wider, least, low), tl.where(wider, most, high)
        tl.store(p_out + 1, low)
        tl.store(p_out + 2, high)
        tl.store(p_finished, 0)  # for the next launch


@triton.jit
def range_of(p_lowest, apart, programs, BLOCK: tl.constexpr):
    """The lowest and the highest number of what programs left; NaN where one of them did."""
    none, low, high = 0.0, float("inf"), -float("inf")
    for start in range(0, programs, BLOCK):
        o_r = start + tl.arange(0, BLOCK)
        live = o_r < programs
        least = tl.load(p_lowest + o_r, mask=live, other=float("inf"), cache_modifier=".cg")
        most = tl.load(p_lowest + apart + o_r, mask=live, other=-float("inf"), cache_modifier=".cg")
        none += tl.sum(tl.where(least != least, least, 0.0), 0)
        low, high = tl.minimum(low, tl.min(least, 0)), tl.maximum(high, tl.max(most, 0))
    return low + none, high + none


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
        self._found = torch.empty((networks, 1 + 2 * network.targets, programs), dtype=torch.float32, device=device)
        self._finished = torch.zeros(networks, dtype=torch.int32, device=device)

    def run(self, parameters: Tensor, inputs: Tensor, targets: Tensor, out: Tensor) -> None:
        """Writes mean loss, lowest and highest output (networks, 3) of each network (networks, P).

        These are of the output with the widest range, or of the classes that points are given. Of inputs
        (networks, 2, n) and targets (networks, targets, n); never in tf32. Raises ValueError for another number of
        points than it was made for.
        """
        points = inputs.shape[-1]
        if points != self.points:
            raise ValueError(f"{points} points to validate on, where {self.points} were said")
        launch, network, networks = self._launch, self.network, self.networks
        parameters = read("parameters", parameters, networks, network.size)
        inputs = read_rows("inputs", inputs, networks, network.dims[0], points)
        targets = read_rows("targets", targets, networks, network.targets, points)
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
                share=1.0 / (points * network.targets),
                MANY=networks > 1,
                BLOCK=64,
                SCRATCH=launch.scratch,
                PLAN=self._plan,
                num_warps=launch.warps,
                num_stages=launch.stages,
                enable_fp_fusion=True,
            )
