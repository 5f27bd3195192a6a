"""Every kernel launched a few times without a graph: for tools that watch a program from outside.

python -m benches.gpu.uncaptured              # small sizes, for compute-sanitizer
python -m benches.gpu.uncaptured --profile    # usual sizes, between the profiler's start and stop, for ncu
"""

import argparse
from collections.abc import Sequence
from functools import partial

import torch

from benches.gpu import device as devices
from benches.gpu.cases import USUAL, Case, Step, evaluation, step, validation
from benches.method import Work
from draw_poly.kernels import gpu
from draw_poly.kernels.gpu import plan
from draw_poly.kernels.gpu.gradient import input_gradient
from draw_poly.kernels.spec import OPTIMIZERS, KolmogorovTerm, Network, Optimizer

# Ragged batches; unrolled, by a loop through the scratch, wide.
SMALL = (((10,) * 8, 77), ((7, 12, 5), 33), ((5,) * 12, 77), ((33, 17), 40))
SMALL_TERM = KolmogorovTerm(Network((3, 8, 5, 70)), "cross_entropy", 0.5, 70, -0.8, 1.1)
# Programs that share the tiles, so that one has several.
FEW = 2


def small() -> dict[str, Case]:
    """All kernels, each in the ways that its code has branches for."""
    found: dict[str, Case] = {}
    for hidden, points in SMALL:
        tiled = {
            f"step {hidden}": step("both", hidden, points, None),
            f"step {hidden} with the term": step("both", hidden, points, SMALL_TERM),
            f"validate {hidden}": validation(hidden, points),
            f"operator {hidden}": Case(partial(_operator, hidden, points), 1),
        }
        found |= tiled | {f"{name}, {FEW} programs": Case(partial(_few, case), 1) for name, case in tiled.items()}
        found |= {f"evaluate {kind} {hidden}": evaluation(kind, hidden, 13) for kind in ("points", "grid", "edges")}
    return found | {f"update {kind}": Case(partial(_updated, kind), 1) for kind in OPTIMIZERS}


def _few(case: Case, device: torch.device) -> Work:
    """A case whose programs have several tiles each."""
    before, plan.MOST_PROGRAMS = plan.MOST_PROGRAMS, FEW
    try:
        return case.make(device)
    finally:
        plan.MOST_PROGRAMS = before


def usual() -> dict[str, Case]:
    """The kernels that the time goes to."""
    return {
        "step": step("both", USUAL.hidden, USUAL.points, None),
        "step with the term": step("both", USUAL.hidden, USUAL.points, USUAL.term),
        "validate": validation(USUAL.hidden, USUAL.points),
        "evaluate": evaluation("points", USUAL.hidden, USUAL.side),
        "evaluate with edges": evaluation("edges", USUAL.hidden, 1024),
    }


def _operator(hidden: tuple[int, ...], points: int, device: torch.device) -> Work:
    made = Step(Network((2, *hidden, 1)), points, None, device)
    given, to_inputs = made.targets, torch.empty_like(made.inputs)

    def work() -> None:
        input_gradient(made.workspace, made.parameters[0], made.inputs, given, to_inputs)
        gpu.total(made.workspace, [torch.empty_like(made.parameters[0])], made.losses)

    return work


def _updated(kind: str, device: torch.device) -> Work:
    network, optimizer = Network((2, 7, 5, 1)), Optimizer(kind, 1e-3)
    made = Step(network, 33, None, device)
    made.optimizers, made.moments = [optimizer], [torch.zeros((1, optimizer.moments, network.size), device=device)]
    return made.both


def main(words: Sequence[str] | None = None) -> None:
    """Launches."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--profile", action="store_true")
    chosen = reader.parse_args(words)
    device = devices.find()
    if chosen.profile:
        works = [case.make(device) for case in usual().values()]
        for work in works:
            work()
        devices.wait(device)
        with devices.profiled(device):
            for work in works:
                work()
        return
    for name, case in small().items():
        case.make(device)()
        devices.wait(device)
        print(name, flush=True)


if __name__ == "__main__":
    main()
