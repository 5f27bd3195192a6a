"""Streams and events: what is asked of a stream is queued, and done when something waits for it, not before."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from tests.simulated.machine import CAPTURING, Device, Machine, accelerator_error

if TYPE_CHECKING:
    from tests.simulated.capture import Capture
    from tests.simulated.memory import Block

# Streams that torch makes of a device before it hands the first out again.
POOL = 32
# Milliseconds that any work takes, by the device's own clock.
DURATION = 1e-3


class Work:
    """Something that a stream is to do, once it has done what came before, and others what is in `after`."""

    __slots__ = ("after", "blocks", "done", "queue", "run", "time")

    def __init__(
        self, queue: "Queue", run: Callable[[], object] | None, blocks: tuple["Block", ...], after: tuple["Work", ...]
    ) -> None:
        self.queue, self.run, self.blocks, self.after = queue, run, blocks, after
        self.done = False
        self.time = 0.0


class Queue:
    """A stream of a device."""

    def __init__(self, device: Device, number: int) -> None:
        self.device, self.number = device, number
        self.works: deque[Work] = deque()
        self.capture: Capture | None = None
        self.clock = 0.0
        self.last: Work | None = None

    def add(
        self, run: Callable[[], object] | None, blocks: tuple["Block", ...] = (), after: tuple[Work, ...] = ()
    ) -> Work:
        """Queues work that reads or writes these blocks of memory; captured, it goes into the graph instead."""
        self.device.call()
        work = Work(self, run, blocks, after)
        if self.capture:
            self.capture.add(work)
        else:
            self.append(work)
        return work

    def append(self, work: Work) -> None:
        """Queues work that nobody asked for."""
        self.works.append(work)
        self.last = work
        for block in work.blocks:
            block.used(work)

    def finish(self, work: Work | None = None) -> None:
        """Does what was queued, up to and with this work, or all; first what it has to come after."""
        while self.works and not (work and work.done):
            head = self.works[0]
            for other in head.after:
                if not other.done:
                    other.queue.finish(other)
            self.clock = max([self.clock, *(other.time for other in head.after)])
            self.works.popleft()
            self._do(head)

    def _do(self, work: Work) -> None:
        if work.run:
            self.clock += DURATION
            try:
                with torch.inference_mode():
                    work.run()
            except Exception as error:
                self.device.machine.note(f"a kernel fails: {type(error).__name__}: {error}")
                self.device.lose("device-side assert triggered")
        work.time, work.done = self.clock, True

    def drop(self) -> None:
        """Forgets what was queued: the device is lost."""
        for work in self.works:
            work.done = True
        self.works.clear()

    def wait(self, what: str) -> None:
        """The host waits for the stream."""
        self.device.call()
        self.refuse_while_capturing(what)
        self.finish()
        self.device.call()

    def refuse_while_capturing(self, what: str) -> None:
        """Raises AcceleratorError where a capture forbids what would wait for this stream, and breaks it."""
        for capture in list(self.device.machine.captures):
            if self.capture is capture or capture.forbids_here():
                capture.breaks(what)


class StreamBase:
    """What `torch.cuda.Stream` stands on: in torch, a class in C."""

    machine: Machine  # both of the class that `edges` makes
    calls: Any
    queue: Queue
    stream_id: int
    device_index: int
    device_type: int
    priority: int

    def __new__(
        cls, priority: int = 0, stream_id: int = 0, device_index: int = 0, device_type: int = 0
    ) -> "StreamBase":
        self = super().__new__(cls)
        given = stream_id, device_index, device_type
        self.stream_id, self.device_index, self.device_type = given if device_type else cls.calls.new_stream()
        self.priority = priority
        self.queue = cls.machine.device(self.device_index).queue(self.stream_id)
        return self

    @property
    def device(self) -> torch.device:
        return torch.device("cuda", self.device_index)

    @property
    def cuda_stream(self) -> int:
        return 1000 * self.device_index + self.stream_id

    def query(self) -> bool:
        """Whether all is done; a device goes on by itself, so that to ask again and again comes to an end."""
        with self.machine.lock:
            self.queue.device.call()
            self.queue.refuse_while_capturing("a query of a stream")
            done = not self.queue.works
            if not done:
                self.queue.finish(self.queue.works[0])
            return done

    def synchronize(self) -> None:
        with self.machine.lock:
            self.queue.wait("a stream is waited for")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StreamBase) and self.queue is other.queue

    def __hash__(self) -> int:
        return hash((self.stream_id, self.device_index))


class EventBase:
    """What `torch.cuda.Event` stands on: in torch, a class in C."""

    machine: Machine
    timed: bool
    work: Work | None
    capture: "Capture | None"

    def __new__(cls, enable_timing: bool = False, **words: bool) -> "EventBase":
        self = super().__new__(cls)
        self.timed = enable_timing
        self.work = self.capture = None
        return self

    def record(self, stream: StreamBase) -> None:
        with self.machine.lock:
            queue = stream.queue
            if self.work and self.work.queue.device is not queue.device:
                self.machine.refuse(
                    f"an event of device {self.work.queue.device.index} is recorded on device {queue.device.index}",
                    RuntimeError(
                        f"Event device {self.work.queue.device.index} does not match recording stream's device "
                        f"{queue.device.index}."
                    ),
                )
            self.capture = queue.capture
            self.work = queue.add(None)
            if self.capture:
                self.capture.recorded(queue)

    def wait(self, stream: StreamBase) -> None:
        with self.machine.lock:
            queue = stream.queue
            if self.work is None:
                return
            if self.capture and self.capture.open:
                self.capture.joined(queue, self.work.queue)
            elif queue.capture:
                queue.capture.breaks("a captured stream waits for work that is not captured")
            else:
                queue.add(None, after=(self.work,))

    def query(self) -> bool:
        """See `StreamBase.query`."""
        with self.machine.lock:
            if self.work is None:
                return True
            self._asked("a query of an event")
            done = self.work.done
            if not done:
                self.work.queue.finish(self.work.queue.works[0])
            return done

    def synchronize(self) -> None:
        with self.machine.lock:
            if self.work is None:
                return
            self._asked("an event is waited for")
            self.work.queue.finish(self.work)
            self.work.queue.device.call()

    def _asked(self, what: str) -> None:
        assert self.work is not None
        self.machine.device(self.machine.current_device()).touched = True  # whatever the event's is
        self.work.queue.device.call()
        self.work.queue.refuse_while_capturing(what)
        if self.capture:
            self.machine.refuse(f"{what} that was captured", accelerator_error(CAPTURING))

    def elapsed_time(self, end: "EventBase") -> float:
        with self.machine.lock:
            if not (self.timed and end.timed):
                self.machine.refuse(
                    "the time of an event without timing",
                    ValueError("Both events must be created with argument 'enable_timing=True'."),
                )
            if not (self.work and end.work):
                self.machine.refuse(
                    "the time of an event that was not recorded",
                    ValueError("Both events must be recorded before calculating elapsed time."),
                )
            if not (self.work.done and end.work.done):
                self.machine.refuse("the time of an event that is not over", accelerator_error("device not ready"))
            return end.work.time - self.work.time

    @property
    def cuda_event(self) -> int:
        return id(self) if self.work else 0

    @property
    def device(self) -> torch.device | None:
        return torch.device("cuda", self.work.queue.device.index) if self.work else None
