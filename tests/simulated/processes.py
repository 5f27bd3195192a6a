"""Several processes with a simulated device each: Gloo adds up what NCCL would, once the stream is done."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist

from tests.simulated.machine import Machine
from tests.simulated.tensor import DeviceTensor, on_host


def install(machine: Machine, patch: pytest.MonkeyPatch) -> None:
    """NCCL is there, and Gloo does its work."""
    if not dist.is_available():
        return
    machine.operations[torch.ops.c10d.allreduce_.default] = all_reduce
    patch.setattr(dist, "is_nccl_available", lambda: True)
    patch.setattr(dist, "init_process_group", _by_gloo(dist.init_process_group))


def _by_gloo(begin: Callable[..., None]) -> Callable[..., None]:
    def begun(backend: str, **words: Any) -> None:
        begin(backend.replace("nccl", "gloo"), **words)

    return begun


def all_reduce(machine: Machine, given: list[DeviceTensor], *words: Any) -> Any:
    """A sum over processes: it waits for the vectors, and the host for it."""
    machine.queue_of(given[0].place).wait("a sum over processes waits for the device")
    _, work = torch.ops.c10d.allreduce_.default(on_host(given), *words)
    work.wait()
    return given, work
