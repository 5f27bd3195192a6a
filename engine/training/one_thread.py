"""Work of torch's between two epochs, on one thread."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch's operations within take one thread.

    OpenMP's others keep their cores for some milliseconds after their work, which hold up the kernels' own threads.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
