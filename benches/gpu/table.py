"""What a run came to, shortly: what is wrong, then times beside what `kernels/README.md` predicted for an H200."""

from collections.abc import Iterator
from typing import Any

from benches.gpu.record import DONE

# Microseconds, from "What a step costs" there: instructions counted, a launch within a graph taken for one.
PREDICTED = {
    "step [10]*8, 1024": 7.0,
    "gradient [10]*8, 1024": 4.0,
    "update [10]*8, 1024": 3.0,
    "step [10]*8, 1024, cross_entropy 256": 13.0,
    "gradient [10]*8, 1024, cross_entropy 256": 10.0,
    "update [10]*8, 1024, cross_entropy 256": 3.0,
    "evaluate [10]*8, 16777216": 1500.0,
}
BEST = 3  # tunings of each batch that are shown


def lines(content: dict[str, Any]) -> Iterator[str]:
    """The lines of it."""
    sections = content["sections"]
    device = content.get("machine", {}).get("device", "no device")
    yield f"\n{device}, commit {content.get('machine', {}).get('commit', 'unknown')}"
    for name, entry in sections.items():
        seconds = f"{entry['seconds']:6.1f} s" if "seconds" in entry else " " * 8
        why = "" if entry["status"] == DONE else f": {entry.get('reason', '')}"[:160]
        yield f"  {name:13}{seconds}  {entry['status']}{why}"
        yield from (f"    WRONG {sentence}"[:300] for sentence in entry["wrong"])
    found = {name: entry["found"] for name, entry in sections.items()}
    yield from _times(found)
    yield from _epochs(found)
    yield from _kernels(found.get("stalls", {}).get("kernels", []))
    if found.get("checks", {}).get("wrong"):
        yield "\nOutputs are wrong: no figure above is worth anything."


def _times(found: dict[str, dict[str, Any]]) -> Iterator[str]:
    times: dict[str, Any] = found.get("times", {}).get("microseconds", {})
    tuned: dict[str, Any] = found.get("tuning", {}).get("microseconds", {})
    if not times and not tuned:
        return
    yield f"\n{'microseconds':52} {'median':>9} {'least':>9} {'most':>9} {'predicted':>9}"
    rows = list(times.items())
    for batch in dict.fromkeys(name.partition(",")[0] for name in tuned):
        mine = [item for item in tuned.items() if item[0].partition(",")[0] == batch]
        rows += sorted(mine, key=lambda item: float(item[1]["median"]))[:BEST]
    for name, one in rows:
        yield f"{name:52} {one['median']:9.2f} {one['least']:9.2f} {one['most']:9.2f} {PREDICTED.get(name, ''):>9}"


def _epochs(found: dict[str, dict[str, Any]]) -> Iterator[str]:
    epochs = found.get("epochs", {})
    rows = {f"epoch {name}": one for name, one in epochs.get("microseconds", {}).items()}
    rows |= {f"epoch {name}, command line": one for name, one in epochs.get("command line, microseconds", {}).items()}
    if rows:
        yield f"\n{'microseconds':52} {'wall':>9} {'device':>9}"
    for name, one in rows.items():
        device = one.get("device")
        yield f"{name:52} {one['wall']:9.1f} {f'{device:9.1f}' if device else '':>9}"
    peers = {name: one for name, one in found.get("peers", {}).items() if isinstance(one, dict)}
    if peers:
        yield f"\n{'epoch of a peer, microseconds':52} {'peer':>9} {'ours':>9} {'times':>9}"
    for name, one in peers.items():
        times = one.get("microseconds")
        if times:
            yield f"{name:52} {times[name]:9.1f} {times['ours']:9.1f} {one['times_ours']:9.2f}"
        else:
            yield f"{name:52} {one.get('absent') or one.get('wrong') or one.get('failed') or ''}"[:160]


def _kernels(kernels: list[dict[str, Any]]) -> Iterator[str]:
    if kernels:
        yield "\nkernels under the profiler: what is told of each; warps that each stall holds at an issue"
    for one in kernels:
        stalls = ", ".join(f"{name} {value:.2f}" for name, value in one["stalls"].items())
        told = ", ".join(
            f"{name} {value[0] if isinstance(value, list) else value}"
            for name, value in one.items()
            if name not in ("kernel", "stalls")
        )
        yield f"{one['kernel']}: {told}; {stalls}"
