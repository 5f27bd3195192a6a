"""Pages of C and C++ that tests need, compiled once by the machine's own compiler."""

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

import torch

HERE = Path(__file__).parent
# Says where it is written why pinned memory cannot be had now, or None.
REFUSAL = ctypes.CFUNCTYPE(ctypes.c_void_p)


def compiler(source: Path) -> str | None:
    """The compiler of a source's language, None where there is none."""
    names = ("g++", "c++", "clang++") if source.suffix == ".cpp" else ("gcc", "cc", "clang")
    return next(filter(None, map(shutil.which, names)), None)


def built(source: Path, *words: str) -> Path:
    """A shared library of a source, in the system's folder for temporary files; made where it is not there yet."""
    tool = compiler(source)
    if tool is None:
        raise RuntimeError(f"{source.name} needs a compiler, and there is none")
    what = "\0".join((source.read_text(), torch.__version__, torch.__file__, tool, *words))
    folder = Path(tempfile.gettempdir()) / f"draw-poly-{os.getuid()}-{hashlib.sha256(what.encode()).hexdigest()[:16]}"
    library = folder / f"lib{source.stem}.so"
    if not library.exists():
        folder.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as place:  # several processes may build it at once
            made = Path(place) / library.name
            subprocess.run([tool, "-shared", "-fPIC", "-o", made, source, *words], check=True, capture_output=True)
            os.replace(made, library)
    return library


@lru_cache(maxsize=1)
def edges() -> ctypes.CDLL:
    """What torch's own C++ asks of a device: see the source."""
    home = Path(torch.__file__).parent
    words = "-std=c++20", f"-I{home / 'include'}", f"-L{home / 'lib'}", "-lc10", "-ltorch_cpu"
    library = ctypes.CDLL(str(built(HERE / "edges.cpp", *words)))
    library.get_stream.restype = ctypes.c_longlong
    library.set_stream.argtypes = [ctypes.c_int, ctypes.c_longlong]
    library.install.argtypes = [REFUSAL]
    return library
