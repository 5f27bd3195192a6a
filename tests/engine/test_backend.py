import shutil

import pytest
import torch

from engine import backend
from engine.backends.base import Backend
from engine.backends.plain import Compile, Eager
from engine.config import Config, ConfigError


def chosen(name: str, device: torch.device) -> tuple[type[Backend], str]:
    return backend.choose(Config("x", "[10]*8", 1, backend=name), device)


def test_the_backend_follows_the_flag_the_device_and_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    assert chosen("auto", cpu)[0] is Eager
    assert chosen("eager", cpu)[0] is Eager
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/" + name)
    assert chosen("compile", cpu)[0] is Compile
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match="needs a C\\+\\+ compiler, and there is none; give --backend eager"):
        chosen("compile", cpu)
    assert chosen("auto", cpu)[0] is Eager


def test_small_steps_take_one_thread_and_large_ones_all() -> None:
    small, wide = Config("x", "[10]*8", 1), Config("x", "[256]*4", 1)
    coded = Config("x", "[10]*8", 1, kolmogorov_shape="[8]", kolmogorov_weight=0.1)
    threads = [backend.training_threads(one.network, one.code_length, 1024, 8) for one in (small, wide, coded)]
    assert threads == [1, 8, 8]
