"""What there is to see in a folder: runs, sweeps and their members, by the names that a page asks for them with."""

import csv
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from draw_poly.engine.files import CHECKPOINT_EPOCH, read_settings
from draw_poly.engine.flags import ConfigError

SETTINGS, METRICS, MEMBERS = "config.json", "metrics.csv", "members.csv"
CHECKPOINT = re.compile(r"checkpoint_(.+)" + CHECKPOINT_EPOCH.pattern)


@dataclass(frozen=True)
class RunFiles:
    """A run as it is found: `folder` has its tables, if it has one; `run` is what its checkpoints are called."""

    name: str
    folder: Path | None
    checkpoint_dirs: tuple[Path, ...]
    run: str | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """Its `config.json`, empty where there is none that can be read."""
        return (read_settings(self.folder / SETTINGS) if self.folder else None) or {}

    def checkpoints(self) -> dict[int, Path]:
        """Those there are by now, by finished epochs."""
        found = {}
        for folder in self.checkpoint_dirs:
            for name in _names(folder):
                if (match := CHECKPOINT.fullmatch(name)) and self._is_mine(match[1]):
                    found[int(match[2]) + 1] = folder / name
        return found

    def _is_mine(self, run: str) -> bool:
        return run == self.run if self.run or not self.folder else self.folder.name.endswith(f"_{run}")


@dataclass(frozen=True)
class SweepFiles:
    """A sweep's folder."""

    name: str
    folder: Path

    def rows(self) -> list[dict[str, str]]:
        """The rows of `members.csv` by now. Raises OSError."""
        text = (self.folder / MEMBERS).read_text(encoding="utf-8", errors="replace")
        rows = csv.DictReader(io.StringIO(text))
        return [row for row in rows if None not in row and None not in row.values()]

    def member(self, name: str) -> RunFiles | None:
        """The run in a folder of the table's, if it has begun."""
        if name not in _names(self.folder):  # a name from a file leads nowhere but to what lies here
            return None
        return next(iter(_runs(self.folder / name, f"{self.name}/{name}")), None)


@dataclass
class Catalogue:
    """What a folder holds, each by its name."""

    runs: dict[str, RunFiles] = field(default_factory=dict)
    sweeps: dict[str, SweepFiles] = field(default_factory=dict)

    @staticmethod
    def of(folder: Path) -> "Catalogue":
        """That of a folder of results, of a run's own folder, or of a sweep's. Raises ConfigError for none of these."""
        if not folder.is_dir():
            raise ConfigError(f"{str(folder)[:200]}: there is no such folder")
        found = Catalogue()
        if (folder / MEMBERS).is_file():
            found._add_sweep(SweepFiles(folder.resolve().name, folder))
        elif _is_run(folder):
            run = _run(folder.resolve(), folder.resolve().name)
            found.runs[run.name] = run
        else:
            for name in _names(folder):
                if (folder / name / MEMBERS).is_file():
                    found._add_sweep(SweepFiles(name, folder / name))
            found.runs |= {run.name: run for run in _runs(folder)}
        return found

    def _add_sweep(self, sweep: SweepFiles) -> None:
        self.sweeps[sweep.name] = sweep

    def find(self, name: str) -> RunFiles | SweepFiles | None:
        """What a page asks for; without a name the newest. A member is `sweep/member`."""
        if not name:
            name = next(iter(self.names), "")
        if name in self.runs or name in self.sweeps:
            return self.runs.get(name) or self.sweeps[name]
        sweep, _, member = name.partition("/")
        return self.sweeps[sweep].member(member) if sweep in self.sweeps else None

    @property
    def names(self) -> list[str]:
        """All of them, the newest first; members stand in their sweep."""
        everything: dict[str, RunFiles | SweepFiles] = {**self.runs, **self.sweeps}
        return sorted(everything, key=lambda one: _changed(everything[one]), reverse=True)


def _runs(folder: Path, name: str | None = None) -> Iterator[RunFiles]:
    """Those whose results are in a folder; checkpoints whose run has no folder there are runs too."""
    known = []
    for one in _names(folder):
        if _is_run(folder / one):
            known.append(_run(folder / one, name or one))
            yield known[-1]
    lonely = {match[1] for one in _names(folder) if (match := CHECKPOINT.fullmatch(one))}
    for run in sorted(lonely):
        if not any(other.folder and other.folder.name.endswith(f"_{run}") for other in known):
            yield RunFiles(name or run, None, (folder,), run)


def _run(folder: Path, name: str) -> RunFiles:
    stored = (read_settings(folder / SETTINGS) or {}).get("settings", {}).get("checkpoint_dir")
    apart = [Path(stored)] if isinstance(stored, str) and "\0" not in stored else []
    return RunFiles(name, folder, (folder.parent, *apart))


def _is_run(folder: Path) -> bool:
    """Of a sweep's member that trains there is a table, and no settings yet."""
    return any((folder / name).is_file() for name in (SETTINGS, METRICS))


def _changed(found: RunFiles | SweepFiles) -> float:
    """When something was last written."""
    places = [found.folder] if found.folder else list(found.checkpoint_dirs) if isinstance(found, RunFiles) else []
    times = [0.0]
    for folder in places:
        for name in ("", METRICS, MEMBERS):
            try:
                times.append((folder / name).stat().st_mtime)
            except OSError:
                continue
    return max(times)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
