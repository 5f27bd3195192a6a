"""The gradient of the main network by every tile, number of warps and stages, and place for activations."""

from itertools import product

from benches.gpu.cases import Case, tuned
from benches.gpu.course import Bench
from benches.gpu.times import microseconds

TURNS, SMALL_TURNS = 15, 1
BATCHES, TILES, WARPS, STAGES = (1024, 65536), (16, 32, 64), (1, 2, 4, 8), (1, 2, 3)


def cases(small: bool) -> dict[str, Case]:
    """By batch; a run-time loop, whose activations are in the scratch, is tried with one stage."""
    if small:
        return {"gradient 70, 16 points a tile, 1 warps": tuned(70, 16, True, warps=1, stages=1)}
    found: dict[str, Case] = {}
    for points, tile, warps, unrolled in product(BATCHES, TILES, WARPS, (True, False)):
        for stages in STAGES if unrolled else STAGES[:1]:
            name = f"{tile} points a tile, {warps} warps, {stages} stages, {'registers' if unrolled else 'scratch'}"
            found[f"gradient {points}, {name}"] = tuned(points, tile, unrolled, warps=warps, stages=stages)
    return found


def work(bench: Bench) -> None:
    """All of them in turns."""
    microseconds(bench, cases(bench.small), SMALL_TURNS if bench.small else TURNS)
