"""Kernels, by Triton and by `torch.compile`."""

import pytest
import torch
from torch import Tensor

from tests.conftest import INTERPRETED
from tests.simulated import Machine
from tests.simulated.programs import CUDA, captured


@INTERPRETED
def test_a_kernel_takes_the_devices_own_memory(cuda: Machine) -> None:
    from draw_poly.kernels import gpu
    from draw_poly.kernels.spec import Network

    network = Network((2, 4, 1))
    arguments = [
        torch.ones((1, network.size), device=CUDA),
        torch.ones((1, 4), dtype=torch.int64, device=CUDA),
        torch.ones((1, 2, 3), device=CUDA),
        torch.empty((1, 1, 3), device=CUDA),
        torch.empty((1, 3), dtype=torch.int64, device=CUDA),
    ]
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
    from draw_poly.kernels import gpu
    from draw_poly.kernels.spec import Network

    network = Network((2, 4, 1))
    flat, terms = torch.ones((1, network.size), device=CUDA), torch.ones((1, 4), dtype=torch.int64, device=CUDA)
    outputs, signatures = torch.empty((1, 1, 3), device=CUDA), torch.empty((1, 3), dtype=torch.int64, device=CUDA)

    def work() -> None:
        gpu.evaluate(network, flat, terms, torch.ones((1, 2, 3), device=CUDA), outputs, signatures)

    gpu.workspace.layer_table(network, CUDA)  # a copy from pageable memory
    with cuda.expecting("evaluate_kernel is compiled"), pytest.raises(RuntimeError):
        captured(work)
    torch.cuda.set_stream(torch.cuda.default_stream())
    work()
    captured(work).replay()
    assert outputs.isfinite().all().item()


def test_what_torch_compiles_is_one_kernel_of_its_arguments_and_of_what_it_closes_over(cuda: Machine) -> None:
    factor = torch.full((3,), 2.0, device=CUDA)

    def scaled(values: Tensor) -> Tensor:
        values.add_(1)
        return values * factor

    values = torch.ones(3, device=CUDA)
    compiled = torch.compile(scaled)
    result = compiled(values)
    factor.fill_(3)  # after it, in the stream's order
    assert cuda.launches == ["scaled"]
    assert result.tolist() == [4, 4, 4]
    assert values.tolist() == [2, 2, 2]
    graph = captured(lambda: result.copy_(compiled(values)))
    graph.replay()
    assert result.tolist() == [9, 9, 9]
    assert torch.compile(torch.add)(values, values).tolist() == [6, 6, 6]


def test_torch_does_not_compile_in_a_capture(cuda: Machine) -> None:
    one = torch.ones(3, device=CUDA)
    with cuda.expecting("torch compiles"), pytest.raises(RuntimeError):
        captured(lambda: torch.compile(torch.add)(one, one))


@pytest.mark.parametrize("cuda", [{"capability": (6, 1)}], indirect=True)
def test_the_oldest_devices_are_not_compiled_for(cuda: Machine) -> None:
    one = torch.ones(3, device=CUDA)
    with pytest.raises(RuntimeError, match="too old to be supported by the triton GPU compiler"):
        torch.compile(torch.add)(one, one)
