"""What is launched to be timed, compiled ahead, profiled or watched: steps and evaluations on random data."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from benches.method import Work
from benches.plain import plain_forward
from draw_poly.engine.model import kolmogorov
from draw_poly.kernels import gpu
from draw_poly.kernels.gpu.plan import plan
from draw_poly.kernels.gpu.workspace import Workspace, share
from draw_poly.kernels.oracle import random_parameters
from draw_poly.kernels.spec import KolmogorovTerm, Network, Optimizer


@dataclass(frozen=True)
class Sizes:
    """The main network, its batch and its term; `side` of a picture."""

    hidden: tuple[int, ...]
    points: int
    term: KolmogorovTerm
    side: int


USUAL = Sizes((10,) * 8, 1024, KolmogorovTerm(Network((3, 8, 8, 256)), "cross_entropy", 0.05), 4096)
# What an interpreter has time for.
SMALL = Sizes((5,) * 2, 40, KolmogorovTerm(Network((3, 4, 11)), "cross_entropy", 0.05, 11), 8)


def sizes(small: bool) -> Sizes:
    """Of a run, or of a rehearsal."""
    return SMALL if small else USUAL


@dataclass(frozen=True)
class Case:
    """Work on a device, how many calls of it a graph holds where there are graphs, whether it is ours to compile."""

    make: Callable[[torch.device], Work]
    calls: int
    ours: bool = True


class Step:
    """A step of a network on random data, as the engine takes it, or of so many of them side by side.

    `changes` are of the plan's half that the host passes at a launch.
    """

    def __init__(
        self, network: Network, points: int, term: KolmogorovTerm | None, device: torch.device, precision: str = "fp32",
        networks: int = 1, **changes: Any,
    ) -> None:  # fmt: skip
        self.workspace = Workspace(network, term, points, device, precision, networks)
        if changes:
            task = self.workspace.task
            self.workspace.task = task._replace(launch=task.launch._replace(**changes))
        learners = [network] + ([term.predictor] if term else [])
        self.parameters = [random_parameters(one, 1, torch.float32).repeat(networks, 1).to(device) for one in learners]
        self.positions = kolmogorov.positions(network).to(device) if term else None
        self.moments = [torch.zeros((networks, 2, one.size), device=device) for one in learners]
        generator = torch.Generator().manual_seed(2)
        self.inputs = torch.rand((networks, 2, points), generator=generator).to(device)
        self.targets = torch.rand((networks, 1, points), generator=generator).to(device)
        self.order = torch.randperm(points, generator=generator).repeat(networks, 1).to(device)
        self.optimizers = [Optimizer("adam", 1e-3)] * len(learners)
        scalars = [self.optimizers[0].scalars(100) * len(learners)] * networks
        self.scalars = torch.tensor(scalars, device=device)
        self.losses = torch.empty((networks, len(learners)), device=device)

    def gradient(self) -> None:
        """The first launch."""
        gpu.gradient(self.workspace, self.parameters, self.positions, self.inputs, self.targets, self.order)

    def update(self) -> None:
        """The second, after the first at least once."""
        gpu.update(self.workspace, self.optimizers, self.parameters, self.moments, self.scalars, self.losses)

    def both(self) -> None:
        """A whole step."""
        self.gradient()
        self.update()


def step(part: str, hidden: tuple[int, ...], points: int, term: KolmogorovTerm | None, **words: Any) -> Case:
    """A step, or the part of one that is named as its method is."""

    def make(device: torch.device) -> Work:
        made = Step(Network((2, *hidden, 1)), points, term, device, **words)
        made.gradient()  # an update alone wants to know how many rows there are
        work: Work = getattr(made, part)
        return work

    return Case(make, 100)


def tuned(hidden: tuple[int, ...], points: int, tile: int, unrolled: bool, **changes: Any) -> Case:
    """The gradient of a network by another plan."""

    def make(device: torch.device) -> Work:
        network = Network((2, *hidden, 1))
        made = Step(network, points, None, device)
        constants, launch = plan(network, network.dims, points, tile, "fp32", unrolled)
        made.workspace.task = share(network, (constants, launch._replace(**changes)), device)
        return made.gradient

    return Case(make, 50)


def validation(hidden: tuple[int, ...], points: int) -> Case:
    """A validation in one launch."""

    def make(device: torch.device) -> Work:
        network = Network((2, *hidden, 1))
        flat = random_parameters(network, 1, torch.float32)[None].to(device)
        data = torch.rand((1, 3, points), generator=torch.Generator().manual_seed(4)).to(device)
        out = torch.empty((1, 3), device=device)
        return partial(gpu.Validation(network, points, device).run, flat, data[:, :2], data[:, 2:], out)

    return Case(make, 100)


def evaluation(kind: str, hidden: tuple[int, ...], side: int) -> Case:
    """A square picture's points evaluated: read, of a grid, of a grid with edges, or by PyTorch's forward alone."""

    def make(device: torch.device) -> Work:
        network = Network((2, *hidden, 1))
        flat = random_parameters(network, 1, torch.float32)[None].to(device)
        generator = torch.Generator().manual_seed(3)
        coefficients = torch.randint(1, 2**31 - 1, (1, network.neurons), generator=generator).to(device)
        outputs = torch.empty((1, 1, side, side), device=device)
        signatures = torch.empty((1, side, side), dtype=torch.int64, device=device)
        if kind == "grid":
            return partial(gpu.evaluate_grid, network, flat, coefficients, (side, side), 0, outputs, signatures)
        if kind == "edges":
            edges = torch.empty((1, side, side), dtype=torch.uint8, device=device)
            return partial(gpu.evaluate_grid, network, flat, coefficients, (side, side), 0, outputs, signatures, edges)
        inputs = torch.rand((1, 2, side * side), generator=generator).to(device)
        if kind == "PyTorch":
            return partial(plain_forward, flat[0], network, inputs[0])
        return partial(
            gpu.evaluate, network, flat, coefficients, inputs, outputs.view(1, 1, -1), signatures.view(1, -1)
        )  # fmt: skip

    return Case(make, 2, kind != "PyTorch")


def shape(hidden: tuple[int, ...]) -> str:
    """A network's name."""
    return f"[{hidden[0]}]*{len(hidden)}"
