"""Several processes with a simulated device each: Gloo adds up what NCCL would, once the stream is done."""

from collections.abc import Callable
from typing import Any

import pytest
import torch.distributed as dist

from tests.simulated.machine import Machine
from tests.simulated.tensor import on_host, tensors


def install(machine: Machine, patch: pytest.MonkeyPatch) -> None:
    """NCCL is there, and Gloo does its work."""
    if not dist.is_available():
        return
    patch.setattr(dist, "is_nccl_available", lambda: True)
    patch.setattr(dist, "init_process_group", _by_gloo(dist.init_process_group))


def _by_gloo(begin: Callable[..., None]) -> Callable[..., None]:
    def begun(backend: str, **words: Any) -> None:
        begin(backend.replace("nccl", "gloo"), **words)

    return begun


def collective(machine: Machine, func: Any, args: Any, kwargs: Any) -> Any:
    """A collective of `torch.distributed` on a device's tensors: it waits for them, and the host for it."""
    given = [one for one in tensors(args) if one.is_cuda]
    machine.queue_of(given[0].place).wait(f"{func} waits for the other processes")  # type: ignore[attr-defined]
    result = func(*on_host(args), **on_host(kwargs))
    work = result[-1] if isinstance(result, tuple) else result
    work.wait()
    return (given, work)
