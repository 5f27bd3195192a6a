"""The JSON of a run, written whole after every change: whatever ends the run, what was found by then is there."""

import json
from pathlib import Path
from typing import Any

from draw_poly.engine.record.disk import write_whole

# By so many seconds the run's end may be passed.
GRACE = 30.0
# What a section came to. The first is the only one that does not last.
RUNNING, DONE, FAILED, SKIPPED = "running", "done", "failed", "skipped"


class Record:
    """What was found, by section; a file that several processes write in turn."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.content: dict[str, Any] = {"sections": {}}

    @staticmethod
    def read(path: Path) -> "Record":
        """The record that another process has left."""
        record = Record(path)
        record.content = json.loads(path.read_text())
        return record

    @property
    def sections(self) -> dict[str, dict[str, Any]]:
        """By name: `status`, `seconds`, `reason` where it is not done, what is `wrong` in sentences, `found`."""
        found: dict[str, dict[str, Any]] = self.content["sections"]
        return found

    def begin(self, name: str, until: float) -> dict[str, Any]:
        """A section's entry, for it to be filled; it has until then, in seconds since 1970."""
        self.sections[name] = {"status": RUNNING, "until": until, "wrong": [], "found": {}}
        self.write()
        return self.sections[name]

    def end(self, name: str, status: str, reason: str | None = None, seconds: float | None = None) -> None:
        """Says what a section came to, and why where it is not done."""
        entry = self.sections.setdefault(name, {"wrong": [], "found": {}})
        entry.pop("until", None)
        entry |= {"status": status} | ({"reason": reason} if reason else {})
        if seconds is not None:
            entry["seconds"] = round(seconds, 2)
        self.write()

    def write(self) -> None:
        """Puts it all in the file."""
        write_whole(self._path, (json.dumps(self.content, indent=1) + "\n").encode())

    @property
    def status(self) -> int:
        """The command's exit status: 1 where anything is wrong or failed; what was skipped is neither."""
        return int(any(entry["wrong"] or entry["status"] == FAILED for entry in self.sections.values()))
