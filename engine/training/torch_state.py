"""Torch's state as a run needs it, whatever the program around it has set, which gets its own back."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

import torch

from draw_poly.engine import allowance


@contextmanager
def own_torch_state(most: int | None = None) -> Iterator[None]:
    """Within, tensors are made in float32 on the CPU unless it is said, and computed in their own type.

    No more threads are taken than there are cores for this process, or as many as is said.
    """
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    products = torch.get_float32_matmul_precision()
    with ExitStack() as stack:
        stack.callback(torch.set_num_threads, threads)
        stack.callback(torch.set_default_dtype, dtype)
        stack.callback(torch.set_float32_matmul_precision, products)
        torch.set_num_threads(most or min(threads, allowance.cores()))
        torch.set_default_dtype(torch.float32)
        torch.set_float32_matmul_precision("highest")
        # PyTorch 2.9's `get_default_device` fails once it was set to None. On a CPU the context would only cost time.
        if torch.empty(0).device.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        for kind in ("cpu", "cuda"):
            stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def on_device(device: torch.device) -> AbstractContextManager[object]:
    """Within, a CUDA device is this thread's current one: whose stream events, graphs and pinned memory are of."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
