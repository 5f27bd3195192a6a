"""Devices: which there are, and what may be where."""

from collections.abc import Callable

import pytest
import torch

from tests.simulated import Machine
from tests.simulated.conftest import Expecting
from tests.simulated.programs import CUDA, in_thread


def test_a_device_wants_an_index(expecting: Expecting) -> None:
    with (
        expecting("as a device without an index"),
        pytest.raises(ValueError, match=r"Expected a torch.device with a specified index"),
    ):
        torch.cuda.set_device(torch.device("cuda"))


@pytest.mark.parametrize("other", ["cpu", "cuda:1"])
def test_devices_do_not_mix(expecting: Expecting, other: str) -> None:
    if torch.cuda.device_count() < 2 and other != "cpu":
        pytest.skip("one GPU")
    here, there = torch.ones(3, device=CUDA), torch.ones(3, device=other)
    operations: list[Callable[[], object]] = [
        lambda: here + there,
        lambda: torch.stack((here, there)),
        lambda: here.index_select(0, torch.zeros(2, dtype=torch.int64, device=other)),
        lambda: torch.mul(here, 2, out=there),
    ]
    for operation in operations:
        with expecting("tensors on"), pytest.raises(RuntimeError, match=r"on the same device|same device"):
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
    with cuda.expecting("thread"):
        in_thread(lambda: torch.ones(2, device=CUDA) + torch.ones(2))
        with pytest.raises(AssertionError, match="CUDA forbids"):
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
