import importlib.util
import shutil

import pytest
import torch

from engine import backend
from engine.backends.cpu import Cpu
from engine.backends.plain import Compile, Eager
from engine.config import Config, ConfigError

PLAIN = Config("x", "[10]*8", 1).network


def test_the_backend_follows_the_flag_the_device_and_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    assert backend.choose("auto", cpu, PLAIN, None)[0] is Cpu
    assert backend.choose("cpu", cpu, PLAIN, None)[0] is Cpu
    assert backend.choose("eager", cpu, PLAIN, None)[0] is Eager
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/" + name)
    assert backend.choose("compile", cpu, PLAIN, None)[0] is Compile
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match="needs a C\\+\\+ compiler, and there is none; give --backend eager"):
        backend.choose("compile", cpu, PLAIN, None)
    assert backend.choose("auto", torch.device("cuda"), PLAIN, None)[0] is (Compile if triton_is_there() else Eager)


def triton_is_there() -> bool:
    return importlib.util.find_spec("triton") is not None


def test_networks_past_the_cpu_kernels_say_why_they_run_elsewhere() -> None:
    cpu, wide = torch.device("cpu"), Config("x", "[9999]", 1).network
    chosen, why = backend.choose("auto", cpu, wide, None)
    assert chosen is Eager
    assert "layer width 9999 is above 256" in why
    with pytest.raises(ConfigError, match="--backend cpu cannot run this: layer width 9999 is above 256; give"):
        backend.choose("cpu", cpu, wide, None)
    with pytest.raises(ConfigError, match="--backend cpu cannot run this: the CPU kernels do not run on cuda"):
        backend.choose("cpu", torch.device("cuda"), PLAIN, None)


def test_small_steps_take_one_thread_and_large_ones_all() -> None:
    small, wide = Config("x", "[10]*8", 1), Config("x", "[256]*4", 1)
    coded = Config("x", "[10]*8", 1, kolmogorov_shape="[8]", kolmogorov_weight=0.1)
    threads = [backend.training_threads(one.network, one.code_length, 1024, 8) for one in (small, wide, coded)]
    assert threads == [1, 8, 8]
