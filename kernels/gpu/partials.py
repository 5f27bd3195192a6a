"""Scratch of a run: a row of partial gradients for each program, and how many programs wrote one."""

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from draw_poly.kernels.gpu.plan import DEPENDENT_FROM, Launch, Plan, batch_tile, code_tile, plan
from draw_poly.kernels.spec import CodeLength, Network
from draw_poly.kernels.support import gpu_limit, interpreted


class Share(NamedTuple):
    """One network's part of a launch. `rows` (programs, size), `losses` (programs,), `table` (layers, 3)."""

    plan: Plan
    launch: Launch
    rows: Tensor
    losses: Tensor
    table: Tensor
    scratch: Tensor


class Partials:
    """What `gradient` writes and `update` reads, for batches of at most `points`; allocated once.

    For one thread at a time.
    """

    def __init__(
        self, network: Network, code: CodeLength | None, points: int, device: torch.device, precision: str = "fp32"
    ) -> None:
        if limit := gpu_limit(network, code):
            raise ValueError(limit)
        self.network, self.code, self.points = network, code, points
        tile = batch_tile(network, points)
        dependent = launches_dependently(device)
        constants, launch = plan(network, network.dims, points, tile, precision)
        self.task = share(network, (constants, launch._replace(dependent=dependent)), device)
        self.predictor: Share | None = None
        if code:
            dims = code.predictor.dims[:-1] if code.binned else code.predictor.dims
            planned = plan(code.predictor, dims, network.size, code_tile(), precision)
            self.predictor = share(code.predictor, planned, device)  # launched with the task, in its way
        # The term's gradient by the network's parameters, each written by one program.
        self.to_theta = torch.empty(network.size if code else 0, dtype=torch.float32, device=device)
        self.programs = 0  # of the last launch: a short batch has fewer
        self.batch = 0  # points of the last launch


def share(network: Network, planned: tuple[Plan, Launch], device: torch.device) -> Share:
    """Scratch for a plan."""
    constants, launch = planned
    rows = torch.empty((launch.programs, network.size), dtype=torch.float32, device=device)
    losses = torch.empty(launch.programs, dtype=torch.float32, device=device)
    scratch = torch.empty(launch.programs * launch.scratch, dtype=torch.float32, device=device)
    return Share(constants, launch, rows, losses, layer_table(network, device), scratch)


def launches_dependently(device: torch.device) -> bool:
    """Whether a step's launches on this device begin while the one before ends."""
    if device.type != "cuda" or interpreted() or torch.version.hip:
        return False
    return torch.cuda.get_device_capability(device) >= DEPENDENT_FROM


@cache  # no table goes that a captured graph may read
def layer_table(network: Network, device: torch.device) -> Tensor:
    """Offset, inputs and outputs of each layer, (layers, 3) int32: what a run-time loop over layers reads."""
    rows = [(offset, into, out) for offset, (out, into) in zip(network.offsets, network.shapes, strict=True)]
    return torch.tensor(rows, dtype=torch.int32, device=device)
