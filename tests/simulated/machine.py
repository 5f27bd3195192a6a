"""The machine that a test pretends to have: its devices, and what a program did there that CUDA forbids."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch

if TYPE_CHECKING:
    from tests.simulated.capture import Capture
    from tests.simulated.streams import Queue

HERE = Path(__file__).parent
STANDARD = Path(threading.__file__).parent
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
    gcnArchName: str = ""  # noqa: N815


class Device:
    """One device; `lose_at` is the call at which it is lost, counted from 1."""

    def __init__(self, machine: "Machine", index: int, capability: tuple[int, int], memory: int) -> None:
        from tests.simulated.memory import Memory

        self.machine, self.index = machine, index
        self.properties = Properties(f"Simulated {capability[0]}.{capability[1]}", *capability, memory)
        self.memory = Memory(self, memory)
        self.queues: dict[int, Queue] = {}
        self.made = 0  # streams
        self.calls = 0
        self.touched = False  # a call costs a context, some hundred megabytes
        self.lose_at: int | None = None
        self.lost: str | None = None

    @property
    def capability(self) -> tuple[int, int]:
        """Major and minor."""
        return self.properties.major, self.properties.minor

    def call(self) -> None:
        """Whatever is asked of the device begins here. Raises AcceleratorError once it is lost."""
        self.calls += 1
        self.touched = True
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

    `memory` is each one's bytes, `compiler` makes what `torch.compile` is given a kernel, which is called with host
    tensors, and `architectures` is what torch was built for.
    """

    def __init__(
        self,
        devices: int = 2,
        capability: tuple[int, int] = (9, 0),
        memory: int = 2**30,
        compiler: Callable[..., Any] = lambda function, **words: function,
        architectures: tuple[str, ...] = ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90", "sm_100"),
    ) -> None:
        self.architectures, self.compiler = architectures, compiler
        self.devices = [Device(self, index, capability, memory) for index in range(devices)]
        self.violations: list[str] = []
        self.captures: list[Capture] = []
        self.launches: list[str] = []  # names of kernels, those in graphs left out
        self.graphs = self.replays = 0
        self.operations: dict[Any, Callable[..., Any]] = {}  # of torch's, that are not queued as they come
        self.meanwhile: Callable[[], object] | None = None  # what another thread does while a graph is captured
        self.native: Any = None  # each thread's device and streams, in `edges.cpp`
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
        self.native = native
        native.set_device(0)
        for index in range(len(self.devices)):
            native.set_stream(index, 0)

    def current_device(self) -> int:
        """The number of this thread's device."""
        return int(self.native.get_device())

    def queue_of(self, device: Device) -> "Queue":
        """This thread's current stream of a device."""
        return device.queue(int(self.native.get_stream(device.index)))

    def current_queue(self) -> "Queue":
        """This thread's current stream."""
        return self.queue_of(self.device(self.current_device()))

    def launched(self, name: str, device: Device) -> None:
        """Writes down a kernel that is launched for itself."""
        if self.queue_of(device).capture is None:
            self.launches.append(name)

    def give_back(self) -> None:
        """Takes up what was given back of the devices' memory since the last call."""
        for device in self.devices:
            device.memory.take_back()

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
        ours = path.parent == HERE and not path.name.startswith("test_")
        installed = "site-packages" in path.parts or STANDARD in path.parents
        if path.is_absolute() and not ours and not installed:
            return f"{path.parent.name}/{path.name}:{frame.f_lineno}"
        frame = frame.f_back
    return "torch"
