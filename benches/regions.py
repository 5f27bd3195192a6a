"""Exact regions, beside the package regioncam where it is installed: `python -m benches.regions`.

Both subdivide the unit square by the same networks, in turns; the counts are compared before a time is taken. regioncam
computes in float32, so that a cell of next to no area may be there in one and not in the other.
"""

import argparse
import importlib
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from draw_poly.engine.regions.lives import Lives
from draw_poly.engine.regions.source import load
from draw_poly.engine.regions.statistics import statistics
from draw_poly.kernels.cpu.cells import Points
from draw_poly.kernels.cpu.regions import Regions
from draw_poly.kernels.spec import Network

Numbers = NDArray[np.float64]
SECONDS, TURNS = 2.0, 200  # of a network's turns, at most
SAME = 0.01  # by which counts in float32 may differ
# Networks at random, by the spread of their biases: about as many cells as the figures of `kernels/README.md`.
RANDOM = (((10,) * 100, 0.9, 5), ((64,) * 8, 2.5, 1), ((32,) * 16, 2.0, 1))
GROWING, REACHES = ((64,) * 32, 1.5, 1), (1, 2, 3, 4.5, 6)  # a network, and how far windows reach


def drawn(widths: Sequence[int], spread: float, seed: int) -> tuple[Network, Numbers]:
    """A network at random."""
    generator = np.random.default_rng(seed)
    network = Network((2, *widths, 1))
    parts = []
    for out, into in network.shapes:
        parts.append(generator.normal(size=out * into) * (2 / into) ** 0.5)
        parts.append(generator.normal(size=out) * spread * 0.3)
    return network, np.concatenate(parts)


def peer(network: Network, parameters: Numbers) -> Callable[[], int] | None:
    """The same by regioncam, which returns how many cells; None where it is not installed."""
    try:
        regioncam: Any = importlib.import_module("regioncam")
    except ImportError:
        return None
    layers = []
    for number, (place, (out, into)) in enumerate(zip(network.offsets, network.shapes, strict=True)):
        weight = parameters[place : place + out * into].reshape(out, into)
        bias = parameters[place + out * into : place + out * (into + 1)]
        if number == 0:  # its square reaches from -1 to 1
            weight, bias = weight / 2, bias + weight.sum(1) / 2
        layers.append((weight.T.astype(np.float32).copy(), bias.astype(np.float32)))

    def subdivide() -> int:
        found = regioncam.Regioncam(size=1.0)
        for weight, bias in layers[:-1]:
            found.linear(weight, bias)
            found.leaky_relu(network.slope)
        return int(found.num_faces)

    return subdivide


def best(doers: dict[str, Callable[[], object]]) -> dict[str, tuple[float, float]]:
    """The least and the median seconds of each, in turns."""
    taken: dict[str, list[float]] = {name: [] for name in doers}
    began = time.perf_counter()
    while time.perf_counter() - began < SECONDS * len(doers) and len(next(iter(taken.values()))) < TURNS:
        for name, do in doers.items():
            started = time.perf_counter()
            do()
            taken[name].append(time.perf_counter() - started)
    return {name: (min(times), float(np.median(times))) for name, times in taken.items()}


def row(title: str, network: Network, parameters: Numbers) -> str:
    """What one network's subdivision takes, in a line."""
    builder = Regions(network)
    found = builder.subdivide(parameters)
    points = Points(np.random.default_rng(1).random((2, 5000)))
    lives = Lives.begin(found, 0)

    def everything() -> None:
        whole = builder.subdivide(parameters)
        statistics(whole, points)
        lives.follow(Lives.begin(whole, 1))

    doers: dict[str, Callable[[], object]] = {
        "cells and areas": lambda: builder.subdivide(parameters),
        "and maps": lambda: builder.subdivide(parameters).maps,
        "and measures": everything,
    }
    other = peer(network, parameters)
    if other:
        count = other()
        if abs(count - found.cells) > SAME * found.cells + 1:
            return f"{title}: not timed: {found.cells} cells, and regioncam has {count}"
        doers["regioncam"] = other
    times = best(doers)
    told = ", ".join(f"{name} {1e3 * least:.3g} ({1e3 * middle:.3g})" for name, (least, middle) in times.items())
    ratio = f"; {times['regioncam'][0] / times['cells and areas'][0]:.1f} x" if other else ""
    return f"{title}: {found.cells} cells; ms, least (median): {told}{ratio}"


def growth(network: Network, parameters: Numbers) -> Iterator[str]:
    """How the time of one network's subdivision grows with the cells of ever wider windows, a line each."""
    builder = Regions(network, 10**7)
    first: tuple[int, float] | None = None
    for reach in REACHES:
        window = (-reach / 2, -reach / 2, reach / 2, reach / 2)
        builder.subdivide(parameters, window)  # which makes its room
        started = time.perf_counter()
        cells = builder.subdivide(parameters, window).cells
        taken = time.perf_counter() - started
        first = first or (cells, taken)
        power = np.log(taken / first[1]) / np.log(cells / first[0]) if cells > first[0] else np.nan
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        yield f"{cells} cells: {taken:.3g} s, {1e6 * taken / cells:.3g} µs a cell, power {power:.3f}; {most:.2f} GiB"


def main() -> None:
    """Prints a line a network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", nargs="?", help="a trained network, such as [10]*8 after 2000 epochs")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--growth", action="store_true", help="how time and memory grow with cells, to a million; no peer"
    )
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    if words.checkpoint:
        source = load(words.checkpoint)
        print(row(Path(words.checkpoint).name, source.network, source.parameters), flush=True)
    if words.growth:
        for line in growth(*drawn(*GROWING)):
            print(line, flush=True)
        return
    for widths, spread, seed in RANDOM:
        print(row(f"[{widths[0]}]*{len(widths)}", *drawn(widths, spread, seed)), flush=True)


if __name__ == "__main__":
    main()
