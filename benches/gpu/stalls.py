"""What Nsight Compute sees of the kernels that the time goes to: what warps wait for, how full the issue slots are."""

import csv
import re
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benches.gpu import tool, uncaptured
from benches.gpu.cases import Case
from benches.gpu.course import Bench, Skip

TOOL = "ncu"
SECTIONS = ("SpeedOfLight", "WarpStateStats", "SchedulerStats", "LaunchStats", "Occupancy", "InstructionStats")
KERNELS = "regex:gradient_kernel|update_kernel|validate_kernel|evaluate_kernel|grid_kernel"
# Warps that a stall holds at each issue; the part of the metric's name that tells the stall.
STALL = re.compile(r"issue_stalled_(\w+?)(?<!_not_issued)_per_(?:issue|warp)_active\b")
# What is told beside stalls, by metric.
TOLD = {
    "duration": "gpu__time_duration.sum",
    "instructions": "smsp__inst_executed.sum",
    "issue slots busy, %": "smsp__issue_active.avg.pct_of_peak_sustained_active",
    "registers": "launch__registers_per_thread",
    "warps active, %": "sm__warps_active.avg.pct_of_peak_sustained_active",
    "processors' throughput, %": "sm__throughput.avg.pct_of_peak_sustained_elapsed",
}


def cases(small: bool) -> dict[str, Case]:
    """What the profiled program launches."""
    return uncaptured.usual()


def work(bench: Bench) -> None:
    """One launch of each kernel under the profiler; its clocks are the device's own."""
    found = tool.find(TOOL)
    if found is None:
        raise Skip(f"{TOOL} is not installed")
    with TemporaryDirectory() as folder:
        log = Path(folder) / "ncu.csv"
        words = [
            "--clock-control",
            "none",
            "--csv",
            "--page",
            "raw",
            "--log-file",
            str(log),
            "--target-processes",
            "all",
        ]
        words += ["--profile-from-start", "off", "--kernel-name", KERNELS, *(f"--section={one}" for one in SECTIONS)]
        program = [*bench.python, "-m", "benches.gpu.uncaptured", "--profile"]
        (said,) = tool.together({"": [found, *words, *program]}, bench.left - 10).values()
        text = log.read_text(errors="replace") if log.exists() else ""
    rows = read(text.splitlines())
    bench.note(kernels=[told(row) for row in rows], metrics=rows)
    if not rows:
        problems = [line for line in text.splitlines() if line.startswith("==ERROR==")]
        raise RuntimeError(f"ncu saw no kernel: {said.ending}, {problems[:2] or said.tail(3)}")


def read(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Kernels of ncu's raw page as CSV: numbers with their units, by metric."""
    table = [row for row in csv.reader(line for line in lines if not line.startswith("==")) if row]
    start = next((at for at, row in enumerate(table) if row[0] == "ID"), None)
    if start is None or len(table) < start + 3:
        return []
    names, units, *rows = table[start:]
    return [
        {
            name: _number(value, unit)
            for name, unit, value in zip(names, units, row, strict=False)
            if value != ""
        }
        for row in rows
        if len(row) == len(names)
    ]  # fmt: skip


def _number(value: str, unit: str) -> Any:
    try:
        number = float(value.replace(",", ""))
    except ValueError:
        return value
    return [number, unit] if unit else number


def told(row: dict[str, Any]) -> dict[str, Any]:
    """A kernel's name, what is told of it, and its stalls, the longest first."""
    stalls = {match[1]: _bare(value) for name, value in row.items() if (match := STALL.search(name))}
    found = {said: row[name] for said, name in TOLD.items() if name in row}
    return {
        "kernel": row.get("Kernel Name", "?"),
        "grid": row.get("Grid Size"),
        **found,
        "stalls": dict(sorted(stalls.items(), key=lambda item: -item[1])[:6]),
    }


def _bare(value: Any) -> float:
    number = value[0] if isinstance(value, list) else value
    return float(number) if isinstance(number, int | float) else 0.0
