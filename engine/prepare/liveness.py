"""Which process is meant, and whether it lives: told by its number, when it began, and whose table it is in."""

import os
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path


def lives(pid: int, started: str) -> bool | None:
    """Whether a process of this machine lives that began then; None where that cannot be seen."""
    found = start_of(pid)
    if found is not None:
        return found == started
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return None


def start_of(pid: int) -> str | None:
    """When a process began, in whatever unit; empty where it has ended and nobody took notice, None where unknown."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if state in "ZX" else fields[18]
    except (OSError, ValueError, IndexError):
        if os.path.exists("/proc/self/stat"):
            return None
    try:
        words = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
        said = subprocess.run(words, capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"})
    except (OSError, subprocess.SubprocessError):
        return None
    state, _, started = said.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else started.strip()


@cache
def machine() -> str:
    """What no other machine, boot or container with processes of its own is called; empty where nothing tells."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    with suppress(OSError, subprocess.SubprocessError):
        words = ["sysctl", "-n", "kern.bootsessionuuid"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    return ""
