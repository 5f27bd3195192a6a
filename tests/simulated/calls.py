"""What torch calls in C of a CUDA device, apart from operations on tensors: devices, streams, memory."""

import ctypes

from tests.simulated.machine import Machine, Properties
from tests.simulated.streams import POOL

CUDA = 1  # torch's number of the kind of device
Stream = tuple[int, int, int]  # its number, its device's, the kind of that


class Calls:
    """The functions of `torch._C` that `NAMES` names."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._refusal = ctypes.create_string_buffer(0)

    def device_count(self) -> int:
        return len(self.machine.devices)

    def get_device(self) -> int:
        return self.machine.current_device()

    def set_device(self, index: int) -> None:
        self.machine.native.set_device(self.machine.device(index).index)

    def exchange_device(self, index: int) -> int:
        """Sets another device, none where it is negative; returns the one before."""
        before = self.machine.current_device()
        if index >= 0:
            self.set_device(index)
        return before

    def maybe_exchange_device(self, index: int) -> int:
        return self.exchange_device(index)

    def device_properties(self, index: int) -> Properties:
        return self.machine.device(index).properties

    def architectures(self) -> str:
        return " ".join(self.machine.architectures)

    def new_stream(self) -> Stream:
        """One of a pool, which is handed out in turn."""
        device = self.machine.device(self.machine.current_device())
        device.made += 1
        return 1 + (device.made - 1) % POOL, device.index, CUDA

    def current_stream(self, index: int) -> Stream:
        return self.machine.queue_of(self.machine.device(index)).number, index, CUDA

    def raw_stream(self, index: int) -> int:
        return self.machine.queue_of(self.machine.device(index)).number

    def default_stream(self, index: int) -> Stream:
        return 0, self.machine.device(index).index, CUDA

    def set_stream(self, stream_id: int, device_index: int, device_type: int) -> None:
        self.set_device(device_index)
        self.machine.native.set_stream(device_index, stream_id)

    def is_capturing(self) -> bool:
        return self.machine.current_queue().capture is not None

    def synchronize(self) -> None:
        machine = self.machine
        with machine.lock:
            device = machine.device(machine.current_device())
            device.call()
            for capture in list(machine.captures):
                if capture.queue.device is device:
                    capture.breaks("a device is waited for")
            for queue in list(device.queues.values()):
                queue.finish()
            device.call()

    def empty_cache(self) -> None:
        with self.machine.lock:
            self.machine.give_back()
            for device in self.machine.devices:
                device.memory.release("memory is released")

    def empty_host_cache(self) -> None:
        """Pinned memory is not cached here."""

    def memory_stats(self, index: int) -> dict[str, dict[str, dict[str, int]]]:
        with self.machine.lock:
            self.machine.give_back()
            memory = self.machine.device(index).memory
            return {
                "allocated_bytes": {"all": {"current": memory.allocated, "peak": memory.peak}},
                "reserved_bytes": {"all": {"current": memory.reserved, "peak": memory.reserved}},
            }

    def reset_peak(self, index: int) -> None:
        memory = self.machine.device(index).memory
        memory.peak = memory.allocated

    def refusal_to_pin(self) -> int | None:
        """Where it is written why no host memory can be pinned now: it is a call of the driver."""
        machine = self.machine
        with machine.lock:
            try:
                device = machine.device(machine.current_device())
                device.call()
                device.memory.refuse_while_capturing("host memory is pinned")
            except RuntimeError as error:
                self._refusal = ctypes.create_string_buffer(str(error).encode())
                return ctypes.addressof(self._refusal)
        return None


NAMES = {
    "_cuda_getDeviceCount": Calls.device_count,
    "_cuda_getDevice": Calls.get_device,
    "_cuda_setDevice": Calls.set_device,
    "_cuda_exchangeDevice": Calls.exchange_device,
    "_cuda_maybeExchangeDevice": Calls.maybe_exchange_device,
    "_cuda_synchronize": Calls.synchronize,
    "_cuda_getCurrentStream": Calls.current_stream,
    "_cuda_getCurrentRawStream": Calls.raw_stream,
    "_cuda_getDefaultStream": Calls.default_stream,
    "_cuda_setStream": Calls.set_stream,
    "_cuda_isCurrentStreamCapturing": Calls.is_capturing,
    "_cuda_emptyCache": Calls.empty_cache,
    "_host_emptyCache": Calls.empty_host_cache,
    "_cuda_memoryStats": Calls.memory_stats,
    "_cuda_resetPeakMemoryStats": Calls.reset_peak,
    "_cuda_getArchFlags": Calls.architectures,
}
