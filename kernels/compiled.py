"""How Numba compiles kernels: when first called, kept on disk where that can be done, without Python's lock."""

import hashlib
import logging
import os
import pickle
from collections import namedtuple
from collections.abc import Callable, Collection
from functools import cache, partial
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile, NullCache
from numba.core.runtime import rtsys

NOT_NUMBA = ("gpu",)  # folders beside this file
# A child of the run's logger; without one, warnings go to standard error.
log = logging.getLogger("polytope_nn.kernels")


def kernel(function: Callable[..., Any] | None = None, *, allocates: bool = False) -> Any:
    """Compiles a function when it is first called, and keeps the code on disk where a folder for it can be written.

    No fast-math: what is not finite stays so, and sums are made in the order that is written. Where it `allocates` no
    array, nor gives one back, references to arrays are not counted: in a loop that takes longer than much of its work.
    """
    if function is None:
        return partial(kernel, allocates=allocates)
    compiled = part(function, allocates=allocates)
    if unusable() is None:
        try:
            compiled._cache = _Kept(function)
        except RuntimeError:  # neither beside this file nor in the user's own cache
            compiled._cache = _Nowhere()
    return compiled


def unusable() -> str | None:
    """Why no kernel can be called in this process, in a sentence; None if they can."""
    if numba.config.DISABLE_JIT:
        return "NUMBA_DISABLE_JIT is set, and without Numba's compiler nothing can be computed or drawn: unset it"
    return None


def is_kept(compiled: Any) -> bool:
    """Whether some code of a kernel is on disk, as new as its source, so that its first call need not compile it."""
    file = getattr(compiled._cache, "_cache_file", None)
    try:
        return file is not None and bool(file._load_index())
    except Exception:  # damaged
        return False


def part(function: Callable[..., Any] | None = None, *, allocates: bool = False) -> Any:
    """A function that kernels call: compiled when the first of them is, and kept with them; `allocates` as there."""
    if function is None:
        return partial(part, allocates=allocates)
    return numba.njit(nogil=True, error_model="numpy", _nrt=allocates)(function)


def numbered(names: Collection[str]) -> Any:
    """Numbers from 0 on as attributes of these names: what compiled code can tell in place of strings."""
    return namedtuple("Numbered", names)(*range(len(names)))


def inlined(function: Callable[..., Any]) -> Any:
    """A function written out where it is called, which saves what it calls from being optimised once more."""
    return numba.njit(inline="always")(function)


def announce() -> None:
    """Tells, once, that kernels are being compiled."""
    _tell_once(logging.INFO, "Compiling kernels, once on this machine: some ten seconds")


def _tell_once(level: int, line: str, *words: object) -> None:
    """Tells of a kernel, unless it has told the same of another one."""
    if line not in _told:
        _told.add(line)
        log.log(level, line, *words)


_told: set[str] = set()


def _stamp(path: Path) -> tuple[str, int]:
    """A file's name, and when it was last written."""
    return path.name, path.stat().st_mtime_ns


@cache
def _stamps() -> list[tuple[str, int]]:
    """Those of all that kernels are made of, as this process found them."""
    sources = sorted(Path(__file__).parent.rglob("*.py"))
    return [_stamp(path) for path in sources if path.parent.name not in NOT_NUMBA]


class _Place(CompileResultCacheImpl):  # type: ignore[misc]
    """Where Numba keeps code; without a home, its place for a user's own would be a folder called `~`."""

    @property
    def _locator_classes(self) -> list[Any]:
        homeless = "XDG_CACHE_HOME" not in os.environ and not os.path.isabs(os.path.expanduser("~"))
        classes = CompileResultCacheImpl._locator_classes
        return [one for one in classes if not (homeless and "UserWide" in one.__name__)]


class _Files(IndexDataCacheFile):  # type: ignore[misc]
    """Numba's files of a kernel; the code follows its SHA-256, since damaged code would end the process."""

    def _save_data(self, name: str, data: Any) -> None:
        code = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(hashlib.sha256(code).digest() + code)

    def _load_data(self, name: str) -> Any:
        content = Path(self._data_path(name)).read_bytes()
        size = hashlib.sha256().digest_size
        if hashlib.sha256(content[size:]).digest() != content[:size]:
            raise ValueError(f"{name} is damaged")
        return pickle.loads(content[size:])


class _Kept(FunctionCache):  # type: ignore[misc]
    """Numba's cache of a kernel, which no run depends on."""

    _impl_class = _Place

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        # A kernel holds the code of those that it calls: it is as new as the newest of them.
        stamps = [_stamp(Path(function.__code__.co_filename)), *_stamps()]
        self._cache_file = _Files(self._cache_path, self._impl.filename_base, stamps)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Code that was kept, or None: also where it cannot be read, for whatever reason.

        Numba's own way would first make ready to compile, in a quarter of the time that torch takes to import; that is
        left to the first kernel that has to be compiled.
        """
        try:
            rtsys.initialize(target_context)
            with self._guard_against_spurious_io_errors():
                kept = self._load_overload(sig, target_context)
        except Exception:
            _tell_once(
                logging.WARNING, "Kernels are compiled anew: their code is damaged, such as in %s", self._cache_path
            )
            self._renew()
            kept = None
        if kept is None:
            announce()
        return kept

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keeps code, if it can be written."""
        try:
            super().save_overload(sig, data)
        except OSError as error:
            line = "Kernels are compiled anew each time: %s cannot be written (%s)"
            _tell_once(logging.WARNING, line, self._cache_path, error.strerror)

    def _renew(self) -> None:
        try:
            self.flush()
        except OSError:
            self.disable()


class _Nowhere(NullCache):  # type: ignore[misc]
    def save_overload(self, sig: Any, cres: Any) -> None:
        line = "Kernels are compiled anew each time: no folder for their code can be written; NUMBA_CACHE_DIR names one"
        _tell_once(logging.WARNING, line)
