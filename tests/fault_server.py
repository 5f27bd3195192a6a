"""`python -m tests.fault_server` loads everything once and forks a run a line; a run may inject its own fault."""

import builtins
import ctypes
import errno
import importlib
import io
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from tests.cheaper import sketch
from tests.faults import KILL, Fault

LONGEST = 300  # seconds, of a run that hangs


ANY_TRACER = 0x59616D61, ctypes.c_ulong(-1)  # prctl's PR_SET_PTRACER and PR_SET_PTRACER_ANY


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
        importlib.import_module("matplotlib.backends.backend_agg").FigureCanvasAgg.print_png = sketch
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
