"""The Triton kernels on a GPU: right first, then how fast; one command of at most eight minutes.

    python -m benches.gpu --json gpu.json           # checks, times, a short table
    python -m benches.gpu --tune                    # also every tile and number of warps for [10]*8
    TRITON_INTERPRET=1 python -m benches.gpu --small    # a rehearsal without a GPU: its times mean nothing

Needs torch, triton, numpy and this checkout. A time is that of one call within a CUDA graph of many, replayed, by the
device's own events: the median over replays, variants taking turns. Compilation is warm-up, and reported apart.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benches import gpu_epoch, verify_kernels
from benches.method import Limit, Variant, Work, clocks, measure, provenance
from benches.plain import plain_forward, random_parameters
from engine import kolmogorov
from kernels import gpu
from kernels.gpu.partials import Partials, share
from kernels.gpu.plan import batch_tile, plan
from kernels.spec import CodeLength, Network, Optimizer

# What the project aims at on an H200, in microseconds.
AIMS = {"step [10]*8, 1024": 12.0, "step [10]*8, 1024, cross_entropy 256": 20.0, "evaluate [10]*8, 16777216": 2000.0}
CODE = CodeLength(Network((3, 8, 8, 256)), "cross_entropy", 0.05)


def microseconds(variants: dict[str, tuple[Work, int]], turns: int) -> dict[str, dict[str, float]]:
    """Microseconds a call of each variant, its work and how many calls a graph holds, and of its first call."""
    timings = measure({name: Variant(work, calls=calls, graph=True) for name, (work, calls) in variants.items()}, turns)
    return {
        name: {
            "median": 1e6 * one.median,
            "least": 1e6 * min(one.rounds),
            "most": 1e6 * max(one.rounds),
            "first": 1e6 * one.first,
        }
        for name, one in timings.items()
    }


class Step:
    """A step of a network on random data, as the engine takes it."""

    def __init__(
        self, network: Network, points: int, code: CodeLength | None, device: torch.device, **words: Any
    ) -> None:
        self.partials = Partials(network, code, points, device, **words)
        learners = [network] + ([code.predictor] if code else [])
        self.parameters = [random_parameters(one, 1, torch.float32).to(device) for one in learners]
        self.positions = kolmogorov.positions(network).to(device) if code else None
        self.moments = [torch.zeros((2, one.size), device=device) for one in learners]
        self.inputs, self.targets = torch.rand((2, points), device=device), torch.rand((1, points), device=device)
        self.optimizers = [Optimizer("adam", 1e-3)] * len(learners)
        self.scalars = torch.tensor(self.optimizers[0].scalars(100) * len(learners), device=device)
        self.losses = torch.empty(len(learners), device=device)

    def gradient(self) -> None:
        """The first launch."""
        gpu.gradient(self.partials, self.parameters, self.positions, self.inputs, self.targets)

    def update(self) -> None:
        """The second."""
        gpu.update(self.partials, self.optimizers, self.parameters, self.moments, self.scalars, self.losses)

    def both(self) -> None:
        """A whole step."""
        self.gradient()
        self.update()


def steps(device: torch.device, small: bool) -> dict[str, tuple[Work, int]]:
    """Steps, and their two launches apart, over widths, depths, batch sizes and with the term."""
    cases: list[tuple[tuple[int, ...], int, CodeLength | None, str]] = [((10,) * 8, 1024, None, "fp32")]
    if not small:
        cases += [((10,) * 8, points, None, "fp32") for points in (128, 8192, 65536)]
        cases += [((width,) * 8, 1024, None, "fp32") for width in (4, 16, 32, 64)]
        cases += [((10,) * depth, 1024, None, "fp32") for depth in (2, 4, 16, 32, 64)]
        cases += [((10,) * 8, 1024, None, "tf32"), ((64,) * 8, 8192, None, "tf32"), ((64,) * 8, 8192, None, "fp32")]
    cases += [((10,) * 8, 70 if small else 1024, CODE, "fp32")]
    found: dict[str, tuple[Work, int]] = {}
    for hidden, points, code, precision in cases:
        network = Network((2, *hidden, 1))
        step = Step(network, points, code, device, precision=precision)
        case = f"[{hidden[0]}]*{len(hidden)}, {points}" + (f", {code.loss} {code.bins}" if code else "")
        case += ", tf32" if precision == "tf32" else ""
        calls = 2 if small else 64
        found[f"step {case}"] = step.both, calls
        if hidden == (10,) * 8:
            found[f"gradient {case}"] = step.gradient, calls
            found[f"update {case}"] = step.update, calls
    return found


def evaluations(device: torch.device, small: bool) -> dict[str, tuple[Work, int]]:
    """Forward and signatures of many points, of a grid and with boundaries; PyTorch's forward alone beside them."""
    found: dict[str, tuple[Work, int]] = {}
    for hidden, count in (((10,) * 8, 2**24), ((16,) * 8, 2**22), ((32,) * 8, 2**20), ((64,) * 8, 2**20)):
        side = 16 if small else int(count**0.5)
        network = Network((2, *hidden, 1))
        flat = random_parameters(network, 1, torch.float32).to(device)
        coefficients = torch.randint(1, 2**31 - 1, (network.neurons,), device=device)
        inputs = torch.rand((2, side * side), device=device)
        outputs = torch.empty((1, side, side), device=device)
        signatures = torch.empty((side, side), dtype=torch.int64, device=device)
        edges = torch.empty((side, side), dtype=torch.uint8, device=device)
        case = f"[{hidden[0]}]*{len(hidden)}, {side * side}"

        placed, size = (network, flat, coefficients), (side, side)
        points = partial(gpu.evaluate, *placed, inputs, outputs.view(1, -1), signatures.view(-1))
        grid = partial(gpu.evaluate_grid, *placed, size, 0, outputs, signatures, edges)
        found[f"evaluate {case}"] = points, 2
        found[f"evaluate with edges {case}"] = grid, 2
        if hidden == (10,) * 8:
            found[f"PyTorch's forward {case}"] = partial(plain_forward, flat, network, inputs), 2
    return found


def tunings(device: torch.device) -> dict[str, tuple[Work, int]]:
    """The gradient of [10]*8 by every tile, number of warps, and place for activations."""
    network = Network((2, *[10] * 8, 1))
    found: dict[str, tuple[Work, int]] = {}
    for points in (1024, 65536):
        for tile in (16, 32, 64):
            for warps in (1, 2, 4, 8):
                for unrolled in (True, False):
                    step = Step(network, points, None, device)
                    constants, launch = plan(network, network.dims, points, tile, "fp32", unrolled)
                    step.partials.task = share(network, (constants, launch._replace(warps=warps)), device)
                    place = "registers" if unrolled else "scratch"
                    default = " *" if tile == batch_tile(network, points) and warps == 4 and unrolled else ""
                    found[f"gradient {points}, tile {tile}, {warps} warps, {place}{default}"] = step.gradient, 32
    return found


def limits(device: torch.device) -> dict[str, float]:
    """The device's own: copied bytes and float32 multiply-adds a second, by PyTorch."""
    if device.type != "cuda":
        return {}
    limit = Limit(device)
    rates = limit.rates(measure(limit.variants(), 5))
    return {"copy, bytes a second": rates.bytes, "float32 product, flop a second": rates.flops}


def check(device: torch.device, small: bool) -> tuple[int, list[dict[str, Any]]]:
    """Every kernel against float64: how many outputs are wrong, and all of them."""
    found: list[dict[str, Any]] = []
    wrong = 0
    for precision in ("fp32",) if small else ("fp32", "tf32"):
        for row in verify_kernels.rows(gpu, device, precision, small):
            found.append({**vars(row), "passed": row.passed})
            if not row.passed:
                wrong += 1
                print(f"WRONG {row}", flush=True)
    print(f"{len(found)} outputs checked against float64, {wrong} wrong", flush=True)
    return wrong, found


def main(words: Sequence[str] | None = None) -> int:
    """Checks, times, prints, and writes JSON; exit status 1 where an output is wrong: no figure for a wrong answer."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--json", type=Path, help="write every figure here")
    reader.add_argument("--tune", action="store_true", help="also time every tile and number of warps for [10]*8")
    reader.add_argument("--small", action="store_true", help="small sizes and few turns: a rehearsal")
    reader.add_argument("--turns", type=int, default=20, help="measured replays of each variant (default 20)")
    chosen = reader.parse_args(words)
    if not torch.cuda.is_available() and not chosen.small:
        print("no GPU that torch can use: give --small with TRITON_INTERPRET=1 for a rehearsal", file=sys.stderr)
        return 2
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    result: dict[str, Any] = {"machine": provenance(device)}
    print(json.dumps(result["machine"]), flush=True)
    wrong, result["checks"] = check(device, chosen.small)
    status = int(wrong > 0)
    if not wrong:
        turns = 1 if chosen.small else chosen.turns
        result["limits"] = limits(device)
        variants = {**steps(device, chosen.small), **evaluations(device, chosen.small)}
        result["microseconds"] = microseconds(variants, turns)
        if chosen.tune and not chosen.small:
            result["tuning"] = microseconds(tunings(device), turns)
        result["epoch"] = gpu_epoch.epochs(device, chosen.small, 1 if chosen.small else 10)
        result["clocks after"] = clocks() if device.type == "cuda" else "unknown"
        table(result)
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=1) + "\n")
    return status


def table(result: dict[str, Any]) -> None:
    """The times, fastest tuning first, beside what the project aims at."""
    print(json.dumps(result["limits"]))
    print(json.dumps(result["epoch"]))
    print(f"\n{'what':48} {'median µs':>10} {'least':>10} {'most':>10} {'aim':>8}")
    tuned = sorted(result.get("tuning", {}).items(), key=lambda item: float(item[1]["median"]))
    for name, figures in [*result["microseconds"].items(), *tuned]:
        row = f"{figures['median']:10.2f} {figures['least']:10.2f} {figures['most']:10.2f}"
        print(f"{name:48} {row} {AIMS.get(name, ''):>8}")


if __name__ == "__main__":
    sys.exit(main())
