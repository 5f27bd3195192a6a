"""Runs of the program with a fault in them: a server forks each, and strace or the forked process itself injects it.

`python -m tests.faults` loads everything once and serves; a run then takes a tenth of a second in place of seconds.
"""

import builtins
import ctypes
import errno
import importlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from tests.cheaper import sketch

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
LONGEST = 300  # seconds, of a run that hangs
ANY_TRACER = 0x59616D61, ctypes.c_ulong(-1)  # prctl's PR_SET_PTRACER and PR_SET_PTRACER_ANY


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
        command = [sys.executable, "-m", "tests.faults"]
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


def serve() -> None:
    """Forks a run for each line of standard input."""
    import tqdm

    from draw_poly import cli

    # A lock that forked processes share stays taken when one is killed that holds it.
    tqdm.tqdm.set_lock(threading.RLock())
    out, errors = os.dup(1), os.dup(2)

    def tell(number: int) -> None:
        os.write(out, f"{number}\n".encode())

    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)
        image = Path(folder, "image.png")
        Image.new("L", (23, 17)).save(image)
        words = ["-i", image, "-s", "[4]", "-p", 60, "-b", 30, "-e", 2, "--backend", "eager", "--device", "cpu"]
        words += ["--kolmogorov-shape", "[4]", "--kolmogorov-weight", 0.1, "-o", folder, "--snapshot-dir", folder]
        importlib.import_module("matplotlib.figure").Figure.savefig = sketch
        for format in ("png", "jpg"):
            cli.main([str(word) for word in (*words, "--snapshot-format", format, "--overwrite")])
        os.dup2(errors, 2)
    tell(0)
    for line in sys.stdin:
        asked = json.loads(line)
        waits, goes = os.pipe()
        number = os.fork()
        if number == 0:
            _child(cli.main, asked, waits)
        tell(number)
        sys.stdin.readline()  # whoever traces has begun
        os.write(goes, b"!")
        _, status = os.waitpid(number, 0)
        os.close(waits)
        os.close(goes)
        tell(os.waitstatus_to_exitcode(status))


def _child(main: Callable[[list[str]], int], asked: dict[str, Any], waits: int) -> None:
    """Runs the program, and never returns."""
    status = 99
    signal.alarm(LONGEST)
    try:
        log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(*ANY_TRACER, 0, 0, 0)
        os.read(waits, 1)
        calls: list[tuple[str, str, str]] = []
        if "fault" in asked:
            _inject(Fault(**asked["fault"]), None, calls)
        elif "profile" in asked:
            _inject(None, asked["under"], calls)
        status = main(asked["words"])
        if "profile" in asked:
            Path(asked["profile"]).write_text(json.dumps([call for call in calls if call[2] != asked["profile"]]))
    except SystemExit as stop:
        status = int(stop.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _inject(fault: Fault | None, under: str | None, calls: list[tuple[str, str, str]]) -> None:
    """Has this process fail by itself, or note its calls on files below a folder: those that Python makes."""
    _pyio = importlib.import_module("_pyio")  # which has no types

    from draw_poly.engine.record import film_reader

    names: dict[int, str] = {}
    met = Counter[str]()

    def look(call: str, path: object) -> None:
        text = os.path.abspath(os.fsdecode(path)) if isinstance(path, str | bytes | os.PathLike) else ""
        if under and text.startswith(under + "/"):
            calls.append(("", call, text))
        if fault and (call, text) == (fault.call, fault.path):
            met[call] += 1
            if met[call] == fault.ordinal or (fault.onwards and met[call] > fault.ordinal):
                if fault.how == KILL:
                    os.kill(os.getpid(), signal.SIGKILL)
                    time.sleep(60)
                number = getattr(errno, fault.how)
                raise OSError(number, os.strerror(number))

    def watched(name: str, call: str, by_number: bool) -> None:
        real = getattr(os, name)

        def wrapper(first: Any, *rest: Any, **words: Any) -> Any:
            look(call, names.get(first, first) if by_number else first)
            result = real(first, *rest, **words)
            if name == "open":
                names[result] = os.fspath(first)
            return result

        setattr(os, name, wrapper)

    for name, call, by_number in (
        ("open", "openat", False), ("write", "write", True), ("read", "read", True), ("fsync", "fsync", True),
        ("ftruncate", "ftruncate", True), ("replace", "rename", False), ("unlink", "unlink", False),
        ("mkdir", "mkdir", False),
    ):  # fmt: skip
        watched(name, call, by_number)

    class Reads(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            look("read", self.name)
            return super().read(size)

    class Film(film_reader._File, Reads):
        pass

    film_reader._File = Film  # type: ignore[misc]
    # Python's own implementation, whose files call `os`.
    for module in (builtins, io):
        module.open = _pyio.open  # type: ignore[attr-defined]
    io.FileIO = _pyio.FileIO  # type: ignore[misc]


if __name__ == "__main__":
    serve()
