"""Graphs: what a capture forbids, what breaks it and what is left then, and what a replay repeats."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.simulated import Machine
from tests.simulated.conftest import Expecting
from tests.simulated.machine import CAPTURING
from tests.simulated.programs import CUDA, captured, in_thread


def test_a_replay_repeats_addresses_and_no_python(expecting: Expecting) -> None:
    buffer, calls = torch.zeros(3, device=CUDA), [0]
    results: list[Tensor] = []

    def work() -> None:
        calls[0] += 1
        buffer.add_(calls[0])
        results.append(buffer * 2)

    graph = captured(work)
    assert buffer.tolist() == [0, 0, 0]  # a capture does nothing
    for _ in range(2):
        graph.replay()
    assert calls == [1]
    assert buffer.tolist() == [2, 2, 2]
    assert results[0].tolist() == [4, 4, 4]
    buffer.fill_(10)
    graph.replay()
    assert results[0].tolist() == [22, 22, 22]


def test_a_graph_keeps_pinned_addresses_too(expecting: Expecting) -> None:
    buffer, there = torch.ones(3, pin_memory=True), torch.zeros(3, device=CUDA)
    graph = captured(lambda: there.copy_(buffer, non_blocking=True))
    buffer.fill_(5)
    graph.replay()
    assert there.tolist() == [5, 5, 5]


FORBIDDEN: dict[str, Callable[[Tensor], object]] = {
    "item": lambda one: one.sum().item(),
    "tolist": lambda one: one.tolist(),
    "cpu": lambda one: one.cpu(),
    "nonzero": lambda one: one.nonzero(),
    "mask": lambda one: one[one > 0],
    "synchronize": lambda one: torch.cuda.synchronize(),
    "stream": lambda one: torch.cuda.current_stream().synchronize(),
    "default stream": lambda one: torch.cuda.default_stream().synchronize(),
    "to the device": lambda one: one.copy_(torch.ones(3)),
    "unpinned": lambda one: one.copy_(torch.ones(3), non_blocking=True),
    "tensor": lambda one: torch.tensor([1.0, 2.0], device=CUDA),
    "query": lambda one: torch.cuda.current_stream().query(),
}
# Torch refuses these itself, and the capture goes on.
UNPINNED = ("tolist", "cpu", "to the device", "unpinned", "tensor")


@pytest.mark.parametrize("mode", ["global", "thread_local"])
@pytest.mark.parametrize("name", FORBIDDEN)
def test_nothing_waits_in_a_capture(expecting: Expecting, name: str, mode: str) -> None:
    one = torch.ones(3, device=CUDA)
    errors: list[str] = []

    def work() -> None:
        one.add_(1)
        try:
            FORBIDDEN[name](one)
        except RuntimeError as error:
            errors.append(str(error))
            raise

    with expecting("captured"), pytest.raises(RuntimeError):
        captured(work, mode)
    expected = "unless the CPU tensor is pinned" if name in UNPINNED else CAPTURING
    assert expected in errors[0]
    assert one.tolist() == [1, 1, 1]


def test_a_captured_event_is_not_waited_for(expecting: Expecting) -> None:
    event = torch.cuda.Event()

    def work() -> None:
        event.record()
        event.synchronize()

    with expecting("an event is waited for"), pytest.raises(RuntimeError):
        captured(work)


ASKED = {
    "event query": lambda event: event.query(),
    "event": lambda event: event.synchronize(),
    "stream": lambda event: torch.cuda.current_stream().synchronize(),
    "read": lambda event: torch.ones(1, device=CUDA).item(),
}


@pytest.mark.parametrize("mode", ["global", "thread_local"])
@pytest.mark.parametrize("name", ASKED)
def test_another_thread_breaks_a_capture_of_mode_global_alone(expecting: Expecting, name: str, mode: str) -> None:
    torch.ones(1, device=CUDA).item()
    event, one = torch.cuda.Event(), torch.ones(3, device=CUDA)
    event.record()
    said: list[str] = []

    def work() -> None:
        one.add_(1)
        said.extend(in_thread(lambda: ASKED[name](event)))
        one.add_(1)

    if mode == "thread_local":
        graph = captured(work, mode)
        assert not said
        graph.replay()
        assert one.tolist() == [3, 3, 3]
        return
    with expecting("while a stream is captured"), pytest.raises(RuntimeError, match="previous error during capture"):
        captured(work, mode)
    assert CAPTURING in said[0]


def test_another_thread_may_not_wait_for_the_whole_device_in_any_capture(expecting: Expecting) -> None:
    one, said = torch.ones(3, device=CUDA), list[str]()

    def work() -> None:
        one.add_(1)
        said.extend(in_thread(torch.cuda.synchronize))

    with expecting("a device is waited for"), pytest.raises(RuntimeError, match="previous error during capture"):
        captured(work, "thread_local")
    assert CAPTURING in said[0]


def test_a_broken_capture_leaves_its_stream_current_and_usable(expecting: Expecting) -> None:
    one = torch.ones(3, device=CUDA)
    with expecting("captured"), pytest.raises(RuntimeError):
        captured(lambda: one.add_(1).sum().item())
    assert torch.cuda.current_stream() != torch.cuda.default_stream()
    assert not torch.cuda.is_current_stream_capturing()
    torch.cuda.set_stream(torch.cuda.default_stream())
    assert one.tolist() == [1, 1, 1]
    graph = captured(lambda: one.add_(1))
    graph.replay()
    assert one.tolist() == [2, 2, 2]


def test_once_broken_a_capture_takes_nothing_more(expecting: Expecting) -> None:
    one, errors = torch.ones(3, device=CUDA), list[str]()

    def work() -> None:
        for use in (one.sum().item, lambda: one.add_(1)):
            try:
                use()
            except RuntimeError as error:
                errors.append(str(error))

    with expecting("captured"), pytest.raises(RuntimeError, match="previous error during capture"):
        captured(work)
    assert CAPTURING in errors[0]
    assert "previous error during capture" in errors[1]


def test_the_default_stream_is_not_captured(expecting: Expecting) -> None:
    graph = torch.cuda.CUDAGraph()
    with expecting("the default stream is captured"), pytest.raises(RuntimeError, match="non-default stream"):
        graph.capture_begin()


@pytest.mark.parametrize("joined", [True, False])
def test_a_stream_that_joins_a_capture_has_to_be_waited_for(expecting: Expecting, joined: bool) -> None:
    one, side = torch.zeros(3, device=CUDA), torch.cuda.Stream()
    two = torch.zeros(3, device=CUDA)
    torch.cuda.synchronize()

    def work() -> None:
        one.add_(1)
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            two.add_(one)
        if joined:
            torch.cuda.current_stream().wait_stream(side)

    if joined:
        graph = captured(work)
        graph.replay()
        assert two.tolist() == [1, 1, 1]
        return
    with expecting("nothing waits for"), pytest.raises(RuntimeError, match="unjoined work"):
        captured(work)


def test_a_captured_stream_waits_for_nothing_outside(expecting: Expecting) -> None:
    event = torch.cuda.Event()
    event.record()
    with expecting("not captured"), pytest.raises(RuntimeError):
        captured(lambda: event.wait())


def test_memory_of_a_capture_is_the_graphs_own(cuda: Machine) -> None:
    def work() -> Tensor:
        return torch.ones(3, device=CUDA) * 2

    graph = captured(work)
    kept = torch.empty(3, device=CUDA)
    again = captured(lambda: kept.copy_(torch.ones(3, device=CUDA)))
    for one in (graph, again):
        one.replay()
    assert kept.tolist() == [1, 1, 1]


def test_a_graph_whose_memory_was_given_back_is_caught(cuda: Machine) -> None:
    read, result = [torch.ones(3, device=CUDA)], torch.empty(3, device=CUDA)
    graph = captured(lambda: result.copy_(read[0]))
    read.clear()
    with cuda.expecting("whose memory was given back"):
        graph.replay()
    assert result.isnan().all().item()


@pytest.mark.parametrize("mode", ["global", "thread_local"])
def test_memory_beside_a_capture_is_had_in_mode_thread_local_alone(cuda: Machine, mode: str) -> None:
    one, said = torch.ones(3, device=CUDA), list[str]()

    def work() -> None:
        one.add_(1)
        said.extend(in_thread(lambda: torch.empty(2**20, device=CUDA)))

    if mode == "thread_local":
        captured(work, mode)
        assert not said
        return
    with cuda.expecting("memory is allocated"), pytest.raises(RuntimeError, match="previous error during capture"):
        captured(work, mode)
    assert CAPTURING in said[0]


@pytest.mark.parametrize("name", ["another stream", "pinned"])
def test_a_capture_takes_memory_from_its_own_pool_alone(cuda: Machine, name: str) -> None:
    one, side = torch.ones(3, device=CUDA), torch.cuda.Stream()

    def work() -> None:
        one.add_(1)
        if name == "pinned":
            torch.empty(3, pin_memory=True)
        with torch.cuda.stream(side):
            torch.empty(2**20, device=CUDA)

    with cuda.expecting("while a stream is captured"), pytest.raises(RuntimeError, match="previous error during"):
        captured(work, "thread_local")
