"""The machine that a test pretends to have: its devices, and what a program did there that CUDA forbids."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch

if TYPE_CHECKING:
    from tests.simulated.capture import Capture
    from tests.simulated.memory import Memory
    from tests.simulated.streams import Queue

HERE = Path(__file__).parent
TORCH = Path(torch.__file__).parent
ASYNCHRONOUS = "CUDA kernel errors might be asynchronously reported at some other API call."
LOST = "uncorrectable ECC error encountered"
CAPTURING = "operation not permitted when stream is capturing"


def accelerator_error(text: str) -> torch.AcceleratorError:
    """CUDA's error of these words, as torch raises it."""
    return torch.AcceleratorError(f"CUDA error: {text}\n{ASYNCHRONOUS}")


@dataclass
class Properties:
    """What `torch.cuda.get_device_properties` tells."""

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int = 132
    warp_size: int = 32
    regs_per_multiprocessor: int = 65536
    max_threads_per_multi_processor: int = 2048
    shared_memory_per_block_optin: int = 232448
    L2_cache_size: int = 50 * 2**20
    gcnArchName: str = ""  # noqa: N815: torch's own name


class Device:
    """One device; `lose_at` is the call at which it is lost, counted from 1."""

    def __init__(self, machine: "Machine", index: int, capability: tuple[int, int], memory: int) -> None:
        from tests.simulated.memory import Memory

        self.machine, self.index = machine, index
        self.properties = Properties(f"Simulated {capability[0]}.{capability[1]}", *capability, memory)
        self.memory: Memory = Memory(self, memory)
        self.queues: dict[int, Queue] = {}
        self.calls = 0
        self.lose_at: int | None = None
        self.lost: str | None = None

    @property
    def capability(self) -> tuple[int, int]:
        """Major and minor."""
        return self.properties.major, self.properties.minor

    def call(self) -> None:
        """Whatever is asked of the device begins here. Raises AcceleratorError once it is lost."""
        self.calls += 1
        if self.calls == self.lose_at:
            self.lose()
        if self.lost:
            raise accelerator_error(self.lost)

    def lose(self, why: str = LOST) -> None:
        """It does nothing from now on, not even what it was asked to before."""
        self.lost = why
        for queue in self.queues.values():
            queue.drop()

    def queue(self, number: int) -> "Queue":
        """The stream of this number; 0 is the default one."""
        from tests.simulated.streams import Queue

        if number not in self.queues:
            self.queues[number] = Queue(self, number)
        return self.queues[number]

    def has_image(self) -> bool:
        """Whether torch's build has machine code for this device, or code that its driver can compile."""
        here = 10 * self.capability[0] + self.capability[1]
        for name in self.machine.architectures:
            kind, _, number = name.partition("_")
            there = int(number.rstrip("af"))
            if there <= here and (kind == "compute" or there // 10 == here // 10):
                return True
        return False


class Machine:
    """Some devices of one compute capability, seen by torch while `installed`.

    `memory` is each one's bytes, `architectures` what torch was built for.
    """

    def __init__(
        self,
        devices: int = 1,
        capability: tuple[int, int] = (9, 0),
        memory: int = 2**30,
        architectures: tuple[str, ...] = ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90", "sm_100"),
    ) -> None:
        self.architectures = architectures
        self.devices = [Device(self, index, capability, memory) for index in range(devices)]
        self.violations: list[str] = []
        self.captures: list[Capture] = []
        self.launches: list[str] = []  # names of kernels, as the program launched or captured them
        self.replays = 0
        self._made = [0] * devices
        self._native: Any = None
        self.lock = threading.RLock()

    @contextmanager
    def installed(self) -> Iterator["Machine"]:
        """Within, `torch.cuda` is this machine's, in every thread."""
        from tests.simulated.edges import installed

        with installed(self):
            yield self

    def device(self, index: int) -> Device:
        """One of them. Raises AcceleratorError where it is none."""
        if not 0 <= index < len(self.devices):
            self.refuse(f"device {index} of {len(self.devices)}", accelerator_error("invalid device ordinal"))
        return self.devices[index]

    def take_thread(self, native: Any) -> None:
        """The thread that installs stands on device 0 and its default stream, as a new one does."""
        self._native = native
        native.set_device(0)
        for index in range(len(self.devices)):
            native.set_stream(index, 0)

    def device_count(self) -> int:
        return len(self.devices)

    def current_device(self) -> int:
        return int(self._native.get_device())

    def set_device(self, index: int) -> None:
        self._native.set_device(self.device(index).index)

    def exchange_device(self, index: int) -> int:
        """Sets another device, none where it is negative; returns the one before."""
        before = self.current_device()
        if index >= 0:
            self.set_device(index)
        return before

    def current_stream(self, index: int) -> int:
        return int(self._native.get_stream(index))

    def queue_of(self, device: Device) -> "Queue":
        """This thread's current stream of a device."""
        return device.queue(self.current_stream(device.index))

    def current_queue(self) -> "Queue":
        """This thread's current stream."""
        return self.queue_of(self.device(self.current_device()))

    def next_stream(self, index: int) -> int:
        """The number of a stream that is made: one of a pool."""
        from tests.simulated.streams import POOL

        number = 1 + self._made[index] % POOL
        self._made[index] += 1
        return number

    def stream_data(self, index: int) -> tuple[int, int, int]:
        return self.current_stream(self.device(index).index), index, 1

    def default_stream_data(self, index: int) -> tuple[int, int, int]:
        return 0, self.device(index).index, 1

    def set_stream(self, stream_id: int, device_index: int, device_type: int) -> None:
        self.set_device(device_index)
        self._native.set_stream(device_index, stream_id)

    def is_capturing(self) -> bool:
        return self.current_queue().capture is not None

    def synchronize(self) -> None:
        with self.lock:
            device = self.device(self.current_device())
            device.call()
            for capture in list(self.captures):
                if capture.queue.device is device:
                    capture.breaks("a device is waited for")
            for queue in list(device.queues.values()):
                queue.finish()
            device.call()

    def give_back(self) -> None:
        """Takes up what was given back of the devices' memory since the last call."""
        for device in self.devices:
            device.memory.take_back()

    def empty_cache(self) -> None:
        with self.lock:
            for device in self.devices:
                device.memory.take_back()
                device.memory.release("memory is released")

    def empty_host_cache(self) -> None:
        """Pinned memory is not cached here."""

    def memory_stats(self, index: int) -> dict[str, Any]:
        with self.lock:
            memory = self.device(index).memory
            memory.take_back()
            counts = {
                "allocated_bytes": {"current": memory.allocated, "peak": memory.peak},
                "reserved_bytes": {"current": memory.reserved, "peak": memory.reserved},
            }
            return {name: {"all": numbers} for name, numbers in counts.items()}

    def reset_peak(self, index: int) -> None:
        memory = self.device(index).memory
        memory.peak = memory.allocated

    def architecture_flags(self) -> str:
        return " ".join(self.architectures)

    def device_properties(self, index: int) -> Properties:
        return self.device(index).properties

    def refusal_to_pin(self) -> bytes | None:
        """Why no host memory can be pinned now: it is a call of the driver."""
        with self.lock:
            try:
                device = self.device(self.current_device())
                device.call()
                device.memory.refuse_while_capturing("host memory is pinned")
            except torch.AcceleratorError as error:
                return str(error).encode()
        return None

    def refuse(self, text: str, error: Exception) -> NoReturn:
        """Writes down what CUDA forbids, and raises its error."""
        self.note(text)
        raise error

    def note(self, text: str) -> None:
        """Writes down a violation, with the line of the program that did it."""
        self.violations.append(f"{text}, in {_caller()}, thread {threading.current_thread().name}")

    @contextmanager
    def expecting(self, words: str) -> Iterator[None]:
        """Within, violations with these words are asked for: one at least."""
        before = len(self.violations)
        yield
        found = self.violations[before:]
        self.violations[before:] = [one for one in found if words not in one]
        assert len(self.violations) < before + len(found), f"no violation has {words!r}: {found}"

    def check(self) -> None:
        """Fails where the program did what CUDA forbids, however it took the error."""
        assert not self.violations, "\n".join(["CUDA forbids:", *self.violations])


def _caller() -> str:
    """The line of the program that is nearest."""
    frame = sys._getframe(1)
    while frame.f_back:
        path = Path(frame.f_code.co_filename)
        if path.suffix == ".py" and HERE not in path.parents and TORCH not in path.parents and path.is_absolute():
            return f"{path.parent.name}/{path.name}:{frame.f_lineno}"
        frame = frame.f_back
    return "torch"
