"""Scratch of a run: a row of partial gradients for each program, and how many programs wrote one."""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from draw_poly.kernels.gpu.plan import DEPENDENT_FROM, Launch, Plan, batch_tile, plan, term_tile
from draw_poly.kernels.spec import KolmogorovTerm, Network
from draw_poly.kernels.support import gpu_limit, interpreted
from draw_poly.kernels.tensors import shares

# Parameters that a program of the update takes.
BLOCK = 64


class Share(NamedTuple):
    """What is launched of a population's networks, or of its predictors, and the scratch of their programs."""

    plan: Plan
    launch: Launch
    rows: Tensor  # (networks, programs, parameters)
    losses: Tensor  # (networks, programs)
    table: Tensor  # (layers, 3) int32
    scratch: Tensor  # (networks, programs, layers, width, tile), or empty


class Workspace:
    """What `gradient` writes and `update` reads, for batches of at most `points` of each network; allocated once.

    `weights` (networks,) of the term are the code's where none are given. For one thread at a time.
    """

    def __init__(
        self, network: Network, term: KolmogorovTerm | None, points: int, device: torch.device, precision: str = "fp32",
        networks: int = 1, weights: Sequence[float] | None = None,
    ) -> None:  # fmt: skip
        if limit := gpu_limit(network, term):
            raise ValueError(limit)
        self.network, self.term, self.points, self.networks = network, term, points, networks
        tile = batch_tile(network, points)
        dependent = launches_dependently(device)
        constants, launch = plan(network, network.dims, points, tile, precision)
        self.task = share(network, (constants, launch._replace(dependent=dependent)), device, networks)
        self.predictor: Share | None = None
        if term:
            dims = term.predictor.dims[:-1] if term.binned else term.predictor.dims
            planned = plan(term.predictor, dims, network.size, term_tile(), precision)
            self.predictor = share(term.predictor, planned, device, networks)  # launched with the task, in its way
        # The term's gradient by the network's parameters, each written by one program.
        self.to_theta = torch.empty((networks, network.size if term else 0), dtype=torch.float32, device=device)
        # Of updates that look at whole gradients: these (networks, P), and the squared norm of each block.
        sizes = [network.size, *([term.predictor.size] if term else [])]
        self.sums = [torch.empty((networks, size), dtype=torch.float32, device=device) for size in sizes]
        blocks = sum(-(-size // BLOCK) for size in sizes)
        self.squares = torch.empty((networks, blocks), dtype=torch.float32, device=device)
        found = shares(network, term, networks, weights)
        self.shares = torch.tensor(found, dtype=torch.float32, device=device)
        self.programs = 0  # of the last launch: a short batch has fewer
        self.batch = 0  # points of the last launch


def share(network: Network, planned: tuple[Plan, Launch], device: torch.device, networks: int = 1) -> Share:
    """Scratch for a plan of so many networks."""
    constants, launch = planned
    rows = torch.empty((networks, launch.programs, network.size), dtype=torch.float32, device=device)
    losses = torch.empty((networks, launch.programs), dtype=torch.float32, device=device)
    scratch = torch.empty((networks, launch.programs, launch.scratch), dtype=torch.float32, device=device)
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
