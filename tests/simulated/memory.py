"""A device's memory: counted, filled with NaN before it is written, spoilt once it is given back."""

from collections import Counter, deque
from typing import TYPE_CHECKING

import torch
from torch import Tensor, UntypedStorage

from tests.simulated.machine import Device
from tests.simulated.streams import Queue, Work

if TYPE_CHECKING:
    from tests.simulated.capture import Capture

# Of every byte that nobody has written: a float is NaN then, an index out of range.
POISON = 0xFF
GRANULE = 512


class Block:
    """One allocation: which stream it was made on, who was allowed on it, and what is queued that uses it."""

    def __init__(self, device: Device, queue: "Queue", size: int) -> None:
        self.device, self.queue, self.size = device, queue, size
        self.pool: Capture | None = queue.capture
        self.storage: UntypedStorage | None = None
        self.recorded: set[Queue] = set()
        self.captured = False
        self.freed = False
        self._uses: dict[Queue, Work] = {}  # the last of each stream

    def used(self, work: "Work") -> None:
        """Work was queued that uses it."""
        self._uses[work.queue] = work

    def pending(self) -> list["Work"]:
        """What other streams have yet to do with it."""
        return [work for queue, work in self._uses.items() if queue is not self.queue and not work.done]

    def spoil(self) -> None:
        """Whoever gets the memory next writes to it."""
        if self.storage is not None:
            self.storage.fill_(POISON)  # type: ignore[attr-defined]


class Owner:
    """Held by all tensors of a block: with the last of them the block is given back."""

    __slots__ = ("block",)

    def __init__(self, block: Block) -> None:
        self.block = block

    def __del__(self) -> None:
        # Taken up at the next call: the collector may be at work anywhere.
        self.block.device.memory.given_back.append(self.block)


class Memory:
    """A device's allocator, which caches for each stream what was given back there."""

    def __init__(self, device: Device, limit: int) -> None:
        self.device, self.limit = device, limit
        self.allocated = self.peak = self.allocations = 0
        self.given_back: deque[Block] = deque()
        self._waiting: list[Block] = []  # for streams that they were recorded on
        self._cached: Counter[Queue] = Counter()

    @property
    def reserved(self) -> int:
        """Bytes in use and cached."""
        return self.allocated + sum(self._cached.values())

    def empty(self, size: tuple[int, ...], stride: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Owner]:
        """A tensor in host memory that stands for one on the device, and its owner. Raises OutOfMemoryError."""
        machine = self.device.machine
        queue = machine.queue_of(self.device)
        self.device.call()
        extent = 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if 0 not in size else 0
        block = Block(self.device, queue, -(-extent * dtype.itemsize // GRANULE) * GRANULE)
        self._reserve(block)
        with torch.inference_mode(False):
            host = torch.empty_strided(size, stride, dtype=dtype)
        block.storage = host.untyped_storage()
        block.spoil()
        return host, Owner(block)

    def _reserve(self, block: Block) -> None:
        self.take_back()
        size, queue = block.size, block.queue
        if block.pool is None and self._cached[queue] >= size:
            self._cached[queue] -= size
        elif self.reserved + size > self.limit:
            self.release("memory is allocated")
            if self.allocated + size > self.limit:
                free = max(self.limit - self.allocated, 0)
                raise torch.OutOfMemoryError(
                    f"CUDA out of memory. Tried to allocate {size / 2**20:.2f} MiB. GPU {self.device.index} has a "
                    f"total capacity of {self.limit / 2**20:.2f} MiB of which {free / 2**20:.2f} MiB is free."
                )
        elif block.pool is None:
            self.refuse_while_capturing("memory is allocated")
        self.allocated += size
        self.allocations += 1
        self.peak = max(self.peak, self.allocated)

    def take_back(self) -> None:
        """Gives back the blocks whose tensors are gone, once the streams that they were recorded on are past them."""
        while self.given_back:
            block = self.given_back.popleft()
            block.freed = True
            self._waiting.append(block)
        ready = [block for block in self._waiting if not any(w.queue in block.recorded for w in block.pending())]
        if ready:
            self._waiting = [block for block in self._waiting if block not in ready]
        for block in ready:
            self.allocated -= block.size
            if block.pool is None:
                self._cached[block.queue] += block.size
            self._spoil(block)

    def _spoil(self, block: Block) -> None:
        """The block's own stream may write to it from now on, as soon as it comes to that."""
        if self.device.lost or block.pool or not (block.captured or block.pending()):
            return
        work = Work(block.queue, block.spoil, (), ())
        block.queue.append(work)
        if block.pending():  # a stream that was not told of: at once is soon enough to be in its way
            block.queue.finish(work)

    def release(self, what: str) -> None:
        """Gives the cache back to the driver, which waits for the device."""
        if any(self._cached.values()):
            self.refuse_while_capturing(what)
            for queue in self.device.queues.values():
                queue.finish()
        self._cached.clear()

    def refuse_while_capturing(self, what: str) -> None:
        """Raises AcceleratorError where a capture forbids a call of the driver, and breaks it."""
        for capture in list(self.device.machine.captures):
            if capture.forbids_here():
                capture.breaks(what)
