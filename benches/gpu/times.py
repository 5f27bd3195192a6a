"""Microseconds of a step, its two launches and evaluations; by stages of the pipeline and by dependent launches."""

from collections.abc import Mapping
from typing import Any

from benches.gpu.cases import CODE, HIDDEN, POINTS, Case, evaluation, shape, step, validation
from benches.gpu.course import Bench
from benches.method import Limit, Variant, clocks, measure
from kernels.spec import CodeLength
from kernels.support import interpreted

TURNS, SMALL_TURNS = 25, 1
STAGES = (1, 2, 3)
# Widths of eight layers, depths of width 10, and batches of the main network that are timed beside it.
WIDTHS, DEPTHS, BATCHES = (4, 16, 32, 64), (2, 4, 16, 32, 64), (128, 8192, 65536)
EVALUATED = (((10,) * 8, 4096), ((16,) * 8, 2048), ((32,) * 8, 1024), ((64,) * 8, 1024))


def cases(small: bool) -> dict[str, Case]:
    """All that is timed here."""
    return {**steps(small), **launches(small), **evaluations(small)}


def steps(small: bool) -> dict[str, Case]:
    """Steps over widths, depths, batch sizes and with the term; of the main network also each launch."""
    found: dict[str, Case] = {}
    kinds: list[tuple[tuple[int, ...], int, CodeLength | None, str]]
    kinds = [(HIDDEN, 70, None, "fp32"), (HIDDEN, 70, CODE, "fp32")]
    if not small:
        kinds = [(HIDDEN, POINTS, None, "fp32"), (HIDDEN, POINTS, CODE, "fp32"), (HIDDEN, POINTS, None, "tf32")]
        kinds += [(HIDDEN, points, None, "fp32") for points in BATCHES]
        kinds += [((width,) * 8, POINTS, None, "fp32") for width in WIDTHS]
        kinds += [((10,) * depth, POINTS, None, "fp32") for depth in DEPTHS]
        kinds += [((64,) * 8, 8192, None, "fp32"), ((64,) * 8, 8192, None, "tf32")]
    for hidden, points, code, precision in kinds:
        name = f"{shape(hidden)}, {points}" + (f", {code.loss} {code.bins}" if code else "")
        name += ", tf32" if precision == "tf32" else ""
        main = hidden == HIDDEN and precision == "fp32"
        for part, said in (("both", "step"), ("gradient", "gradient"), ("update", "update")):
            if main or part == "both":
                found[f"{said} {name}"] = step(part, hidden, points, code, precision=precision)
    return found


def launches(small: bool) -> dict[str, Case]:
    """The main network's step and gradient by other ways of launching them, without and with the term."""
    points, found = 70 if small else POINTS, dict[str, Case]()
    for code in (None, CODE):
        name = f"{shape(HIDDEN)}, {points}" + (f", {code.loss} {code.bins}" if code else "")
        for stages in STAGES:
            found[f"gradient {name}, {stages} stages"] = step("gradient", HIDDEN, points, code, stages=stages)
        for dependent in (False,) if interpreted() else (False, True):
            said = "dependent" if dependent else "independent"
            found[f"step {name}, {said}"] = step("both", HIDDEN, points, code, dependent=dependent)
    return found


def evaluations(small: bool) -> dict[str, Case]:
    """Forward and signatures of many points, of a grid and with boundaries; a validation's; PyTorch's forward alone."""
    found: dict[str, Case] = {}
    for hidden, side in EVALUATED:
        size = 16 if small else side
        name = f"{shape(hidden)}, {size * size}"
        found[f"evaluate {name}"] = evaluation("points", hidden, size)
        found[f"evaluate with edges {name}"] = evaluation("edges", hidden, size)
        if hidden == HIDDEN:
            found[f"PyTorch's forward {name}"] = evaluation("PyTorch", hidden, size)
            found[f"evaluate {shape(hidden)}, 1024"] = evaluation("points", hidden, 32)
            found[f"validate {shape(hidden)}, {70 if small else POINTS}"] = validation(hidden, 70 if small else POINTS)
    return found


def work(bench: Bench) -> None:
    """The device's own limits, then all cases in turns."""
    turns = SMALL_TURNS if bench.small else TURNS
    if bench.device.type == "cuda":
        limit = Limit(bench.device)
        rates = limit.rates(measure(limit.variants(), 5))
        bench.note(limits={"copy, bytes a second": rates.bytes, "float32 product, flop a second": rates.flops})
    microseconds(bench, cases(bench.small), turns)
    bench.note(clocks=clocks() if bench.device.type == "cuda" else "unknown")


def microseconds(bench: Bench, found: Mapping[str, Case], turns: int) -> None:
    """Notes the microseconds of a call of each case, and of its first; a case that fails is told, and left out."""
    failed: dict[str, str] = {}
    variants: dict[str, Variant] = {}
    for name, case in found.items():
        try:
            variants[name] = Variant(case.make(bench.device), calls=case.calls, graph=True)
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}"[:500]
    timings = measure(variants, turns, failed=failed)
    times: dict[str, dict[str, Any]] = {
        name: {
            "median": 1e6 * one.median,
            "least": 1e6 * min(one.rounds),
            "most": 1e6 * max(one.rounds),
            "first": 1e6 * one.first,
        }
        for name, one in timings.items()
    }
    bench.note(microseconds=times, failed=failed)
    if failed:
        bench.wrong(f"{len(failed)} cases could not be timed, such as {next(iter(failed.items()))}")
    if found and not times:
        raise RuntimeError("nothing could be timed")
