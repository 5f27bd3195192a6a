"""What the fused kernels support, and the sentences that say why not."""

import importlib.util
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from draw_poly.kernels.spec import KolmogorovTerm, Network, leaky_relu
from draw_poly.kernels.support import unsupported_on_cpu, unsupported_on_gpu

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SMALL, WIDE = Network((2, 10, 1)), Network((2, 10, 100_000, 1))
WIDE_TERM = KolmogorovTerm(Network((3, 100_000, 2)), "gaussian_nll", 1.0)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A machine with Triton and one GPU, whose facts a test may change."""
    facts = SimpleNamespace(capability=(8, 0), architecture=None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: facts.capability)
    properties = lambda device: SimpleNamespace(gcnArchName=facts.architecture)  # noqa: E731
    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    return facts


def test_widths_are_limited_by_name(gpu: SimpleNamespace) -> None:
    assert unsupported_on_cpu(SMALL, None, CPU) is None
    assert unsupported_on_cpu(WIDE, None, CPU) == "layer width 100000 is above 256"
    assert unsupported_on_cpu(SMALL, WIDE_TERM, CPU) == "predictor's layer width 100000 is above 256"
    assert unsupported_on_cpu(SMALL, None, CUDA) == "the CPU kernels do not run on cuda"
    assert unsupported_on_gpu(SMALL, None, CUDA) is None
    assert unsupported_on_gpu(WIDE, None, CUDA) == "layer width 100000 is above 64"
    assert unsupported_on_gpu(SMALL, WIDE_TERM, CUDA) == "predictor's layer width 100000 is above 64"
    # As many bins as one likes: they never stand in a layer.
    many = KolmogorovTerm(Network((3, 8, 100_000)), "cross_entropy", 1.0, 100_000)
    assert unsupported_on_gpu(SMALL, many, CUDA) is None


def test_activations_are_refused_by_name_and_by_what_their_result_tells(gpu: SimpleNamespace) -> None:
    squared = Network((2, 10, 1), replace(leaky_relu(), name="relu_squared"))
    term = KolmogorovTerm(replace(squared, dims=(3, 10, 1)), "mse", 1.0)
    said = "the {} kernels know no activation relu_squared, but leaky_relu, relu2"
    assert unsupported_on_cpu(squared, None, CPU) == unsupported_on_cpu(SMALL, term, CPU) == said.format("CPU")
    assert unsupported_on_gpu(squared, None, CUDA) == unsupported_on_gpu(SMALL, term, CUDA) == said.format("Triton")
    silent = Network((2, 10, 1), replace(leaky_relu(), result_tells_derivative=False))
    assert "result, which does not tell leaky_relu's derivative" in str(unsupported_on_cpu(silent, None, CPU))
    assert "result, which does not tell leaky_relu's derivative" in str(unsupported_on_gpu(silent, None, CUDA))


def test_devices_are_told_apart(gpu: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu.capability = (7, 5)
    assert unsupported_on_gpu(SMALL, None, CUDA) == "the GPU's compute capability 7.5 is below 8.0"
    gpu.capability = (12, 0)
    assert unsupported_on_gpu(SMALL, None, CUDA) is None
    assert "need a GPU, or TRITON_INTERPRET=1" in str(unsupported_on_gpu(SMALL, None, CPU))
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert unsupported_on_gpu(SMALL, None, CPU) is None
    assert unsupported_on_gpu(SMALL, None, torch.device("mps")) == "Triton kernels run on CUDA and ROCm, not on mps"
    monkeypatch.setattr(torch.version, "hip", "7.0")
    gpu.architecture = "gfx942:sramecc+:xnack-"
    assert unsupported_on_gpu(SMALL, None, CUDA) is None
    gpu.architecture = "gfx1100"
    assert unsupported_on_gpu(SMALL, None, CUDA) == "the ROCm device is gfx1100, and the kernels are made for gfx942"


def test_without_triton_there_are_no_kernels_for_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert unsupported_on_gpu(SMALL, None, CUDA) == "Triton is not installed"
