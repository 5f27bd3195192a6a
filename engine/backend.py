"""Which arithmetic runs this network on this device, and why."""

import os
import shutil

import torch

from engine.backends.base import Backend
from engine.backends.plain import Compile, Eager
from engine.config import ConfigError
from kernels.spec import CodeLength, Network

# Multiplications a layer, and logits, below which waking a second thread costs more than it does.
THREADED_WORK = 2**23
THREADED_LOGITS = 2**16


def training_threads(network: Network, code: CodeLength | None, batch: int, available: int) -> int:
    """How many threads a step should use on a CPU: one where its operations are too small to share."""
    logits = network.size * code.predictor.dims[-1] if code else 0
    large = batch * max(network.dims) ** 2 >= THREADED_WORK or logits >= THREADED_LOGITS
    return available if large else 1


def find_device(name: str) -> torch.device:
    """The device of `--device`. Raises ConfigError where it is none, or not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not (kind == "cuda" and number.isascii() and number.isdigit())):
        raise ConfigError(f"--device was {name!r}: give auto, cpu, cuda or cuda:N")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(number or 0) >= count:
            raise ConfigError(f"--device was {name!r}, but this machine has {count} CUDA devices that torch can use")
    return torch.device(name)


def choose(name: str, device: torch.device, network: Network, code: CodeLength | None) -> tuple[type[Backend], str]:
    """The backend of `--backend` for this network on a device, and one sentence that says why.

    Raises ConfigError where the one asked for cannot run here.
    """
    if name == "cpu" or (name == "auto" and device.type == "cpu"):
        # Numba takes a quarter of a second: spent where it is used.
        from engine.backends.cpu import Cpu
        from kernels import cpu

        limit = cpu.unsupported(network, code, device)
        if limit and name == "cpu":
            raise ConfigError(f"--backend cpu cannot run this: {limit}; give --backend eager")
        if limit:
            return Eager, f"{limit}, more than the CPU kernels take; --backend compile is faster in a long run"
        return Cpu, "asked for" if name == "cpu" else "the fastest on a CPU"
    missing = _missing_compiler(device)
    if name == "compile":
        if missing:
            raise ConfigError(f"--backend compile cannot run here: {missing}; give --backend eager")
        return Compile, "asked for"
    if name == "eager":
        return Eager, "asked for"
    if missing:
        return Eager, f"torch.compile cannot run here: {missing}"
    return Compile, "the fastest on this GPU"


def _missing_compiler(device: torch.device) -> str | None:
    if device.type == "cpu":
        names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++", "c++", "cl"]
        if not any(shutil.which(name) for name in names):
            return "torch.compile needs a C++ compiler, and there is none"
        return None
    try:
        import triton  # noqa: F401
    except ImportError:
        return "torch.compile needs triton on a GPU, and it is not installed"
    return None
