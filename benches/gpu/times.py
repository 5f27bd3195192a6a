"""Microseconds of a step, its two launches and evaluations; by stages of the pipeline and by dependent launches."""

from collections.abc import Mapping
from typing import Any

from benches.gpu.cases import Case, evaluation, shape, sizes, step, validation
from benches.gpu.course import Bench
from benches.method import Limit, Variant, clocks, measure
from draw_poly.kernels.spec import KolmogorovTerm
from draw_poly.kernels.support import interpreted

TURNS, SMALL_TURNS = 25, 1
STAGES = (1, 2, 3)
POPULATIONS = (8, 64, 512)
# Widths of eight layers, depths of width 10, batches of the main network, and pictures that are timed beside it.
WIDTHS, DEPTHS, BATCHES = (4, 16, 32, 64), (2, 4, 16, 32, 64), (128, 8192, 65536)
EVALUATED = (((16,) * 8, 2048), ((32,) * 8, 1024), ((64,) * 8, 1024))


def cases(small: bool) -> dict[str, Case]:
    """All that is timed here."""
    return {**steps(small), **launches(small), **populations(small), **evaluations(small)}


def steps(small: bool) -> dict[str, Case]:
    """Steps over widths, depths, batch sizes and with the term; of the main network also each launch."""
    size, found = sizes(small), dict[str, Case]()
    main, many = size.hidden, size.points
    kinds: list[tuple[tuple[int, ...], int, KolmogorovTerm | None, str]]
    kinds = [(main, many, None, "fp32"), (main, many, size.term, "fp32")]
    if not small:
        kinds += [(main, many, None, "tf32")] + [(main, points, None, "fp32") for points in BATCHES]
        kinds += [((width,) * 8, many, None, "fp32") for width in WIDTHS]
        kinds += [((10,) * depth, many, None, "fp32") for depth in DEPTHS]
        kinds += [((64,) * 8, 8192, None, "fp32"), ((64,) * 8, 8192, None, "tf32")]
    for hidden, points, term, precision in kinds:
        name = named(hidden, points, term) + (", tf32" if precision == "tf32" else "")
        apart = hidden == main and precision == "fp32"
        for part, said in (("both", "step"), ("gradient", "gradient"), ("update", "update")):
            if apart or part == "both":
                found[f"{said} {name}"] = step(part, hidden, points, term, precision=precision)
    return found


def launches(small: bool) -> dict[str, Case]:
    """The main network's step and gradient by other ways of launching them, without and with the term."""
    size, found = sizes(small), dict[str, Case]()
    for term in (None,) if small else (None, size.term):
        name = named(size.hidden, size.points, term)
        for stages in STAGES:
            found[f"gradient {name}, {stages} stages"] = step("gradient", size.hidden, size.points, term, stages=stages)
        for dependent in (False,) if interpreted() else (False, True):
            said = "dependent" if dependent else "independent"
            found[f"step {name}, {said}"] = step("both", size.hidden, size.points, term, dependent=dependent)
    return found


def populations(small: bool) -> dict[str, Case]:
    """A step of many networks side by side, all of them in the same two launches."""
    size, found = sizes(small), dict[str, Case]()
    for networks in (2,) if small else POPULATIONS:
        for term in (None,) if small else (None, size.term):
            name = named(size.hidden, size.points, term)
            found[f"step {name}, {networks} networks"] = step("both", size.hidden, size.points, term, networks=networks)
    return found


def evaluations(small: bool) -> dict[str, Case]:
    """Forward and signatures of many points, of a grid and with boundaries; a validation; PyTorch's forward alone."""
    size, found = sizes(small), dict[str, Case]()
    main = size.hidden
    for hidden, side in ((main, size.side), *(() if small else EVALUATED)):
        name = f"{shape(hidden)}, {side * side}"
        found[f"evaluate {name}"] = evaluation("points", hidden, side)
        found[f"evaluate with edges {name}"] = evaluation("edges", hidden, side)
    found[f"PyTorch's forward {shape(main)}, {size.side**2}"] = evaluation("PyTorch", main, size.side)
    if not small:
        found[f"evaluate {shape(main)}, 1024"] = evaluation("points", main, 32)
    found[f"validate {shape(main)}, {size.points}"] = validation(main, size.points)
    return found


def named(hidden: tuple[int, ...], points: int, term: KolmogorovTerm | None) -> str:
    """A network, its batch and its term."""
    return f"{shape(hidden)}, {points}" + (f", {term.loss} {term.bins}" if term else "")


def work(bench: Bench) -> None:
    """The device's own limits, then all cases in turns."""
    turns = SMALL_TURNS if bench.small else TURNS
    try:
        limit = Limit(bench.device, bench.small)
        rates = limit.rates(measure(limit.variants(), 5))
        bench.note(limits={"copy, bytes a second": rates.bytes, "float32 product, flop a second": rates.flops})
        del limit
    except Exception as error:  # the kernels' times are worth more than what they are held against
        bench.wrong(f"the device's limits cannot be had: {type(error).__name__}: {error}")
    microseconds(bench, cases(bench.small), turns)
    bench.note(clocks=clocks() if bench.device.type == "cuda" else "unknown")


def microseconds(bench: Bench, found: Mapping[str, Case], turns: int) -> None:
    """Notes the microseconds of a call of each case, and of its first; a case that fails is told, and left out."""
    failed: dict[str, str] = {}
    variants: dict[str, Variant] = {}
    for name, case in found.items():
        try:
            variants[name] = Variant(case.make(bench.device), calls=1 if bench.small else case.calls, graph=True)
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
