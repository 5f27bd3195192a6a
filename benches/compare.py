"""Two runs side by side, with a verdict that knows their noise.

A median's standard error is taken from the median absolute deviation of its turns: 1.4826 of it estimate a standard
deviation, and a median of n values has 1.2533 / √n of that. Two medians differ where they are further apart than three
standard errors of their difference, and than 5 %, by which the same program's runs differ from hour to hour.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benches.figures import Run

SIGMAS = 3.0
FLOOR = 0.05
# Fewer turns do not tell their own spread.
FEWEST_TURNS = 4
SLOWER, FASTER, EQUAL, UNSURE = "slower", "faster", "no difference beyond noise", "too few turns to tell"


@dataclass(frozen=True)
class Verdict:
    """How many times the earlier time the later one is, how far from 1 noise alone may take it, and what follows."""

    ratio: float
    noise: float
    word: str


def verdict(before: Sequence[float], after: Sequence[float]) -> Verdict:
    """Judges two contenders' turns."""
    ratio = statistics.median(after) / statistics.median(before)
    noise = max(FLOOR, math.expm1(SIGMAS * math.hypot(_error(before), _error(after))))
    if min(len(before), len(after)) < FEWEST_TURNS:
        return Verdict(ratio, noise, UNSURE)
    if ratio > 1 + noise:
        return Verdict(ratio, noise, SLOWER)
    return Verdict(ratio, noise, FASTER if ratio < 1 / (1 + noise) else EQUAL)


def _error(values: Sequence[float]) -> float:
    """The relative standard error of a median."""
    middle = statistics.median(values)
    deviation = statistics.median(abs(value - middle) for value in values)
    return 1.2533 * 1.4826 * deviation / middle / math.sqrt(len(values))


def differing_machines(before: Run, after: Run) -> str | None:
    """Why times of these runs cannot be compared; None if they can."""
    for what in ("processor", "device", "threads"):
        one, other = before.provenance.get(what), after.provenance.get(what)
        if one != other:
            return f"the runs differ in {what}, {one} and {other}: their times cannot be compared"
    return None


def comparison(before: Run, after: Run) -> tuple[str, int]:
    """A Markdown table of what both runs measured, and how much of it became slower."""
    earlier = {(record.group, record.contender): record for record in before.records}
    lines = ["| what | contender | before | after | ratio | noise | |", "|---" * 7 + "|"]
    slower = 0
    drift = []
    for record in after.records:
        old = earlier.get((record.group, record.contender))
        if old is None:
            continue
        found = verdict(old.timing.rounds, record.timing.rounds)
        slower += found.word == SLOWER
        drift += [record.info["GFLOP/s"] / old.info["GFLOP/s"]] if "GFLOP/s" in record.info else []
        lines.append(
            f"| {record.group} | {record.contender} | {seconds(old.timing.median)} | {seconds(record.timing.median)} "
            f"| {found.ratio:.2f} | {found.noise:.0%} | {found.word} |"
        )
    commits = " to ".join(run.provenance["commit"] for run in (before, after))
    said = f"{commits}; {slower} slower beyond noise"
    if drift:
        said += f"; the machine's own product ran at {statistics.median(drift):.2f} times the earlier rate"
    return "\n".join([*lines, "", said]), slower


def seconds(value: float) -> str:
    """A time with three digits and its unit."""
    unit, size = next((pair for pair in (("s", 1.0), ("ms", 1e-3)) if value >= pair[1]), ("µs", 1e-6))
    shown = value / size
    return f"{shown:.3g} {unit}" if shown < 1000 else f"{shown:.0f} {unit}"
