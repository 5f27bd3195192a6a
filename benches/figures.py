"""A run's figures as pytest-benchmark's JSON keeps them, read back; and a copy small enough to be committed."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benches.method import Timing, quartiles

# A product at less than this share of the run's best rate has shared the machine: another process on one of two cores
# halves it, while a quiet virtual machine's own varies by a quarter.
STEADY = 0.5


@dataclass(frozen=True)
class Record:
    """A contender in a group: its turns, and all that was noted beside them."""

    group: str
    contender: str
    timing: Timing
    limit: float
    info: dict[str, Any]

    @property
    def spread(self) -> tuple[float, float]:
        """Between which seconds half of the turns lie."""
        return quartiles(self.timing.rounds)


@dataclass(frozen=True)
class Run:
    """All records of a run, in its order, and what was measured on."""

    records: list[Record]
    provenance: dict[str, Any]

    def groups(self) -> dict[str, list[Record]]:
        """Records by group, the shortest work first; those along an axis of sizes are apart, in `axes`."""
        found: dict[str, list[Record]] = {}
        for record in self.records:
            if "axis" not in record.info:
                found.setdefault(record.group, []).append(record)
        return dict(sorted(found.items(), key=lambda item: min(record.timing.median for record in item[1])))

    def disturbed(self) -> dict[str, float]:
        """Groups in whose turns the machine was busy otherwise, and the share of its rate that was left."""
        rates = {record.group: record.info["GFLOP/s"] for record in self.records if "GFLOP/s" in record.info}
        best = max(rates.values(), default=0.0)
        return {group: rate / best for group, rate in rates.items() if rate < STEADY * best}

    def axes(self) -> dict[str, dict[str, list[tuple[int, Record]]]]:
        """For each axis and contender, the sizes, ascending, with their records."""
        found: dict[str, dict[str, list[tuple[int, Record]]]] = {}
        for record in self.records:
            if "axis" in record.info:
                lines = found.setdefault(record.info["axis"], {})
                lines.setdefault(record.contender, []).append((record.info["size"], record))
        for lines in found.values():
            for line in lines.values():
                line.sort(key=lambda pair: pair[0])
        return found


def read(path: Path) -> Run:
    """A run from its file. Raises ValueError where it is not one of this suite's."""
    content = json.loads(path.read_text())
    try:
        records = []
        for one in content["benchmarks"]:
            info, rounds = one["extra_info"], one["stats"]["data"]
            timing = Timing(rounds, info["first_call_seconds"], info["calls"], info["threads"])
            records.append(Record(one["group"], info["contender"], timing, info["limit_seconds"], info))
        return Run(records, content["machine_info"]["provenance"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is no file of `pytest benches`: {error} is missing") from error


def keep(source: Path, target: Path) -> None:
    """Copies a run's file, its times to five digits, without what pytest-benchmark knows of the processor's flags."""
    content = json.loads(source.read_text(), parse_float=lambda text: float(f"{float(text):.5g}"))
    content["machine_info"].pop("cpu", None)
    content["machine_info"].pop("node", None)
    target.write_text(json.dumps(content, indent=1) + "\n")
