"""Copies between host and device, and from device to device: which wait, and which go on beside the host."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tests.simulated.machine import Machine
from tests.simulated.memory import POISON
from tests.simulated.streams import Queue
from tests.simulated.tensor import DeviceTensor, aten, blocks_of, empty, queued


def copy(machine: Machine, target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    """`Tensor.copy_`, one of both on a device."""
    torch.empty(()).expand(source.shape).expand(target.shape)  # raises where the one does not fit the other
    if isinstance(target, DeviceTensor) and isinstance(source, DeviceTensor):
        if target.place is source.place:
            return queued(machine, aten.copy_.default, (target, source), {}, target.place)  # type: ignore[no-any-return]
        _across(machine, target, source)
    elif isinstance(target, DeviceTensor):
        _to_device(machine, target, source, non_blocking)
    elif isinstance(source, DeviceTensor):
        _to_host(machine, target, source, non_blocking)
    return target


def _is_direct(host: Tensor, device: DeviceTensor) -> bool:
    """Whether the copy engine takes it as it is; else torch makes a copy in pageable memory first."""
    same = host.dtype == device.dtype and host.shape == device.shape
    return same and host.is_pinned() and host.is_contiguous() and device.host.is_contiguous()


def _refuse_to_capture(machine: Machine, queue: Queue, host: Tensor) -> None:
    """Torch does not let pageable memory into a graph; the capture goes on."""
    if queue.capture and not host.is_pinned():
        machine.refuse(
            "a copy to or from pageable memory is captured",
            RuntimeError(
                "Cannot copy between CPU and CUDA tensors during CUDA graph capture unless the CPU tensor is pinned. "
                "Please use tensor.pin_memory() or allocate the tensor with pin_memory=True."
            ),
        )


def _to_device(machine: Machine, target: DeviceTensor, source: Tensor, non_blocking: bool) -> None:
    queue, direct, written = machine.queue_of(target.place), _is_direct(source, target), target.host
    _refuse_to_capture(machine, queue, source)
    # From pageable memory it is taken before the call returns, from pinned memory when the stream comes to it.
    read = source if direct else source.clone()
    queue.add(lambda: written.copy_(read), blocks_of([target]))
    if not non_blocking:
        queue.wait("a copy to the device waits")


def _to_host(machine: Machine, target: Tensor, source: DeviceTensor, non_blocking: bool) -> None:
    queue, direct, read = machine.queue_of(source.place), _is_direct(target, source), source.host
    _refuse_to_capture(machine, queue, target)
    if not (direct and non_blocking):
        queue.wait("a copy to the host waits")
        target.copy_(read)
        return
    if not queue.capture and target.numel():
        target.view(-1).view(torch.uint8).fill_(POISON)  # nobody may read it before the copy is done
    queue.add(lambda: target.copy_(read), blocks_of([source]))


def _across(machine: Machine, target: DeviceTensor, source: DeviceTensor) -> None:
    """On the source's stream, between what both streams have and what they get."""
    ours, theirs = machine.queue_of(source.place), machine.queue_of(target.place)
    read, written = source.host, target.host
    done = ours.add(lambda: written.copy_(read), blocks_of([target, source]), after=(theirs.add(None),))
    theirs.add(None, after=(done,))


def to_copy(
    machine: Machine,
    source: DeviceTensor,
    *,
    dtype: torch.dtype | None = None,
    layout: Any = None,
    device: torch.device | None = None,
    pin_memory: bool | None = None,
    non_blocking: bool = False,
    memory_format: torch.memory_format | None = None,
) -> Tensor:
    """`Tensor.to` where it has to copy."""
    like = torch.empty_like(source.host, dtype=dtype, memory_format=memory_format or torch.preserve_format)
    place = torch.device(device or source.device)
    if place.type == "cpu":
        # Torch takes pinned memory of itself where the copy may go on beside the host.
        pinned = bool(non_blocking or pin_memory)
        target: Tensor = torch.empty_strided(like.size(), like.stride(), dtype=like.dtype, pin_memory=pinned)
    else:
        target = empty(machine, like.size(), like.stride(), like.dtype, place.index)
    return target.copy_(source, non_blocking)


OPERATIONS: dict[Any, Callable[..., Any]] = {aten.copy_.default: copy, aten._to_copy.default: to_copy}
