"""Validation in one launch: mean squared error, lowest and highest output of points that do not train."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from draw_poly.kernels.gpu.layers import dense, forward
from draw_poly.kernels.gpu.partials import layer_table
from draw_poly.kernels.gpu.plan import batch_tile, plan
from draw_poly.kernels.spec import Network
from draw_poly.kernels.support import gpu_limit
from draw_poly.kernels.tensors import read, read_rows, written


@triton.jit(do_not_specialize=["points", "programs", "inputs_stride", "targets_stride"])
def validate_kernel(
    p_parameters, p_table, p_scratch, p_found, p_finished, p_inputs, p_targets, p_out, points, programs, inputs_stride,
    targets_stride, share, BLOCK: tl.constexpr, SCRATCH: tl.constexpr, PLAN: tl.constexpr,
):  # fmt: skip
    """A program's tiles to its row of `p_found` (3, programs); who finishes last adds the rows up, in their order."""
    T: tl.constexpr = PLAN.tile
    W: tl.constexpr = PLAN.width
    LAST: tl.constexpr = len(PLAN.dims) - 2
    program = tl.program_id(0)
    p_scratch += program.to(tl.int64) * SCRATCH
    o_w = tl.arange(0, PLAN.width)[:, None]
    o_inputs, o_targets = o_w * inputs_stride.to(tl.int64), o_w * targets_stride.to(tl.int64)
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
    """What validating a network on so many `points` takes, made once: a graph keeps its addresses."""

    def __init__(self, network: Network, points: int, device: torch.device) -> None:
        if limit := gpu_limit(network, None):
            raise ValueError(limit)
        self.network, self.points = network, points
        self._plan, self._launch = plan(network, network.dims, points, batch_tile(network, points), "fp32")
        programs = self._launch.programs
        self._table = layer_table(network, device)
        self._scratch = torch.empty(programs * self._launch.scratch, dtype=torch.float32, device=device)
        self._found = torch.empty((3, programs), dtype=torch.float32, device=device)
        self._finished = torch.zeros(1, dtype=torch.int32, device=device)

    def run(self, parameters: Tensor, inputs: Tensor, targets: Tensor, out: Tensor) -> None:
        """Writes mean squared error, lowest and highest output (3,) of inputs (2, n), targets (k, n).

        Never in tf32. Raises ValueError for another number of points than it was made for.
        """
        if inputs.shape[1] != self.points:
            raise ValueError(f"{inputs.shape[1]} points to validate on, where {self.points} were said")
        launch, network = self._launch, self.network
        parameters = read("parameters", parameters, network.size)
        inputs = read_rows("inputs", inputs, network.dims[0], self.points)
        targets = read_rows("targets", targets, network.dims[-1], self.points)
        written("the numbers", out, 3)
        with torch.cuda.device_of(inputs):
            validate_kernel[(launch.programs,)](
                parameters, self._table, self._scratch, self._found, self._finished, inputs, targets, out, self.points,
                launch.programs, inputs.stride(0), targets.stride(0), 1.0 / (self.points * network.dims[-1]),
                BLOCK=64, SCRATCH=launch.scratch, PLAN=self._plan, num_warps=launch.warps, num_stages=launch.stages,
                enable_fp_fusion=True,
            )  # fmt: skip
