"""Runs of the program with a fault in them: a server forks each, and strace or the forked process itself injects it.

The server loads everything once: a run then takes a tenth of a second in place of seconds.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
STRACE = shutil.which("strace")
CALLS = "openat,write,read,pread64,pwrite64,writev,fsync,rename,unlink,ftruncate,mkdir"
ERRORS = {
    "openat": ("EMFILE", "EIO", "ENOSPC"),
    "write": ("EIO", "ENOSPC"),
    "writev": ("EIO",),
    "pwrite64": ("EIO",),
    "read": ("EIO",),
    "pread64": ("EIO",),
    "fsync": ("EIO", "ENOSPC"),
    "rename": ("EIO", "ENOSPC"),
    "unlink": ("EIO", "EACCES"),
    "ftruncate": ("EIO",),
    "mkdir": ("ENOSPC", "EACCES"),
}
KILL = "SIGKILL"


@dataclass(frozen=True)
class Fault:
    """The `ordinal`-th call on a file fails with an error, as do those after it if `onwards`, or kills the process."""

    call: str
    path: str
    ordinal: int
    how: str
    onwards: bool = False


@dataclass(frozen=True)
class Ended:
    """What a run came to; a killed one's status is negative."""

    status: int
    log: str

    @property
    def said(self) -> str:
        """What it said beside its usual lines."""
        return " | ".join(line.split(" - ", 2)[-1] for line in self.log.splitlines() if " - INFO - " not in line)


def kind(path: str) -> str:
    """The class of a file, whatever its epoch and the run it is of."""
    return re.sub(r"\d{6}", "N", re.sub(r"W[A-Za-z0-9+=]{12,}", "~", os.path.basename(path)))


class Server:
    """The client's end. `injects` by strace if that is there and may trace, else in the process itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = [sys.executable, "-m", "tests.fault_server"]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"LC_ALL": "C"},
        )
        self._answer()
        self.traces = STRACE is not None and self._may_trace()

    def close(self) -> None:
        self._process.communicate()

    def _say(self, **words: object) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()

    def _answer(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())

    def run(self, words: Sequence[object], fault: Fault | None = None) -> Ended:
        """The program run on these words."""
        if fault is None:
            return self._ended(self._begun(words))
        if self.traces:
            how = f"signal={KILL}" if fault.how == KILL else f"error={fault.how}"
            when = f"{fault.ordinal}{'+' if fault.onwards else ''}"
            return self._traced(
                words, "-P", fault.path, "-e", f"trace={fault.call}", "-e", f"inject={fault.call}:{how}:when={when}"
            )
        return self._ended(self._begun(words, fault=vars(fault)))

    def points(self, words: Sequence[object]) -> dict[tuple[str, str], list[tuple[str, int]]]:
        """Where a fault can be injected: by class of file and call, the paths and ordinals of these calls."""
        found = defaultdict(list)
        if self.traces:
            log = self.folder / "calls"
            ended = self._traced(words, "-y", "-s", "0", "-o", str(log), "-e", f"trace={CALLS}")
            calls = _calls_in(log.read_text(errors="replace"), str(self.folder))
        else:
            log = self.folder / "calls.json"
            ended = self._ended(self._begun(words, profile=str(log), under=str(self.folder)))
            calls = json.loads(log.read_text())
        assert ended.status == 0, ended.log
        log.unlink()
        counts: Counter[tuple[str, ...]] = Counter()
        for who, call, path in calls:
            counts[who, call, path] += 1
            found[kind(path), call].append((path, counts[who, call, path]))
        return dict(found)

    def _begun(self, words: Sequence[object], **more: object) -> int:
        self._say(words=[str(word) for word in words], log=str(self.folder / "log"), **more)
        return int(self._answer())

    def _ended(self, _: int) -> Ended:
        self._say()
        return Ended(int(self._answer()), (self.folder / "log").read_text(errors="replace"))

    def _traced(self, words: Sequence[object], *options: str) -> Ended:
        number = self._begun(words)
        command = [str(STRACE), "-f", *options, "-p", str(number)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as tracer:
            assert tracer.stderr
            for line in tracer.stderr:
                if "attached" in line or "ptrace" in line:
                    break
            self.attached = "attached" in line
            ended = self._ended(number)
            tracer.communicate()
        return ended

    def _may_trace(self) -> bool:
        self._traced(["--version"], "-e", "trace=mkdir")
        return self.attached


LINE = re.compile(r"^(\d+) +(\w+)\((.*)$")


def _calls_in(log: str, folder: str) -> list[tuple[str, str, str]]:
    """Thread, call and path of strace's lines on files below a folder."""
    found = []
    for line in log.splitlines():
        if match := LINE.match(line):
            thread, call, rest = match.groups()
            inside = re.match(r"^\d+<([^>]*)>", rest)
            path = inside[1] if inside else next(iter(re.findall(r'"(/[^"]*)"', rest)), "")
            if path.startswith(folder + "/"):
                found.append((thread, call, path))
    return found
