import contextlib
import importlib
import shutil
import subprocess

import pytest
import torch

from draw_poly.engine.backends import select as backend
from draw_poly.engine.backends.base import Backend
from draw_poly.engine.backends.compile import Compile, CompileOnGpu
from draw_poly.engine.backends.cpu import Cpu
from draw_poly.engine.backends.reference import Eager
from draw_poly.engine.config import Config, ConfigError
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
    from draw_poly.engine.backends.triton import Triton

    cuda = torch.device("cuda", 0)
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
        chosen("cpu", torch.device("cuda", 0))


def test_small_steps_take_one_thread_and_large_ones_all() -> None:
    small, wide = Config("x", "[10]*8", 1), Config("x", "[256]*4", 1)
    with_term = Config("x", "[10]*8", 1, kolmogorov_shape="[8]", kolmogorov_weight=0.1)
    threads = [backend.training_threads(one.network, one.kolmogorov_term, 1024, 8) for one in (small, wide, with_term)]
    assert threads == [1, 8, 8]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> dict[str, Exception]:
    """A machine with a GPU on which the backends of these names cannot be launched."""
    hindered: dict[str, Exception] = {}

    def try_out(cls: type[Backend], config: Config, device: torch.device) -> None:
        if cls.name in hindered:
            raise hindered[cls.name]

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    for kind in (Backend, CompileOnGpu):
        monkeypatch.setattr(kind, "try_out", classmethod(try_out))
    return hindered


NO_COMPILER = RuntimeError("Failed to find C compiler. Please specify via CC environment variable.\nmore")
NO_HEADERS = subprocess.CalledProcessError(1, ["/usr/bin/gcc", "main.c", "-O3"])
NO_TERM = torch.AcceleratorError("CUDA error: no kernel image is available for execution on the device\nmore")


@INTERPRETED
def test_what_auto_chose_and_cannot_be_launched_gives_way(
    gpu: dict[str, Exception], caplog: pytest.LogCaptureFixture
) -> None:
    config = Config("x", "[10]*8", 1)
    cuda = torch.device("cuda", 0)
    assert backend.found(config)[:2] == (cuda, importlib.import_module("draw_poly.engine.backends.triton").Triton)
    gpu["triton"] = NO_HEADERS
    device, kind, why = backend.found(config)
    assert (device, kind) == (cuda, CompileOnGpu)
    assert "the C compiler failed, which needs Python's headers beside it (/usr/bin/gcc main.c" in why
    gpu["triton"] = gpu["compile"] = NO_COMPILER
    device, kind, why = backend.found(config)
    assert (device, kind) == (cuda, Eager)
    assert why.endswith("RuntimeError: Failed to find C compiler. Please specify via CC environment variable.")
    gpu["triton"] = gpu["compile"] = gpu["eager"] = NO_TERM
    with caplog.at_level("WARNING"):
        device, kind, _ = backend.found(config)
    assert (device, kind) == (torch.device("cpu"), Cpu)
    assert "The GPU cannot be used, and the run takes the CPU: AcceleratorError: CUDA error: no kernel" in caplog.text


@INTERPRETED
@pytest.mark.parametrize("name", ["triton", "compile", "eager"])
def test_what_was_asked_for_and_cannot_be_launched_is_a_sentence(gpu: dict[str, Exception], name: str) -> None:
    gpu[name] = NO_TERM
    with pytest.raises(ConfigError, match=f"--backend {name} cannot run on cuda:0: .*; give --backend auto"):
        backend.found(Config("x", "[10]*8", 1, backend=name))
    gpu.update(triton=NO_TERM, compile=NO_TERM, eager=NO_TERM)
    with pytest.raises(ConfigError, match=r"--device cuda cannot be used: .*no kernel image.*; give --device cpu"):
        backend.found(Config("x", "[10]*8", 1, device="cuda"))
    with pytest.raises(ConfigError, match="--backend triton cannot run on cuda:0"):
        backend.found(Config("x", "[10]*8", 1, precision="tf32"))


def test_old_gpus_are_not_compiled_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    cuda = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (6, 1))
    with pytest.raises(ConfigError, match=r"needs compute capability 7.0, and the GPU's is 6.1; give --backend eager"):
        chosen("compile", cuda)
    assert chosen("auto", cuda)[0] is Eager


@pytest.mark.parametrize("name", ["eager", "compile", "triton", "cpu"])
@pytest.mark.parametrize("words", [{}, {"kolmogorov_shape": "[4]", "kolmogorov_weight": 0.1, "kolmogorov_bins": 20}])
def test_a_backend_is_tried_with_the_kernels_of_the_run(name: str, words: dict[str, object]) -> None:
    if name == "triton":
        pytest.importorskip("triton")
    config = Config("x", "[5]*2", 1, backend=name, **words)  # type: ignore[arg-type]
    kind = CompileOnGpu if name == "compile" else backend.choose(config, torch.device("cpu"))[0]
    kind.try_out(config, torch.device("cpu"))
