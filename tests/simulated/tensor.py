"""Tensors that a program sees on `cuda:n`: what torch would launch for them is queued, what they hold comes later."""

from collections.abc import Iterator
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from tests.simulated.machine import Device, Machine, accelerator_error
from tests.simulated.memory import Owner

aten = torch.ops.aten


class DeviceTensor(Tensor):
    """One of them: `host` is that memory, `owner` keeps the block that it is in."""

    machine: Machine
    host: Tensor
    owner: Owner

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, host: Tensor, owner: Owner) -> "DeviceTensor":
        self: DeviceTensor = torch.Tensor._make_wrapper_subclass(
            cls,
            host.size(),
            strides=host.stride(),
            storage_offset=host.storage_offset(),
            dtype=host.dtype,
            device=torch.device("cuda", owner.block.device.index),
        )
        self.host, self.owner = host, owner
        return self

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        machine = next(one.machine for one in tree_leaves((args, kwargs)) if isinstance(one, DeviceTensor))
        with machine.lock:
            return dispatched(machine, func, args, kwargs or {})

    @property
    def place(self) -> Device:
        """Where it is."""
        return self.owner.block.device

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, *, force: bool = False) -> Any:
        return self.cpu().numpy() if force else self._is_no_array()

    def _is_no_array(self) -> NoReturn:
        self.machine.refuse(
            "numpy of a device's tensor",
            TypeError(
                f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
                "memory first."
            ),
        )

    def record_stream(self, stream: Any) -> None:
        self.owner.block.recorded.add(stream.queue)

    def data_ptr(self) -> int:
        return self.host.data_ptr()

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"DeviceTensor(shape={tuple(self.shape)}, dtype={self.dtype}, device={self.device})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise NotImplementedError("a tensor is saved from the host's memory here")


def tensors(value: object) -> Iterator[Tensor]:
    """All tensors among arguments."""
    return (one for one in tree_leaves(value) if isinstance(one, Tensor))


def on_host(value: Any) -> Any:
    """Arguments as the host's own torch takes them."""
    return tree_map(lambda one: one.host if isinstance(one, DeviceTensor) else one, value)


def empty(machine: Machine, size: Any, stride: Any, dtype: torch.dtype | None, index: int | None) -> DeviceTensor:
    """Memory of a device. Raises OutOfMemoryError."""
    device = machine.device(machine.current_device() if index is None else index)
    found, owner = device.memory.empty(tuple(size), tuple(stride), dtype or torch.get_default_dtype())
    return DeviceTensor(found, owner)


def dispatched(machine: Machine, func: Any, args: Any, kwargs: Any) -> Any:
    """What an operation of torch comes to."""
    machine.give_back()
    if operation := machine.operations.get(func):
        return operation(machine, *args, **kwargs)
    if func._can_decompose():
        result = func.decompose(*args, **kwargs)
        if result is not NotImplemented:
            return result
    if _is_view(func):
        return _wrapped(func(*on_host(args), **on_host(kwargs)), next(one for one in tensors(args) if one.is_cuda))
    if func in EMPTY:
        return empty_like(machine, func, args, kwargs)
    if kwargs.get("device") is not None:
        return func(*args, **{**kwargs, "device": None}).to(kwargs["device"])
    device = place_of(machine, func, args, kwargs)
    args = _indices_uploaded(func, args, device)
    if waits(func, args):
        return _read(machine, func, args, kwargs, device)
    return queued(machine, func, args, kwargs, device)


def _is_view(func: Any) -> bool:
    return any(one.alias_info and not one.alias_info.is_write for one in func._schema.returns)


def _wrapped(result: Any, source: Any) -> Any:
    with torch.inference_mode(source.is_inference()):  # a view is what its tensor is
        return tree_map(lambda one: DeviceTensor(one, source.owner) if isinstance(one, Tensor) else one, result)


def place_of(machine: Machine, func: Any, args: Any, kwargs: Any) -> Device:
    """The device of all tensors. Raises RuntimeError where one is elsewhere; a host's number may be read at launch."""
    found = list(tensors((args, kwargs)))
    places = {one.place for one in found if isinstance(one, DeviceTensor)}
    pointwise = torch.Tag.pointwise in func.tags
    # An index in host memory is sent along.
    sent = list(tensors(args[1])) if func in INDEXING else []
    hosts = [
        one
        for one in found
        if not isinstance(one, DeviceTensor) and not (one.dim() == 0 and pointwise) and not any(one is s for s in sent)
    ]
    if len(places) > 1 or hosts:
        names = [f"cuda:{place.index}" for place in places] + ["cpu"] * bool(hosts)
        machine.refuse(
            f"{func} of tensors on {' and '.join(names)}",
            RuntimeError(
                f"Expected all tensors to be on the same device, but found at least two devices, {names[0]} and "
                f"{names[-1]}!"
            ),
        )
    return places.pop()


INDEXING = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default}


def _indices_uploaded(func: Any, args: Any, device: Device) -> Any:
    if func not in INDEXING:
        return args
    where = torch.device("cuda", device.index)
    indices = [one if one is None or one.is_cuda else one.to(where) for one in args[1]]
    return (args[0], indices, *args[2:])


def waits(func: Any, args: Any) -> bool:
    """Whether the host has to know what the device holds: a number, or how large the result is."""
    if func in INDEXING:
        return any(one is not None and one.dtype in (torch.bool, torch.uint8) for one in args[1])
    if torch.Tag.dynamic_output_shape in func.tags or torch.Tag.data_dependent_output in func.tags:
        return True
    return any(str(one.type) in ("bool", "Scalar", "number", "int", "float") for one in func._schema.returns)


def _read(machine: Machine, func: Any, args: Any, kwargs: Any, device: Device) -> Any:
    """Waits for the stream, and does it."""
    queue = machine.queue_of(device)
    check_image(device)
    queue.wait(f"{func} reads the device's memory")
    result = func(*on_host(args), **on_host(kwargs))
    return tree_map(lambda one: uploaded(machine, one, device) if isinstance(one, Tensor) else one, result)


def uploaded(machine: Machine, value: Tensor, device: Device) -> DeviceTensor:
    """What the device has made, as a tensor there."""
    made = empty(machine, value.size(), value.stride(), value.dtype, device.index)
    made.host.copy_(value)
    return made


def queued(machine: Machine, func: Any, args: Any, kwargs: Any, device: Device) -> Any:
    """Queues it; what it returns has its shape at once."""
    check_image(device)
    # A host's number is a kernel's argument: read at once.
    args, kwargs = tree_map(lambda one: _number(one), (args, kwargs))
    shells: dict[int, Tensor] = {}

    def shell(one: Any) -> Any:
        if not isinstance(one, DeviceTensor):
            return one
        if id(one) not in shells:
            shells[id(one)] = zeros_like(one)
        return shells[id(one)]

    given = [one for one in tensors((args, kwargs)) if isinstance(one, DeviceTensor)]
    sizes = [one.shape for one in given]
    shapes = func(*tree_map(shell, args), **tree_map(shell, kwargs))
    for one, size in zip(given, sizes, strict=True):
        if shells[id(one)].shape != size:
            raise NotImplementedError(f"{func} makes room in its result: give one of the right size")
    old = {id(shells[id(one)]): one for one in given}

    def made(one: Any) -> Any:
        if not isinstance(one, Tensor):
            return one
        known = old.get(id(one))
        return empty(machine, one.size(), one.stride(), one.dtype, device.index) if known is None else known

    results = tree_map(made, shapes)
    targets = [
        None if id(one) in old else on_host(target)
        for one, target in zip(tensors(shapes), tensors(results), strict=True)
    ]
    ours, words = on_host(args), on_host(kwargs)

    def run() -> None:
        for target, one in zip(targets, tensors(func(*ours, **words)), strict=True):
            if target is not None:
                target.copy_(one)

    machine.queue_of(device).add(run, blocks_of(given, tensors(results)))
    return results


def zeros_like(tensor: Tensor) -> Tensor:
    """A host's tensor of the same size and strides: what an operation makes of it has the shape of the real result."""
    extent = 1 + sum((n - 1) * step for n, step in zip(tensor.size(), tensor.stride(), strict=True))
    flat = torch.zeros(extent if tensor.numel() else 0, dtype=tensor.dtype)
    return flat.as_strided(tensor.size(), tensor.stride())


def _number(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) and not isinstance(value, DeviceTensor) else value


def blocks_of(*groups: Any) -> Any:
    """The blocks that tensors are in."""
    return tuple({id(one.owner.block): one.owner.block for group in groups for one in group}.values())


def check_image(device: Device) -> None:
    """Raises AcceleratorError where torch's build has no code for the device."""
    if not device.has_image():
        raise accelerator_error("no kernel image is available for execution on the device")


def empty_like(machine: Machine, func: Any, args: Any, kwargs: Any) -> Tensor:
    """Memory of another tensor's kind, on its device or the one named."""
    source = next(one for one in tensors(args) if one.is_cuda)
    device = torch.device(kwargs.get("device") or source.device)
    shape: Tensor = func(*on_host(args), **{**kwargs, "device": torch.device("cpu")})
    if device.type == "cpu":
        return shape
    return empty(machine, shape.size(), shape.stride(), shape.dtype, device.index)


EMPTY = {
    aten.empty_like.default, aten.new_empty.default, aten.new_empty_strided.default, aten.empty.memory_format,
}  # fmt: skip
