"""The device that is measured: found, waited for, named on a command line, all in one place."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from draw_poly.engine.backends import select as backend


def find() -> torch.device:
    """The first GPU, or the CPU, where Triton interprets."""
    return backend.find_device("auto")


def wait(device: torch.device) -> None:
    """Until it has done all that it was asked to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def lost(device: torch.device) -> bool:
    """Whether nothing can be done on it any more, as after a kernel that read where nothing is."""
    try:
        torch.zeros(1, device=device).add_(1).cpu()
        wait(device)
    except RuntimeError:
        return True
    return False


def words(device: torch.device) -> list[str]:
    """What the command line is given to run there with the kernels in Triton."""
    return ["--device", str(device), "--backend", "triton"]


@contextmanager
def profiled(device: torch.device) -> Iterator[None]:
    """What a profiler that waits for the program's word is to see."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.profiler.start()
    try:
        yield
        wait(device)
    finally:
        torch.cuda.profiler.stop()
