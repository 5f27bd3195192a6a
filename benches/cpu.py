"""The CPU kernels against what the machine's own matrix product implies, and against JAX where it is installed.

    python -m benches.cpu                    # some minutes; a table on standard output
    python -m benches.cpu --json cpu.json    # the figures too

Variants take turns in one run. A ratio is the median time over the time that the floating-point operations would take
at the rate of a 1024 x 1024 product of torch with as many threads, measured in the same turns.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benches.epoch import IMAGE, THREADS, machine, timed
from engine.network import initialise
from kernels import cpu
from kernels.spec import ADAM_BETAS, EPSILON, Network, Optimizer

MAIN = Network((2, *[10] * 8, 1))
CPU = torch.device("cpu")
ADAM = Optimizer("adam", 0.001)
STEPS = 40  # of one measured call, so that a call costs nothing
PRODUCT = 1024
# Seconds of one measured call of a curve.
TARGET_SECONDS = 0.05


def flops_forward(network: Network, points: int) -> float:
    """Floating-point operations of the matrix products of a forward pass."""
    return 2.0 * points * sum(out * into for out, into in network.shapes)


def flops_step(network: Network, points: int) -> float:
    """Of a forward and backward pass; nobody wants the gradient of the coordinates."""
    first_out, first_into = network.shapes[0]
    return 3.0 * flops_forward(network, points) - 2.0 * points * first_out * first_into


def product() -> Callable[[], object]:
    """A matrix product at the machine's best."""
    left, right = torch.rand(PRODUCT, PRODUCT), torch.rand(PRODUCT, PRODUCT)
    out = torch.empty(PRODUCT, PRODUCT)
    return lambda: torch.mm(left, right, out=out)


def training(network: Network, batch: int, steps: int) -> Callable[[], object]:
    """That many steps of adam on random points, in one call."""
    parameters = initialise(network, torch.Generator().manual_seed(1), 0.1)
    moments = torch.zeros((2, network.size))
    points = torch.rand(2, batch), torch.rand(network.dims[-1], batch)
    order = torch.cat([torch.randperm(batch) for _ in range(steps)])
    scalars = torch.tensor([ADAM.scalars(step) for step in range(1, steps + 1)])
    losses = torch.empty((steps, 1))
    partials = cpu.Partials(network, None, batch, CPU)
    return lambda: cpu.train(partials, [ADAM], [parameters], [moments], None, points, order, scalars, losses)


def evaluation(network: Network, side: int) -> Callable[[], object]:
    """Outputs and signatures at the pixels of a square picture."""
    parameters = initialise(network, torch.Generator().manual_seed(1), 0.1)
    evaluator = cpu.Evaluator(network, torch.randint(1, 2**31 - 1, (network.neurons,)))
    outputs, signatures = torch.empty((1, side, side)), torch.empty((side, side), dtype=torch.int64)
    return lambda: evaluator.grid(parameters, (side, side), 0, outputs, signatures)


def jax_training(network: Network, batch: int, steps: int) -> Callable[[], object] | None:
    """The same steps by JAX, jit and scan, feature-major; None where it is not installed."""
    try:
        import jax
        import jax.numpy as jnp
    except ImportError:
        return None

    def split(flat: Any) -> list[tuple[Any, Any]]:
        layers, start = [], 0
        for out, into in network.shapes:
            weight = flat[start : start + out * into].reshape(out, into)
            start += out * into
            layers.append((weight, flat[start : start + out, None]))
            start += out
        return layers

    def loss(flat: Any, inputs: Any, targets: Any) -> Any:
        hidden, layers = inputs, split(flat)
        for index, (weight, bias) in enumerate(layers):
            hidden = weight @ hidden + bias
            if index < len(layers) - 1:
                hidden = jnp.where(hidden > 0, hidden, network.slope * hidden)
        return jnp.mean((hidden - targets) ** 2)

    def step(state: Any, item: Any) -> Any:
        flat, first, second = state
        order, scalars = item
        value, slope = jax.value_and_grad(loss)(flat, inputs[:, order], targets[:, order])
        first = ADAM_BETAS[0] * first + (1 - ADAM_BETAS[0]) * slope
        second = ADAM_BETAS[1] * second + (1 - ADAM_BETAS[1]) * slope * slope
        return (flat - scalars[0] * first / (jnp.sqrt(second) / scalars[1] + EPSILON), first, second), value

    draws = torch.Generator().manual_seed(1)
    inputs, targets = (jnp.asarray(torch.rand(rows, batch).numpy()) for rows in (2, network.dims[-1]))
    order = jnp.asarray(torch.stack([torch.randperm(batch) for _ in range(steps)]).numpy())
    scalars = jnp.asarray([ADAM.scalars(number) for number in range(1, steps + 1)])
    begin = jnp.asarray(initialise(network, draws, 0.1).numpy())
    state = begin, jnp.zeros_like(begin), jnp.zeros_like(begin)
    scan = jax.jit(lambda state, items: jax.lax.scan(step, state, items))
    return lambda: jax.block_until_ready(scan(state, (order, scalars)))


def interleaved(variants: dict[str, Callable[[], object]], turns: int) -> dict[str, float]:
    """Median seconds of each variant; each runs once unmeasured."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for work in variants.values():
        work()
    for _ in range(turns):
        for name, work in variants.items():
            times[name].append(timed(work))
    return {name: statistics.median(values) for name, values in times.items()}


def rate(seconds: float) -> float:
    """Operations a second of the matrix product."""
    return 2.0 * PRODUCT**3 / seconds


def steps_and_frames(threads: int, turns: int) -> list[dict[str, Any]]:
    """Steps at several batch sizes and a million points of evaluation, with so many threads."""
    torch.set_num_threads(threads)
    wanted = {1024: 3.0, 8192: 1.5, 65536: 1.5}
    variants: dict[str, Callable[[], object]] = {"product": product()}
    flops: dict[str, tuple[float, int, float]] = {}
    for batch in wanted:
        steps = max(2, STEPS * 1024 // batch)
        variants[f"step, batch {batch}"] = training(MAIN, batch, steps)
        flops[f"step, batch {batch}"] = flops_step(MAIN, batch), steps, wanted[batch]
        peer = jax_training(MAIN, batch, steps) if threads == THREADS else None
        if peer:
            variants[f"step, batch {batch}, JAX"] = peer
            flops[f"step, batch {batch}, JAX"] = flops_step(MAIN, batch), steps, 0.0
    variants["a million points, signatures"] = evaluation(MAIN, 1024)
    flops["a million points, signatures"] = flops_forward(MAIN, 2**20), 1, 2.5
    seconds = interleaved(variants, turns)
    speed = rate(seconds["product"])
    print(f"\n{threads} threads: {speed / 1e9:.0f} GFLOP/s in a product of {PRODUCT} x {PRODUCT}")
    rows = []
    for name, (operations, count, limit) in flops.items():
        taken, implied = seconds[name] / count, operations / speed
        rows.append({"what": name, "threads": threads, "seconds": taken, "implied": implied, "wanted": limit})
        print(f"{name:32} {1e3 * taken:9.3f} ms {taken / implied:6.2f} x implied" + f"  wanted {limit}" * bool(limit))
    return rows


def curves(turns: int) -> list[dict[str, Any]]:
    """A step as points, depth and width grow one at a time, all threads."""
    torch.set_num_threads(THREADS)
    families = {
        "points": [(MAIN, points) for points in (64, 256, 1024, 4096, 16384, 65536)],
        "depth": [(Network((2, *[10] * depth, 1)), 4096) for depth in (2, 4, 8, 16, 32, 64)],
        "width": [(Network((2, *[width] * 4, 1)), 4096) for width in (4, 8, 10, 16, 32, 64, 128, 256)],
    }
    rows = []
    print(f"\n{'curve':8} {'at':>7} {'ms a step':>10} {'x implied':>10}")
    for family, members in families.items():
        for network, points in members:
            steps = max(1, int(TARGET_SECONDS * 1e11 / flops_step(network, points)))
            seconds = interleaved(
                {"product": product(), "step": training(network, points, min(steps, 100))}, max(3, turns // 3)
            )  # fmt: skip
            taken = seconds["step"] / min(steps, 100)
            implied = flops_step(network, points) / rate(seconds["product"])
            at = {"points": points, "depth": len(network.dims) - 2, "width": network.dims[1]}[family]
            rows.append({"curve": family, "at": at, "seconds": taken, "implied": implied})
            print(f"{family:8} {at:7} {1e3 * taken:10.3f} {taken / implied:10.2f}", flush=True)
    return rows


def starts() -> dict[str, list[float]]:
    """Seconds from the command to the first epoch's line: with nothing compiled yet, then with the code on disk."""
    seconds: dict[str, list[float]] = {"cold": [], "warm": []}
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("cold", "warm", "warm", "warm"):
            words = ["-i", str(IMAGE), "-s", "[10]*8", "-e", "1", "--seed", "1", "--overwrite", "-o", folder]
            command = [sys.executable, str(Path(__file__).parents[1] / "cli.py"), *words, "--snapshot-dir", folder]
            command += ["--backend", "cpu"]
            seconds[kind].append(timed(partial(_first_epoch, command, folder)))
    print(
        f"\nto the first epoch's line: cold {seconds['cold'][0]:.2f} s, warm {statistics.median(seconds['warm']):.2f} s"
    )
    return seconds


def _first_epoch(command: list[str], folder: str) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": f"{folder}/code"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as running:
        assert running.stderr
        for line in running.stderr:
            if "Epoch 1/" in line:
                break
        running.kill()


def main() -> None:
    """Measures, prints tables, and writes JSON if asked to."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--turns", type=int, default=15, help="measured turns of each variant (default 15)")
    reader.add_argument("--json", type=Path, help="write the figures here")
    chosen = reader.parse_args()
    print(f"{machine()}, {THREADS} threads, torch {torch.__version__}")
    with torch.inference_mode():
        content: dict[str, Any] = {
            "machine": machine(),
            "torch": torch.__version__,
            "work": [row for threads in sorted({1, THREADS}) for row in steps_and_frames(threads, chosen.turns)],
            "curves": curves(chosen.turns),
            "starts": starts(),
        }
    if chosen.json:
        chosen.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
