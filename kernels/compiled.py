"""How Numba compiles kernels: when first called, kept on disk, without Python's lock."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

NOT_NUMBA = ("gpu",)  # folders beside this file


def kernel(function: Callable[..., Any]) -> Any:
    """Compiles a function when it is first called, and keeps the code on disk where a folder for it can be written.

    No fast-math: what is not finite stays so, and sums are made in the order that is written.
    """
    options = {"nogil": True, "error_model": "numpy"}
    try:
        compiled = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither beside this file nor in the user's own cache
        return numba.njit(**options)(function)
    # A kernel holds the code of those that it calls: it is as new as the newest of them.
    sources = [Path(function.__code__.co_filename), *sorted(Path(__file__).parent.glob("*/*.py"))]
    stamps = [(path.name, path.stat().st_mtime_ns) for path in sources if path.parent.name not in NOT_NUMBA]
    compiled._cache._cache_file._source_stamp = stamps
    return compiled


def is_kept(compiled: Any) -> bool:
    """Whether some code of a kernel is on disk, so that its first call need not take seconds to compile."""
    cache = getattr(compiled, "_cache", None)
    file = getattr(cache, "_cache_file", None)
    return file is not None and Path(file._index_path).exists()


def part(function: Callable[..., Any]) -> Any:
    """A function that kernels call: compiled when the first of them is, and kept with them."""
    return numba.njit(nogil=True, error_model="numpy")(function)


def inlined(function: Callable[..., Any]) -> Any:
    """A function written out where it is called, which saves what it calls from being optimised once more."""
    return numba.njit(inline="always")(function)
