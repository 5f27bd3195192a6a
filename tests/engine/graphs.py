"""CUDA graphs on a machine without CUDA: what torch would record is recorded, and done again at a replay.

Only torch's edge is stood in for: `torch.cuda.CUDAGraph`, `torch.cuda.graph`, `torch.cuda.Event`, Triton's launch, and
a call of what `torch.compile` made. While a graph is captured nothing is written to memory that existed before, as on a
device.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from engine.state import State

Deed = Callable[[], None]


class FakeGraph:
    """Deeds in order."""

    capturing: "FakeGraph | None" = None
    captured = replayed = 0

    def __init__(self) -> None:
        self.deeds: list[Deed] = []

    def pool(self) -> int:
        """Where its memory is from."""
        return id(self)

    def replay(self) -> None:
        """Does them."""
        assert FakeGraph.capturing is None
        FakeGraph.replayed += 1
        for deed in self.deeds:
            deed()


class Recorder(TorchDispatchMode):
    """Records torch's operations; runs those that write to nothing old, for the sake of the shapes they return."""

    def __init__(self, graph: FakeGraph) -> None:
        super().__init__()
        self.graph = graph

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        written = [
            value
            for argument, value in zip(func._schema.arguments, [*args, *([None] * 99)], strict=False)
            if argument.alias_info is not None and argument.alias_info.is_write and value is not None
        ]
        written += [
            kwargs[a.name] for a in func._schema.arguments if a.kwarg_only and a.alias_info and a.name in kwargs
        ]
        if written:
            self.graph.deeds.append(lambda: func(*args, **kwargs))
            return written[0] if len(written) == 1 else tuple(written)
        result = func(*args, **kwargs)

        def again() -> None:
            for old, new in zip(_tensors(result), _tensors(func(*args, **kwargs)), strict=True):
                if old.data_ptr() != new.data_ptr():
                    old.copy_(new)

        self.graph.deeds.append(again)
        return result


def _tensors(result: Any) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result]
    return [one for one in result if isinstance(one, Tensor)] if isinstance(result, tuple | list) else []


@contextmanager
def fake_capture(graph: FakeGraph, pool: int | None, capture_error_mode: str) -> Iterator[None]:
    """`torch.cuda.graph`."""
    assert capture_error_mode == "thread_local"
    FakeGraph.capturing, FakeGraph.captured = graph, FakeGraph.captured + 1
    try:
        with Recorder(graph):
            yield
    finally:
        FakeGraph.capturing = None


class FakeEvent:
    """An event of a stream that is always done."""

    def record(self) -> None:
        """Nothing to wait for."""

    def synchronize(self) -> None:
        """Done."""


def recording_launch(launches: list[str]) -> Callable[..., None]:
    """Triton's launch: recorded while a graph is captured, else counted and done."""
    from triton.runtime.interpreter import GridExecutor

    launch = GridExecutor.__call__

    def recorded(self: Any, *args: Any, **kwargs: Any) -> None:
        if FakeGraph.capturing is None:
            launches.append(self.fn.__name__)
            launch(self, *args, **kwargs)
        else:
            FakeGraph.capturing.deeds.append(lambda: launch(self, *args, **kwargs))

    return recorded


def recording_compile(calls: list[str], compiler: Callable[..., Any]) -> Callable[..., Any]:
    """`torch.compile`, of functions of a state: a call is recorded while a graph is captured, else counted and done."""

    def compiling(function: Callable[..., Any], **words: Any) -> Callable[..., Any]:
        compiled = compiler(function, **words)

        def recorded(state: State, *args: Any) -> Any:
            if FakeGraph.capturing is None:
                calls.append(function.__name__)
                return compiled(state, *args)
            # Called for the shapes of what it returns, with nothing of what it writes left.
            with _disable_current_modes():
                written = [tensor for one in state.learners for tensor in (one.parameters, one.moments)]
                before = [tensor.clone() for tensor in written]
                results = compiled(state, *args)
                for tensor, old in zip(written, before, strict=True):
                    tensor.copy_(old)

            def again() -> None:
                for old, new in zip(results, compiled(state, *args), strict=True):
                    old.copy_(new)

            FakeGraph.capturing.deeds.append(again)
            return results

        return recorded

    return compiling
