"""What went wrong, for a person."""

import errno

import torch

from draw_poly.engine.config import ConfigError
from draw_poly.engine.processes import Lost


def explain(error: Exception) -> str:
    """A failure as one sentence."""
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return f"too many files are open at once ({error.strerror}): allow more, such as by ulimit -n 256"
    if isinstance(error, OSError) and error.strerror:
        deed = getattr(error, "deed", "written")
        return f"{error.filename or 'a file'} cannot be {deed} ({error.strerror})"
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return "out of memory: a smaller --chunk-size or --batch-size needs less"
    if isinstance(error, Lost | ConfigError):
        return str(error)
    if isinstance(error, torch.AcceleratorError) or (isinstance(error, RuntimeError) and "CUDA" in str(error)):
        return f"the device is lost ({str(error).splitlines()[0]})"
    return f"{type(error).__name__}: {error}"
