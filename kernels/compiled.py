"""How Numba compiles kernels: when first called, kept on disk, without Python's lock."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba


def kernel(function: Callable[..., Any]) -> Any:
    """Compiles a function when it is first called, and keeps the code on disk where a folder for it can be written.

    No fast-math: what is not finite stays so, and sums are made in the order that is written.
    """
    options = {"nogil": True, "error_model": "numpy"}
    try:
        compiled = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither beside this file nor in the user's own cache
        return numba.njit(**options)(function)
    # A kernel holds the code of those that it calls, in files beside it: it is as new as the newest of them.
    sources = sorted(Path(function.__code__.co_filename).parent.glob("*.py"))
    compiled._cache._cache_file._source_stamp = [(path.name, path.stat().st_mtime_ns) for path in sources]
    return compiled


def part(function: Callable[..., Any]) -> Any:
    """A function that kernels call: compiled when the first of them is, and kept with them."""
    return numba.njit(nogil=True, error_model="numpy")(function)


def inlined(function: Callable[..., Any]) -> Any:
    """A function written out where it is called, which saves what it calls from being optimised once more."""
    return numba.njit(inline="always")(function)
