"""What this process may have of its machine: a container's or a shell's limits, where they are below the machine's."""

import math
import os
import resource
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from draw_poly.engine.config import ConfigError

ROOT = Path("/")
# Files that a run has open at once, with some to spare for what it imports.
OPEN_FILES = 32


def memory(root: Path = ROOT) -> int | None:
    """Bytes of memory that this process may have; None where nothing limits it."""
    found = [
        int(text) for text in _limits("memory", ("memory.max",), ("memory.limit_in_bytes",), root) if text.isdigit()
    ]
    soft = (resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
    found += [limit for limit in soft if limit != resource.RLIM_INFINITY]
    return min(found, default=None)


def cores(root: Path = ROOT) -> int:
    """Cores that this process may use at once, at least one."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for text in _limits("cpu", ("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us"), root):
        quota, period = text.split()
        if quota.isdigit() and int(period):  # not `max`, nor -1
            there = min(there, math.ceil(int(quota) / int(period)))
    return max(there, 1)


def require_open_files() -> None:
    """Raises ConfigError where this process may not open as many files as a run has open at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= OPEN_FILES:
        return
    if hard != resource.RLIM_INFINITY and hard < OPEN_FILES:
        raise ConfigError(
            f"this process may have {hard} files open at once (ulimit -n), and a run needs {OPEN_FILES}: allow it more"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, hard))


def _limits(controller: str, second: tuple[str, ...], first: tuple[str, ...], root: Path) -> Iterator[str]:
    """What the files of these names say, in each of this process's control groups from its own up.

    `second` are the files of version 2, `first` those of version 1. Source: Linux, `Documentation/admin-guide`,
    cgroup-v1 and cgroup-v2; `proc_pid_mountinfo(5)`.
    """
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
        mounts = (root / "proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return
    own = {name: path for _, names, path in (line.split(":", 2) for line in groups) for name in names.split(",")}
    for mount in mounts:
        there, _, what = mount.partition(" - ")
        kind, _, options = [*what.split(), "", "", ""][:3]
        if kind == "cgroup2":
            path, names = own.get(""), second
        elif kind == "cgroup" and controller in options.split(","):
            path, names = own.get(controller), first
        else:
            continue
        top, place = there.split()[3:5]
        folder = root / place.lstrip("/")
        for group in _upwards(PurePosixPath(path or "/"), PurePosixPath(top)):
            try:
                yield " ".join((folder / group / name).read_text().strip() for name in names)
            except OSError:  # of the highest there is none, and not every controller is everywhere
                continue


def _upwards(path: PurePosixPath, top: PurePosixPath) -> list[PurePosixPath]:
    """A group and those above it, as they are seen from `top`, which is what is mounted."""
    inside = path.relative_to(top) if path.is_relative_to(top) and ".." not in path.parts else PurePosixPath()
    return [inside, *inside.parents]
