"""Kernels: Triton's are interpreted, and compiled by `torch.compile` run as they stand, when a stream comes to them."""

import dataclasses
import importlib.util
import inspect
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.simulated.machine import Device, Machine
from tests.simulated.tensor import DeviceTensor, blocks_of, on_host, tensors

# Below, neither Triton nor what torch.compile makes with it.
OLDEST = (7, 0)


def install(machine: Machine, patch: pytest.MonkeyPatch) -> None:
    """Puts the machine where Triton launches, and where torch compiles."""
    if importlib.util.find_spec("triton"):
        from triton.runtime.interpreter import GridExecutor, InterpretedFunction

        compiled: set[Any] = set()

        def run(function: Any, *args: Any, grid: Any, warmup: bool = False, **words: Any) -> None:
            with machine.lock:
                device = machine.device(machine.current_device())
                launch = GridExecutor(function.rewrite(), function.arg_names, grid, function.pre_run_hooks)
                _launch(machine, device, compiled, function, launch, args, words, warmup)

        patch.setattr(InterpretedFunction, "run", run)
    patch.setattr(torch, "compile", _compiling(machine, torch.compile))


def _launch(
    machine: Machine,
    device: Device,
    compiled: set[Any],
    function: Any,
    launch: Callable[..., None],
    args: Any,
    words: dict[str, Any],
    warmup: bool,
) -> None:
    from triton.backends.nvidia.compiler import CUDAOptions

    machine.give_back()
    device.call()
    signature = inspect.signature(function.fn)
    options = {field.name for field in dataclasses.fields(CUDAOptions)}
    for name in words:
        if name not in signature.parameters and name not in options:
            machine.refuse(
                f"{function.__name__} has no argument {name}",
                KeyError(f"Keyword argument {name} was specified but unrecognised"),
            )
    bound = signature.bind(*args, **{name: value for name, value in words.items() if name in signature.parameters})
    given = [one for one in tensors((args, words)) if isinstance(one, DeviceTensor)]
    for index, one in enumerate(bound.arguments.values()):
        if isinstance(one, Tensor) and not isinstance(one, DeviceTensor):
            machine.refuse(
                f"{function.__name__} is given a tensor of the host",
                ValueError(f"Pointer argument (at {index}) cannot be accessed from Triton (cpu tensor?)"),
            )
    if any(one.place is not device for one in given):
        device.lose("an illegal memory access was encountered")
        machine.note(f"{function.__name__} is launched on device {device.index} with memory of another")
        device.call()
    chosen = tuple((name, value) for name, value in sorted(words.items()) if name not in signature.parameters)
    key = function.fn, device.index, _signature(function, bound.arguments), chosen
    if key not in compiled:
        if device.capability < OLDEST:
            raise RuntimeError(f"Triton has no code for compute capability {device.capability}")
        device.memory.refuse_while_capturing(f"{function.__name__} is compiled")
        compiled.add(key)
    if warmup:
        return
    machine.launches.append(function.__name__)
    ours, named = on_host(args), on_host(words)
    machine.queue_of(device).add(lambda: launch(*ours, **named), blocks_of(given))


def _signature(function: Any, arguments: dict[str, Any]) -> tuple[Any, ...]:
    """What Triton compiles a kernel for: constants, kinds, and what it can tell of a number or an address."""
    general = {
        list(arguments)[one] if isinstance(one, int) else one for one in function.kwargs.get("do_not_specialize") or ()
    }
    annotations = inspect.get_annotations(function.fn)
    found: list[Any] = []
    for name, value in arguments.items():
        if "constexpr" in str(annotations.get(name, "")):
            found.append(value)
        elif isinstance(value, Tensor):
            found.append((value.dtype, value.data_ptr() % 16 == 0))
        elif isinstance(value, int) and not isinstance(value, bool):
            wide = "i32" if -(2**31) <= value < 2**31 else "i64"
            found.append(wide if name in general else (wide, value == 1, value % 16 == 0))
        else:
            found.append(type(value))
    return tuple(found)


def _compiling(machine: Machine, compiler: Callable[..., Any]) -> Callable[..., Any]:
    """`torch.compile`: of what is given tensors of a device, a first call of a kind compiles."""

    def compiling(function: Callable[..., Any] | None = None, **words: Any) -> Any:
        if function is None:
            return lambda one: compiling(one, **words)
        on_host = compiler(function, **words)
        compiled: set[Any] = set()

        def called(*args: Any, **named: Any) -> Any:
            found = _deep((args, named))
            device = next((one.place for one in found if isinstance(one, DeviceTensor)), None)
            if device is None:
                return on_host(*args, **named)
            key = tuple((tuple(one.shape), one.stride(), one.dtype, one.device) for one in found)
            with machine.lock:
                device.call()
                if key not in compiled:
                    _compile(machine, device)
                    compiled.add(key)
            machine.launches.append(function.__name__)
            return function(*args, **named)

        return called

    return compiling


def _compile(machine: Machine, device: Device) -> None:
    if device.capability < OLDEST:
        raise RuntimeError(
            f"Found {device.properties.name} which is too old to be supported by the triton GPU compiler, which is "
            f"used as the backend. Triton only supports devices of CUDA Capability >= {OLDEST[0]}.{OLDEST[1]}, but "
            f"your device is of CUDA capability {device.capability[0]}.{device.capability[1]}"
        )
    frames = sys.modules.get("torch._dynamo.eval_frame")
    if frames and frames._stance.stance == "fail_on_recompile":
        raise RuntimeError("Detected recompile when torch.compile stance is 'fail_on_recompile'")
    device.memory.refuse_while_capturing("torch compiles")


def _deep(value: Any) -> list[Tensor]:
    """All tensors in arguments, and in the records among them."""
    if isinstance(value, Tensor):
        return [value]
    if dataclasses.is_dataclass(value):
        return [one for field in dataclasses.fields(value) for one in _deep(getattr(value, field.name))]
    if isinstance(value, dict):
        return _deep(list(value.values()))
    return [one for part in value for one in _deep(part)] if isinstance(value, list | tuple) else []
