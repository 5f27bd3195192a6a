"""What the tests of the rules share."""

import threading
from collections.abc import Callable

import torch

CUDA = torch.device("cuda", 0)


def captured(work: Callable[[], object], mode: str = "global") -> torch.cuda.CUDAGraph:
    """A graph of some work."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode=mode):
        work()
    return graph


def in_thread(work: Callable[[], object]) -> list[str]:
    """Does it in another thread; returns the words of its error."""
    errors: list[str] = []

    def run() -> None:
        try:
            work()
        except Exception as error:
            errors.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return errors
