"""Who owns a run's files: one process at a time, as claims say that lie beside them.

A claim is a file that one process alone can make; it says which, where, and since when. On its owner's machine it holds
as long as that process lives, paused or not; seen from another one, across a network file system, as long as it is
renewed. The claim of a dead owner is void and makes way. Two who find a void claim at once take turns where the file
system has locks; where it has none the later one prevails, and so an owner looks again before it writes.
"""

import dataclasses
import fcntl
import json
import os
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from draw_poly.engine.prepare import liveness
from draw_poly.engine.record.disk import named

# Seconds from one renewal of a claim to the next, and from the last one to when another machine takes it for void.
BEAT, LAPSE = 5.0, 60.0
# Seconds for which a claim that names nobody may be one that is being written.
UNWRITTEN = 10.0
# Seconds for which an owner trusts what it saw.
TRUST = 0.5
# Seconds to wait for a turn: who has it may be paused.
PATIENCE = 2.0
ATTEMPTS = 10


@dataclass(frozen=True)
class Owner:
    """A process that claims files, and what it says about its run.

    `machine` tells one table of processes from another, `started` one process of a number from the next.
    """

    host: str
    machine: str
    pid: int
    started: str
    since: str
    token: str
    about: Mapping[str, Any]

    @staticmethod
    def this(about: Mapping[str, Any]) -> "Owner":
        """This process, from now on."""
        now = datetime.now().astimezone().isoformat(" ", "seconds")
        pid = os.getpid()
        return Owner(
            socket.gethostname(), liveness.machine(), pid, liveness.start_of(pid) or "", now, uuid.uuid4().hex, about
        )

    def __str__(self) -> str:
        if not self.pid:
            return "another process, since just now"
        return f"process {self.pid} on {self.host}, since {self.since}"


UNKNOWN = Owner("", "", 0, "", "", "", {})


class Owned(Exception):
    """Files belong to another process that lives, `owner`; the text is a sentence for the user."""

    def __init__(self, owner: Owner, path: Path) -> None:
        there = owner.machine and owner.machine == liveness.machine()
        until = "" if there else f" or, if it has died, for {LAPSE:.0f} seconds"
        super().__init__(
            f"these files are being written by {owner} ({path}): wait for its end{until}, or choose another "
            "--output-dir and --snapshot-dir"
        )
        self.owner = owner


class Taken(Exception):
    """Files that this process owned are another's by now; the text is a sentence for the user."""

    def __init__(self, owner: Owner) -> None:
        super().__init__(f"its files were taken over by {owner}, and are left to it")


class Claim:
    """This process's claim to a run's files; given up where its `with` ends."""

    def __init__(self) -> None:
        self._paths: list[Path] = []
        self._owner = UNKNOWN
        self._taken_by: Owner | None = None
        self._looked = 0.0
        self._given_up = threading.Event()
        self._renewing = threading.Thread()

    def __enter__(self) -> "Claim":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_up()

    def take(self, paths: Iterable[Path], about: Mapping[str, Any]) -> None:
        """Claims files by these paths, all or none. Raises Owned, and OSError where a claim cannot be written."""
        self._owner, self._taken_by = Owner.this(about), None
        try:
            for path in sorted(paths):  # in one order, so that of two one has them all
                self._take(path)
                self._paths.append(path)
        except BaseException:
            self.give_up()
            raise
        self._looked = _now()
        self._given_up.clear()
        self._renewing = threading.Thread(target=self._renew, name="claim", daemon=True)
        self._renewing.start()

    def check(self) -> None:
        """To be called before a file is written. Raises Taken where the files are another's by now."""
        if self._taken_by is None and _now() - self._looked > TRUST:
            self._look()
        if self._taken_by is not None:
            raise Taken(self._taken_by)

    def give_up(self) -> None:
        """Lets others have the files."""
        self._given_up.set()
        if self._renewing.is_alive():
            self._renewing.join(PATIENCE)
        for path in self._paths:
            with suppress(OSError):
                owner = _read(path)
                if owner and owner.token == self._owner.token:
                    path.unlink()
        self._paths = []

    def _take(self, path: Path) -> None:
        owner: Owner | None = None
        with _in_turn(path.parent):
            for _ in range(ATTEMPTS):
                with named(path):
                    made = self._make(path)
                if made:
                    _clear(path)
                    return
                with suppress(FileNotFoundError):
                    owner = _read(path)
                    if _holds(path, owner):
                        break
                    path.unlink()
        raise Owned(owner or UNKNOWN, path)

    def _make(self, path: Path) -> bool:
        """Makes the claim's file, whole or not at all; says whether that could be done, since there was none."""
        content = json.dumps(dataclasses.asdict(self._owner)).encode()
        part = path.with_name(f"{path.name}.{self._owner.token}.tmp")
        try:
            part.write_bytes(content)
            os.link(part, path)
        except (FileExistsError, FileNotFoundError):  # or somebody else, who has made it, cleared this one away
            return False
        except PermissionError:  # a file system without links
            return _made_in_place(path, content)
        finally:
            part.unlink(missing_ok=True)
        return True

    def _look(self) -> None:
        """Finds out whether the claim holds; makes it anew where somebody has removed it."""
        now = _now()
        for path in self._paths:
            with suppress(OSError):  # it cannot be known just now
                try:
                    owner = _read(path)
                except FileNotFoundError:
                    owner = self._owner if self._make(path) else _read(path)
                if owner is None or owner.token != self._owner.token:
                    self._taken_by = owner or UNKNOWN
        self._looked = now

    def _renew(self) -> None:
        while not self._given_up.wait(BEAT):
            self._look()
            if self._taken_by is not None:
                return
            for path in self._paths:
                with suppress(OSError):
                    os.utime(path)


def _clear(path: Path) -> None:
    """Removes what others who died over making this claim have left."""
    with suppress(OSError):
        for name in os.listdir(path.parent):
            if name.startswith(f"{path.name}.") and name.endswith(".tmp"):
                (path.parent / name).unlink(missing_ok=True)


def _made_in_place(path: Path, content: bytes) -> bool:
    try:
        file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    try:
        os.write(file, content)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(file)
    return True


def holder(paths: Iterable[Path]) -> tuple[Owner, Path] | None:
    """The process that owns files by one of these claims, and that claim; None where none does."""
    for path in paths:
        with suppress(FileNotFoundError):
            owner = _read(path)
            if _holds(path, owner):
                return owner or UNKNOWN, path
    return None


def _read(path: Path) -> Owner | None:
    """Whom a claim names; None where that is nobody: it is being written, or its writer died over it."""
    try:
        content = json.loads(path.read_bytes())
        owner = Owner(**{item.name: content[item.name] for item in dataclasses.fields(Owner)})
    except (ValueError, TypeError, KeyError):
        return None
    return owner if isinstance(owner.pid, int) and isinstance(owner.about, dict) else None


def _holds(path: Path, owner: Owner | None) -> bool:
    if owner is None:
        return _age(path) < UNWRITTEN
    if owner.machine and owner.machine == liveness.machine():
        lives = liveness.lives(owner.pid, owner.started)
        if lives is not None:
            return lives
    return _age(path) < LAPSE


def _age(path: Path) -> float:
    """Seconds since a claim was renewed, both times by the clock of its file system."""
    with path.open("rb") as file, tempfile.NamedTemporaryFile(dir=path.parent, prefix=".") as probe:
        return abs(os.fstat(probe.fileno()).st_mtime - os.fstat(file.fileno()).st_mtime)


def _now() -> float:
    """Seconds that go on while a process is paused or the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@contextmanager
def _in_turn(folder: Path) -> Iterator[None]:
    """One process at a time in a folder, where its file system has locks."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        last = time.monotonic() + PATIENCE
        while time.monotonic() < last:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:
                break
        yield
    finally:
        os.close(handle)
