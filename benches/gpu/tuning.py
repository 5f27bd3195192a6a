"""The gradient of the main network by every tile, number of warps and stages, and place for activations."""

from itertools import product

from benches.gpu.cases import Case, sizes, tuned
from benches.gpu.course import Bench
from benches.gpu.times import microseconds

TURNS, SMALL_TURNS = 15, 1
BATCHES, TILES, WARPS, STAGES = (1024, 65536), (16, 32, 64), (1, 2, 4, 8), (1, 2, 3)
# Stages are tried with the plan's own warps.
USUAL_WARPS = 4
# Points of a tile for each warp, whose registers hold their activations: past it, a kernel compiles for half a minute.
MOST_HELD = 16


def cases(small: bool) -> dict[str, Case]:
    """By batch; a run-time loop, whose activations are in the scratch, is tried with one stage."""
    hidden = sizes(small).hidden
    if small:
        points = sizes(small).points
        return {f"gradient {points}, 16 points a tile, 1 warps": tuned(hidden, points, 16, True, warps=1, stages=1)}
    found: dict[str, Case] = {}
    for points, tile, warps, unrolled in product(BATCHES, TILES, WARPS, (True, False)):
        if unrolled and tile > MOST_HELD * warps:
            continue
        for stages in STAGES if unrolled and warps == USUAL_WARPS else STAGES[:1]:
            name = f"{tile} points a tile, {warps} warps, {stages} stages, {'registers' if unrolled else 'scratch'}"
            found[f"gradient {points}, {name}"] = tuned(hidden, points, tile, unrolled, warps=warps, stages=stages)
    return found


def work(bench: Bench) -> None:
    """All of them in turns."""
    microseconds(bench, cases(bench.small), SMALL_TURNS if bench.small else TURNS)
