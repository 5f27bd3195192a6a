"""Triton's kernels: interpreted when a stream comes to them, and refused where a launch would be."""

import dataclasses
import importlib.util
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from torch import Tensor

from tests.interpreter import patch_once
from tests.simulated.machine import Device, Machine
from tests.simulated.tensor import DeviceTensor, blocks_of, on_host, tensors

# Triton has no code for older ones.
OLDEST = (7, 0)


def install(machine: Machine, patch: pytest.MonkeyPatch) -> None:
    """Puts the machine where Triton launches."""
    if importlib.util.find_spec("triton") is None:
        return
    from triton.runtime.interpreter import GridExecutor, InterpretedFunction

    compiled: set[Any] = set()

    def run(function: Any, *args: Any, grid: Any, warmup: bool = False, **words: Any) -> None:
        with machine.lock:
            device = machine.device(machine.current_device())
            hooks = [function.pre_run_hooks] if hasattr(function, "pre_run_hooks") else []  # from Triton 3.6 on
            launch = GridExecutor(function.rewrite(), function.arg_names, grid, *hooks)
            _launch(machine, device, compiled, function, launch, args, words, warmup)

    patch.setattr(InterpretedFunction, "run", run, raising=False)
    if "__getitem__" in vars(InterpretedFunction):  # Triton 3.5: the executor itself, in place of `run`
        patch.setattr(InterpretedFunction, "__getitem__", lambda function, grid: partial(run, function, grid=grid))
    patch_once(patch)


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
    ours, named = on_host(args), on_host(words)
    machine.launched(function.__name__, device)
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
