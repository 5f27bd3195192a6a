"""Many steps over again to the bit; then compute-sanitizer on every kernel: memory, what nobody wrote, barriers."""

import re
from dataclasses import dataclass

from benches.gpu import device as devices
from benches.gpu import tool, uncaptured
from benches.gpu.cases import Case, Step, sizes
from benches.gpu.course import Bench, Skip
from draw_poly.kernels.spec import KolmogorovTerm, Network

RERUNS, SMALL_RERUNS = 100, 3
TOOL = "compute-sanitizer"
KINDS = ("memcheck", "initcheck", "synccheck")
# Each tensor has memory of its own, or reads past one would end in another.
ENVIRONMENT = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
SUMMARY = re.compile(r"ERROR SUMMARY: (\d+) error")
# Lines of errors that are kept of a tool.
KEPT = 40


@dataclass(frozen=True)
class Report:
    """What a tool counted, None where it came to no count; the lines that tell of errors."""

    errors: int | None
    lines: list[str]


def cases(small: bool) -> dict[str, Case]:
    """What the watched program launches, which would compile it three times over."""
    return uncaptured.small()


def work(bench: Bench) -> None:
    """Reruns, which need no tool; then all tools side by side."""
    _rerun(bench)
    found = tool.find(TOOL)
    if found is None:
        raise Skip(f"the reruns are done; {TOOL} is not installed")
    program = [*bench.python, "-m", "benches.gpu.uncaptured"]
    commands = {kind: [found, "--tool", kind, *program] for kind in KINDS}
    for kind, said in tool.together(commands, bench.left - 10, ENVIRONMENT).items():
        report = read(said.out + said.err)
        bench.note(**{kind: {"ending": said.ending, "seconds": round(said.seconds, 1), **vars(report)}})
        if report.errors is None:
            bench.wrong(f"{kind} came to no end: {said.ending}, {said.tail(3)}")
        elif report.errors or said.status:
            bench.wrong(f"{kind}: {report.errors} errors, {said.ending}, such as {report.lines[:3] or said.tail(3)}")


def read(text: str) -> Report:
    """What compute-sanitizer said."""
    own = [line.removeprefix("=========").strip() for line in text.splitlines() if line.startswith("=========")]
    counts = [int(match[1]) for line in own if (match := SUMMARY.search(line))]
    lines = [line for line in own if line and not SUMMARY.search(line) and line != "COMPUTE-SANITIZER"]
    return Report(sum(counts) if counts else None, lines[:KEPT])


def _rerun(bench: Bench) -> None:
    """One step from the same state, again and again: a moving bit is a race."""
    reruns = SMALL_RERUNS if bench.small else RERUNS
    size, cases = sizes(bench.small), list[tuple[str, tuple[int, ...], int, KolmogorovTerm | None]]()
    cases = [("main", size.hidden, size.points, None), ("with the term", size.hidden, size.points, size.term)]
    if not bench.small:
        cases += [("by a loop", (5,) * 12, 904, size.term), ("of many tiles", size.hidden, 2**16, None)]
    for name, hidden, points, term in cases:
        made = Step(Network((2, *hidden, 1)), points, term, bench.device)
        begun = [*made.parameters, *made.moments]
        start = [one.clone() for one in begun]
        first, moved = None, 0
        for _ in range(reruns):
            for one, before in zip(begun, start, strict=True):
                one.copy_(before)
            made.both()
            devices.wait(bench.device)
            found = [one.cpu().clone() for one in (*begun, made.losses)]
            first = first or found
            moved += any(not (one == other).all() for one, other in zip(first, found, strict=True))
        bench.note(**{f"reruns {name}": {"of": reruns, "other than the first": moved}})
        if moved:
            bench.wrong(f"{moved} of {reruns} reruns of a step {name} came to other bits than the first")
