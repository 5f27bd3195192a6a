"""Each rule of CUDA bites: a program that breaks it is refused, or left with wrong numbers. On a GPU, that is asked."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from torch import Tensor

from tests.conftest import INTERPRETED
from tests.simulated import Machine
from tests.simulated.machine import CAPTURING

CUDA = torch.device("cuda", 0)
REAL = torch.cuda.is_available()
Expecting = Callable[[str], AbstractContextManager[None]]


@pytest.fixture
def expecting(request: pytest.FixtureRequest) -> Expecting:
    """What a simulated device is to note meanwhile; a real one notes nothing."""
    if REAL:
        return lambda words: nullcontext()
    machine: Machine = request.getfixturevalue("cuda")
    return machine.expecting


@pytest.fixture(autouse=True)
def _home() -> Iterator[None]:
    yield
    if REAL:
        torch.cuda.set_stream(torch.cuda.default_stream())


def in_thread(work: Callable[[], object]) -> list[str]:
    """Does it in another thread; returns the words of its error."""
    errors: list[str] = []

    def run() -> None:
        try:
            work()
        except Exception as error:
            errors.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return errors


# Places


def test_a_device_wants_an_index(expecting: Expecting) -> None:
    with (
        expecting("as a device without an index"),
        pytest.raises(ValueError, match="Expected a torch.device with a specified index"),
    ):
        torch.cuda.set_device(torch.device("cuda"))


@pytest.mark.parametrize("other", ["cpu", pytest.param("cuda:1", marks=pytest.mark.skipif(REAL, reason="one GPU"))])
@pytest.mark.parametrize("cuda", [{"devices": 2}], indirect=True)
def test_devices_do_not_mix(cuda: Machine, expecting: Expecting, other: str) -> None:
    here, there = torch.ones(3, device=CUDA), torch.ones(3, device=other)
    operations: list[Callable[[], object]] = [
        lambda: here + there,
        lambda: torch.stack((here, there)),
        lambda: here.index_select(0, torch.zeros(2, dtype=torch.int64, device=other)),
        lambda: torch.mul(here, 2, out=there),
    ]
    for operation in operations:
        with expecting("tensors on"), pytest.raises(RuntimeError, match="Expected .* on the same device|same device"):
            operation()


def test_a_hosts_number_is_an_argument(expecting: Expecting) -> None:
    number = torch.tensor(2.0)
    doubled = torch.ones(3, device=CUDA) * number
    number.fill_(3)
    assert doubled.tolist() == [2, 2, 2]


def test_no_device_is_made_up(expecting: Expecting) -> None:
    for use in (lambda: torch.ones(1, device="cuda:9"), lambda: torch.cuda.set_device(9)):
        with expecting("device 9 of"), pytest.raises(RuntimeError, match="invalid device ordinal"):
            use()


def test_the_host_reads_no_device_memory(expecting: Expecting) -> None:
    with expecting("numpy"), pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
        torch.ones(3, device=CUDA).numpy()


def test_another_threads_error_counts_even_swallowed(cuda: Machine) -> None:
    with cuda.expecting("tensors on cuda:0 and cpu"):
        assert in_thread(lambda: torch.ones(2, device=CUDA) + torch.ones(2))
    with cuda.expecting("thread"), pytest.raises(AssertionError, match="CUDA forbids"):
        in_thread(lambda: torch.ones(2, device=CUDA) + torch.ones(2))
        cuda.check()


@pytest.mark.parametrize("cuda", [{"devices": 2}], indirect=True)
def test_a_new_thread_stands_on_the_first_device_and_the_default_stream(cuda: Machine) -> None:
    torch.cuda.set_device(1)
    with torch.cuda.stream(torch.cuda.Stream()):
        places: list[object] = []
        in_thread(lambda: places.extend((torch.cuda.current_device(), torch.cuda.current_stream().stream_id)))
        assert torch.cuda.current_device() == 1
        assert torch.cuda.current_stream().stream_id
    assert places == [0, 0]


# Time


def test_a_pinned_buffer_written_again_too_early_is_what_arrives(cuda: Machine) -> None:
    buffer = torch.ones(4, pin_memory=True)
    there = torch.empty(4, device=CUDA)
    there.copy_(buffer, non_blocking=True)
    event = torch.cuda.Event()
    event.record()
    buffer.fill_(2)
    assert there.tolist() == [2, 2, 2, 2]
    there.copy_(buffer, non_blocking=True)
    event.record()
    event.synchronize()
    buffer.fill_(3)
    assert there.tolist() == [2, 2, 2, 2]


def test_a_pageable_buffer_is_read_before_the_copy_returns(expecting: Expecting) -> None:
    buffer, there = torch.ones(4), torch.empty(4, device=CUDA)
    there.copy_(buffer, non_blocking=True)
    buffer.fill_(2)
    assert there.tolist() == [1, 1, 1, 1]


def test_a_result_read_before_its_event_is_none(cuda: Machine) -> None:
    result = torch.zeros(3, pin_memory=True)
    result.copy_(torch.ones(3, device=CUDA), non_blocking=True)
    event = torch.cuda.Event()
    event.record()
    assert result.isnan().all()
    event.synchronize()
    assert result.tolist() == [1, 1, 1]


def test_what_waits_for_nothing_sees_nothing(cuda: Machine) -> None:
    memory = torch.zeros(3, device=CUDA)
    torch.cuda.synchronize()
    memory += 1
    assert memory.host.tolist() == [0, 0, 0]  # type: ignore[attr-defined]
    assert memory.sum().item() == 3


def test_what_nobody_wrote_is_not_a_number(cuda: Machine) -> None:
    assert torch.empty(5, device=CUDA).isnan().all().item()
    assert torch.empty(5, pin_memory=True).isnan().all()
    assert torch.empty(2, dtype=torch.int64, device=CUDA).tolist() == [-1, -1]


def test_streams_are_independent_unless_one_waits(cuda: Machine) -> None:
    for waits in (False, True):
        source, side = torch.zeros(3, device=CUDA), torch.cuda.Stream()
        torch.cuda.synchronize()
        source += 1
        if waits:
            side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            copy = source.clone()
        side.synchronize()
        assert copy.host.tolist() == [float(waits)] * 3  # type: ignore[attr-defined]


def test_an_event_orders_what_came_before_it_alone(cuda: Machine) -> None:
    source, side, event = torch.zeros(3, device=CUDA), torch.cuda.Stream(), torch.cuda.Event()
    source += 1
    event.record()
    source += 1
    with torch.cuda.stream(side):
        event.wait()
        copy = source.clone()
    side.synchronize()
    assert copy.host.tolist() == [1, 1, 1]  # type: ignore[attr-defined]
    assert source.tolist() == [2, 2, 2]


def test_a_snapshot_that_nothing_orders_follows_the_next_epoch(cuda: Machine) -> None:
    parameters, kept = torch.zeros(3, device=CUDA), torch.empty(3, pin_memory=True)
    copies = torch.cuda.Stream()
    for _ in range(2):
        parameters += 1
    with torch.cuda.stream(copies):
        copies.wait_stream(torch.cuda.default_stream())
        kept.copy_(parameters, non_blocking=True)
    parameters += 1  # does not wait for the copy
    torch.cuda.default_stream().synchronize()
    copies.synchronize()
    assert kept.tolist() == [3, 3, 3]


def test_an_event_asked_often_enough_is_done(expecting: Expecting) -> None:
    event = torch.cuda.Event()
    assert event.query()  # nothing was recorded
    torch.ones(3, device=CUDA).add_(1)
    event.record()
    while not event.query():
        pass


def test_an_event_belongs_to_a_device(cuda: Machine) -> None:
    cuda.devices.append(type(cuda.devices[0])(cuda, 1, (9, 0), 2**20))
    cuda._made.append(0)
    event = torch.cuda.Event()
    event.record()
    with (
        cuda.expecting("an event of device 0"),
        pytest.raises(RuntimeError, match="does not match"),
        torch.cuda.device(1),
    ):
        event.record()


def test_events_tell_time_once_they_are_over(expecting: Expecting) -> None:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    torch.ones(3, device=CUDA).add_(1)
    end.record()
    end.synchronize()
    assert start.elapsed_time(end) > 0
    untimed = torch.cuda.Event()
    untimed.record()
    with expecting("without timing"), pytest.raises(ValueError, match="enable_timing"):
        untimed.elapsed_time(end)


# Memory


@pytest.mark.parametrize("told", ["", "record_stream", "wait_stream"])
def test_memory_given_back_under_another_stream_is_somebody_elses(cuda: Machine, told: str) -> None:
    side = torch.cuda.Stream()
    source = torch.ones(3, device=CUDA)
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        copy = source.clone()
    if told == "record_stream":
        source.record_stream(side)
    if told == "wait_stream":
        torch.cuda.current_stream().wait_stream(side)
    del source
    torch.ones(3, device=CUDA)  # who may get the memory
    with torch.cuda.stream(side):
        assert copy.isnan().all().item() == (not told)


@pytest.mark.parametrize("cuda", [{"memory": 2**20}], indirect=True)
def test_memory_runs_out_and_comes_back(cuda: Machine) -> None:
    half = torch.empty(2**19, dtype=torch.uint8, device=CUDA)
    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory. Tried to allocate 0.75 MiB"):
        torch.empty(3 * 2**18, dtype=torch.uint8, device=CUDA)
    assert torch.cuda.memory_allocated() == 2**19
    del half
    assert torch.cuda.memory_allocated() == 0
    assert torch.cuda.memory_reserved() == 2**19
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() == 0
    torch.empty(3 * 2**18, dtype=torch.uint8, device=CUDA)
    assert torch.cuda.max_memory_allocated() == 3 * 2**18


def test_a_lost_device_does_nothing_more(cuda: Machine) -> None:
    kept, event = torch.ones(3, device=CUDA), torch.cuda.Event()
    event.record()
    cuda.devices[0].lose()
    uses: list[Callable[[], object]] = [
        lambda: kept + 1, kept.tolist, event.synchronize, torch.cuda.synchronize, lambda: torch.empty(3, device=CUDA),
        lambda: torch.empty(3, pin_memory=True), kept.cpu,
    ]  # fmt: skip
    for use in uses:
        with pytest.raises(torch.AcceleratorError, match="uncorrectable ECC error"):
            use()


def test_a_device_is_lost_at_the_call_that_is_named(cuda: Machine) -> None:
    cuda.devices[0].lose_at = 3
    one = torch.ones(3, device=CUDA)  # memory, and its numbers
    with pytest.raises(torch.AcceleratorError):
        one += 1


def test_an_index_out_of_range_loses_the_device(cuda: Machine) -> None:
    torch.ones(3, device=CUDA).index_select(0, torch.tensor([7], device=CUDA))
    with cuda.expecting("a kernel fails"), pytest.raises(torch.AcceleratorError, match="device-side assert"):
        torch.cuda.synchronize()


# What the device can do


@pytest.mark.parametrize(
    ("cuda", "runs"),
    [
        ({"capability": (6, 1)}, True),
        ({"capability": (7, 5), "architectures": ("sm_70",)}, True),
        ({"capability": (6, 1), "architectures": ("sm_70", "sm_80")}, False),
        ({"capability": (9, 0), "architectures": ("sm_80",)}, False),
        ({"capability": (10, 0), "architectures": ("sm_80", "compute_90")}, True),
        ({"capability": (7, 0), "architectures": ("sm_75",)}, False),
        ({"capability": (9, 0), "architectures": ("sm_90a",)}, True),
    ],
    indirect=["cuda"],
)
def test_a_build_without_code_for_the_device_runs_no_kernel(cuda: Machine, runs: bool) -> None:
    assert torch.cuda.get_arch_list() == list(cuda.architectures)
    assert torch.cuda.get_device_capability() == cuda.devices[0].capability
    there = torch.empty(3, device=CUDA)
    there.copy_(torch.ones(3))  # takes no kernel
    if runs:
        assert (there + 1).tolist() == [2, 2, 2]
    else:
        with pytest.raises(torch.AcceleratorError, match="no kernel image is available"):
            there + 1


# Capture


def captured(work: Callable[[], object], mode: str = "global") -> torch.cuda.CUDAGraph:
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode=mode):
        work()
    return graph


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


UNPINNED = ("to the device", "unpinned", "tensor")


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
        captured(lambda: one.add_(1).tolist())
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
        for use in (one.tolist, lambda: one.add_(1)):
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
    lost, result = torch.ones(3, device=CUDA), torch.empty(3, device=CUDA)
    graph = captured(lambda: result.copy_(lost))
    del lost
    with cuda.expecting("whose memory was given back"):
        graph.replay()
    assert result.isnan().all().item()


# Triton


@INTERPRETED
def test_a_kernel_takes_the_devices_own_memory(cuda: Machine) -> None:
    from kernels import gpu
    from kernels.spec import Network

    network = Network((2, 4, 1))
    place = {"device": CUDA}
    arguments = [
        torch.ones(network.size, **place), torch.ones(4, dtype=torch.int64, **place), torch.ones((2, 3), **place),
        torch.empty((1, 3), **place), torch.empty(3, dtype=torch.int64, **place),
    ]  # fmt: skip
    gpu.evaluate(network, *arguments)
    assert cuda.launches == ["evaluate_kernel"]
    assert arguments[3].isfinite().all().item()
    for index in (0, 1, 3, 4):  # of the third, the device that launches is told
        wrong = list(arguments)
        wrong[index] = torch.ones(arguments[index].shape, dtype=arguments[index].dtype)
        with cuda.expecting("a tensor of the host"), pytest.raises(ValueError, match="cannot be accessed from Triton"):
            gpu.evaluate(network, *wrong)


@INTERPRETED
def test_a_kernel_is_not_compiled_in_a_capture(cuda: Machine) -> None:
    from kernels import gpu
    from kernels.spec import Network

    network = Network((2, 4, 1))
    flat, codes = torch.ones(network.size, device=CUDA), torch.ones(4, dtype=torch.int64, device=CUDA)
    outputs, signatures = torch.empty((1, 3), device=CUDA), torch.empty(3, dtype=torch.int64, device=CUDA)

    def work() -> None:
        gpu.evaluate(network, flat, codes, torch.ones((2, 3), device=CUDA), outputs, signatures)

    gpu.partials.layer_table(network, CUDA)  # a copy from pageable memory
    with cuda.expecting("evaluate_kernel is compiled"), pytest.raises(RuntimeError):
        captured(work)
    torch.cuda.set_stream(torch.cuda.default_stream())
    work()
    captured(work).replay()
    assert outputs.isfinite().all().item()
