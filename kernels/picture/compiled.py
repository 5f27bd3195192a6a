"""How functions on pixels are compiled: when first called, kept on disk where they can be, without Python's lock."""

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Any:
    """Compiles a function of NumPy arrays and numbers; division by zero and what is not finite are as in NumPy."""
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # a folder for its code can be written neither beside the file nor in the user's cache
        return numba.njit(**options)(function)
