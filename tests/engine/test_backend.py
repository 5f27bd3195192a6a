import shutil

import pytest
import torch

from engine import backend
from engine.backends.base import Backend
from engine.backends.compile import Compile, CompileOnGpu
from engine.backends.cpu import Cpu
from engine.backends.plain import Eager
from engine.config import Config, ConfigError
from tests.conftest import INTERPRETED


def chosen(name: str, device: torch.device, shape: str = "[10]*8", **words: str) -> tuple[type[Backend], str]:
    return backend.choose(Config("x", shape, 1, backend=name, **words), device)  # type: ignore[arg-type]


def test_the_backend_follows_the_flag_the_device_and_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    assert chosen("auto", cpu)[0] is Cpu
    assert chosen("cpu", cpu)[0] is Cpu
    assert chosen("eager", cpu)[0] is Eager
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/" + name)
    assert chosen("compile", cpu)[0] is Compile
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match="needs a C\\+\\+ compiler, and there is none; give --backend eager"):
        chosen("compile", cpu)


@INTERPRETED
def test_a_gpu_takes_triton_where_its_kernels_run_and_torch_compile_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.backends.triton import Triton

    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert chosen("auto", cuda)[0] is Triton
    assert chosen("triton", cuda, precision="tf32")[0] is Triton
    assert chosen("compile", cuda)[0] is CompileOnGpu
    assert chosen("auto", cuda, "[4096]") == (CompileOnGpu, "layer width 4096 is above 64: using torch.compile")
    with pytest.raises(ConfigError, match="--precision tf32 cannot be had here: layer width 4096 is above 64"):
        chosen("auto", cuda, "[4096]", precision="tf32")
    with pytest.raises(ConfigError, match="--backend triton cannot run this: layer width 4096 is above 64; give"):
        chosen("triton", cuda, "[4096]")
    with pytest.raises(ConfigError, match="--precision tf32 is for --backend triton, and this run takes eager"):
        chosen("eager", cuda, precision="tf32")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 0))
    assert chosen("auto", cuda)[1] == "the GPU's compute capability 7.0 is below 8.0: using torch.compile"


def test_networks_past_the_cpu_kernels_say_why_they_run_elsewhere() -> None:
    cpu = torch.device("cpu")
    kind, why = chosen("auto", cpu, "[9999]")
    assert kind is Eager
    assert "layer width 9999 is above 256" in why
    with pytest.raises(ConfigError, match="--backend cpu cannot run this: layer width 9999 is above 256; give"):
        chosen("cpu", cpu, "[9999]")
    with pytest.raises(ConfigError, match="--backend cpu cannot run this: the CPU kernels do not run on cuda"):
        chosen("cpu", torch.device("cuda"))


def test_small_steps_take_one_thread_and_large_ones_all() -> None:
    small, wide = Config("x", "[10]*8", 1), Config("x", "[256]*4", 1)
    coded = Config("x", "[10]*8", 1, kolmogorov_shape="[8]", kolmogorov_weight=0.1)
    threads = [backend.training_threads(one.network, one.code_length, 1024, 8) for one in (small, wide, coded)]
    assert threads == [1, 8, 8]
