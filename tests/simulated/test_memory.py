"""Memory that is not written, given back too early, or not there; a device that is lost, or too old for the build."""

from collections.abc import Callable

import pytest
import torch

from tests.simulated import Machine
from tests.simulated.programs import CUDA


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
    with pytest.raises(torch.OutOfMemoryError, match=r"CUDA out of memory\. Tried to allocate 0\.75 MiB"):
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
