"""What `torch.compile` makes of a function of a device's tensors: one kernel, compiled at its first call of a kind."""

import dataclasses
import sys
from collections.abc import Callable
from types import CellType, FunctionType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from tests.simulated.launches import OLDEST
from tests.simulated.machine import Device, Machine
from tests.simulated.tensor import DeviceTensor, blocks_of, check_image, empty, on_host, tensors, zeros_like


def install(machine: Machine, patch: pytest.MonkeyPatch) -> None:
    """Puts the machine where torch compiles."""
    patch.setattr(torch, "compile", _compiling(machine, torch.compile))


def _compiling(machine: Machine, compiler: Callable[..., Any]) -> Callable[..., Any]:
    def compiling(function: Callable[..., Any] | None = None, **words: Any) -> Any:
        if function is None:
            return lambda one: compiling(one, **words)
        closed: list[DeviceTensor] = []
        here: list[Callable[..., Any]] = []  # for tensors of the host: torch's own, which takes long to load
        there = machine.compiler(_on_host(function, closed), **words)
        compiled: set[Any] = set()

        def called(*args: Any, **named: Any) -> Any:
            given = [one for one in _tensors((args, named)) if isinstance(one, DeviceTensor)]
            if not given:
                here[:] = here or [compiler(function, **words)]
                return here[0](*args, **named)
            with machine.lock:
                machine.launched(function.__name__, given[0].place)
                return _called(machine, there, compiled, given, closed, args, named)

        return called

    return compiling


def _called(
    machine: Machine, function: Callable[..., Any], compiled: set[Any], given: list[DeviceTensor],
    closed: list[DeviceTensor], args: Any, words: Any,
) -> Any:  # fmt: skip
    """Queues the function, of the tensors' own memory; what it returns has its shape at once."""
    machine.give_back()
    device = given[0].place
    check_image(device)
    key = tuple((tuple(one.shape), one.stride(), one.dtype, one.device) for one in given)
    if key not in compiled:
        _compile(device)
        compiled.add(key)
    shells = {id(one): zeros_like(one) for one in given}
    shapes = function(
        *_mapped(args, lambda one: shells.get(id(one), one)), **_mapped(words, lambda one: shells.get(id(one), one))
    )
    results = tree_map(
        lambda one: (
            empty(machine, one.size(), one.stride(), one.dtype, device.index) if isinstance(one, Tensor) else one
        ),
        shapes,
    )
    ours, named, targets = _mapped(args, on_host), _mapped(words, on_host), list(map(on_host, tensors(results)))

    def run() -> None:
        for target, one in zip(targets, tensors(function(*ours, **named)), strict=True):
            target.copy_(one)

    machine.queue_of(device).add(run, blocks_of(given, closed, tensors(results)))
    return results


def _on_host(function: Any, closed: list[DeviceTensor]) -> Any:
    """A function that closes over the host memory of what this one closes over, which is listed."""

    def held(value: Any) -> Any:
        if isinstance(value, DeviceTensor):
            closed.append(value)
        return on_host(_on_host(value, closed))

    if not isinstance(function, FunctionType):
        return function
    cells = tuple(CellType(held(cell.cell_contents)) for cell in function.__closure__ or ())
    return FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__, cells)


def _compile(device: Device) -> None:
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


def _tensors(value: Any) -> list[Tensor]:
    found: list[Tensor] = []
    _mapped(value, lambda one: found.append(one) or one)  # type: ignore[func-returns-value]
    return found


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Arguments with other tensors, in the records among them too."""
    if isinstance(value, Tensor):
        return change(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
        changed = {name: _mapped(one, change) for name, one in fields.items()}
        return value if all(changed[name] is fields[name] for name in fields) else dataclasses.replace(value, **changed)
    if isinstance(value, dict):
        return {name: _mapped(one, change) for name, one in value.items()}
    if type(value) in (list, tuple):
        changed_parts = [_mapped(one, change) for one in value]
        same = all(new is old for new, old in zip(changed_parts, value, strict=True))
        return value if same else type(value)(changed_parts)
    return value
