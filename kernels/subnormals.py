"""Subnormal numbers taken for zeros: a processor may need a hundred times longer for them than for others.

The mode is a thread's own. Torch knows how to set it for the thread that asks; C's floating-point environment holds it,
so that it can be given back, and handed to the threads of OpenMP, in a parallel region that does nothing else.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch

# NumPy before 2.4 finds out by arithmetic what a type's limits are, once, and warns where subnormals are zeros.
for _kind in (np.float32, np.float64):
    _ = np.finfo(_kind).smallest_subnormal

# An environment is 32 bytes in glibc on x86-64, and no larger elsewhere.
_Environment = ctypes.c_byte * 64
# Without giving up Python's lock: the calls take no time.
_library: Any = ctypes.PyDLL(None) if os.name == "posix" else None


@contextmanager
def flushed(torch_too: bool = False) -> Iterator[None]:
    """Within, subnormals are read and written as zeros by this thread, and by those that torch shares its work with.

    Afterwards this thread's mode is what it was, and theirs is the same. Nothing changes on processors other than x86
    and ARM, nor on Windows.
    """
    if _library is None:
        yield
        return
    before, within = _Environment(), _Environment()
    _library.fegetenv(before)
    try:
        torch.set_flush_denormal(True)
        if torch_too:
            _library.fegetenv(within)
            _hand_on(within)
        yield
    finally:
        _library.fesetenv(before)
        if torch_too:
            _hand_on(before)


def _hand_on(environment: Any) -> None:
    """Gives the threads that torch shares this one's work with an environment; those to come inherit this one's."""
    threads = torch.get_num_threads()
    if threads == 1:
        return
    # The OpenMP that torch is linked to; and the system's, which code of torch's compiler may be linked to instead.
    for name in (torch._C.__file__, "libgomp.so.1"):
        with suppress(OSError, AttributeError):
            # Libgomp's way into a parallel region, which LLVM's library knows, too.
            region = ctypes.CDLL(name, mode=os.RTLD_NOLOAD).GOMP_parallel
            region.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
            region(_library.fesetenv, environment, threads, 0)
