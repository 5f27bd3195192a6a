"""Where torch meets CUDA: what it calls in C is the machine's meanwhile; all that it does in Python is its own."""

import importlib.util
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils import _device

from tests.simulated import compiler, copies, launches, native, processes
from tests.simulated.calls import NAMES, Calls
from tests.simulated.capture import GraphBase
from tests.simulated.machine import Machine
from tests.simulated.streams import EventBase, StreamBase
from tests.simulated.tensor import DeviceTensor, empty, uploaded


@contextmanager
def installed(machine: Machine) -> Iterator[None]:
    """Within, torch and Triton meet the machine."""
    if torch.cuda.is_available():
        raise RuntimeError("there is a GPU here, or a simulated one: neither has another beside it")
    calls = Calls(machine)
    beneath = native.edges()
    refusal = native.REFUSAL(calls.refusal_to_pin)  # kept while C++ may call it
    beneath.install(refusal)
    machine.take_thread(beneath)
    library = torch.library.Library("aten", "IMPL")
    with pytest.MonkeyPatch.context() as patch:
        try:
            _stand_in(machine, calls, patch)
            _register(machine, library)
            machine.operations |= copies.OPERATIONS
            for edge in (launches, compiler, processes):
                edge.install(machine, patch)
            _forget()
            yield
        finally:
            library._destroy()
            beneath.uninstall()
            _forget()


def _forget() -> None:
    """What the program and torch keep of the device from one run to the next."""
    if workspace := sys.modules.get("draw_poly.kernels.gpu.workspace"):
        workspace.layer_table.cache_clear()
    _device._device_constructors.cache_clear()  # which are others meanwhile


def _stand_in(machine: Machine, calls: Calls, patch: pytest.MonkeyPatch) -> None:
    bases = {"_CudaStreamBase": StreamBase, "_CudaEventBase": EventBase, "_CUDAGraph": GraphBase}
    inside = {"machine": machine, "calls": calls}
    words: dict[str, Any] = {name: type(name, (base,), inside) for name, base in bases.items()}
    words |= {name: method.__get__(calls) for name, method in NAMES.items()}
    # Names that torch.compile imports where there is CUDA.
    words |= {"_cuda_CUDAAllocator_AllocatorState": object, "_set_cached_tensors_enabled": lambda enabled: None}
    for name, value in words.items():
        patch.setattr(torch._C, name, value, raising=False)
    patch.setattr(torch._C, "_has_cuda", True)
    patch.setattr(torch.cuda, "_initialized", True)
    # Counted: PyTorch 2.9 asks NVML else, which sees none of these.
    patch.setattr(torch.cuda, "_cached_device_count", len(machine.devices))
    patch.setattr(torch.cuda, "default_generators", tuple(torch.Generator() for _ in machine.devices))
    patch.setattr(torch.cuda, "_exchange_device", calls.exchange_device)
    patch.setattr(torch.cuda, "_maybe_exchange_device", calls.maybe_exchange_device)
    patch.setattr(torch.cuda, "_get_device_index", _noting(machine, torch.cuda._get_device_index))  # type: ignore[attr-defined]
    patch.setattr(torch.cuda, "_get_device_properties", calls.device_properties, raising=False)
    # torch's own classes over these bases: made anew, since classes keep theirs.
    streams = _again("streams")
    patch.setattr(torch.cuda, "Stream", streams.Stream)
    patch.setattr(torch.cuda, "Event", streams.Event)
    graphs = _again("graphs")
    for name in ("CUDAGraph", "graph", "is_current_stream_capturing"):
        patch.setattr(torch.cuda, name, getattr(graphs, name))
    patch.setattr(DeviceTensor, "machine", machine, raising=False)
    for name in ("tensor", "as_tensor"):
        patch.setattr(torch, name, _sending(getattr(torch, name)))


def _again(name: str) -> ModuleType:
    """A module of torch.cuda, read anew."""
    path = Path(torch.__file__).parent / "cuda" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"torch.cuda.simulated_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _noting(machine: Machine, index: Callable[..., int]) -> Callable[..., int]:
    """Torch's own reader of a device's index, whose refusals are noted."""

    def read(*args: Any, **words: Any) -> int:
        try:
            return index(*args, **words)
        except ValueError:
            machine.note(f"{args[0]!r} is given as a device without an index")
            raise

    return read


def _sending(factory: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A factory from the host's numbers: torch's C++ would send them on past the dispatcher of Python's tensors."""

    def made(*args: Any, device: Any = None, **words: Any) -> Tensor:
        if device is None or torch.device(device).type != "cuda":
            return factory(*args, device=device, **words)
        return factory(*args, **words).to(device)

    return made


def _register(machine: Machine, library: torch.library.Library) -> None:
    """What makes tensors of no others: torch's dispatcher asks the device for them, in any thread."""

    def memory(size: Any, **words: Any) -> DeviceTensor:
        if words.get("pin_memory"):
            machine.refuse("a device's memory is pinned", RuntimeError("Only dense CPU tensors can be pinned"))
        stride = [math.prod(size[index + 1 :]) for index in range(len(size))]
        with machine.lock:
            return empty(machine, size, stride, words.get("dtype"), torch.device(words["device"]).index)

    def strided(size: Any, stride: Any, **words: Any) -> DeviceTensor:
        with machine.lock:
            return empty(machine, size, stride, words.get("dtype"), torch.device(words["device"]).index)

    library.impl("empty.memory_format", memory, "CUDA")
    library.impl("empty_strided", strided, "CUDA")
    for name in ("arange", "arange.start", "arange.start_step", "randperm", "linspace", "eye"):
        library.impl(name, _from_host(machine, name), "CUDA")


def _from_host(machine: Machine, name: str) -> Callable[..., DeviceTensor]:
    packet, _, overload = name.partition(".")
    operation = getattr(getattr(torch.ops.aten, packet), overload or "default")

    def made(*args: Any, **words: Any) -> DeviceTensor:
        index = torch.device(words["device"]).index
        with machine.lock:
            device = machine.device(machine.current_device() if index is None else index)
            return uploaded(machine, operation(*args, **{**words, "device": torch.device("cpu")}), device)

    return made
