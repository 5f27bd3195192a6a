"""Which arithmetic runs this network on this device, and why."""

import os
import shutil
import subprocess

import torch

from draw_poly.engine import allowance
from draw_poly.engine.backends.base import Backend, log
from draw_poly.engine.backends.compile import Compile, CompileOnGpu
from draw_poly.engine.backends.reference import Eager
from draw_poly.engine.config import Config, ConfigError
from draw_poly.engine.processes import ALONE, Group
from draw_poly.kernels.spec import KolmogorovTerm, Network
from draw_poly.kernels.support import optimizer_limit_on_gpu, unsupported_on_cpu, unsupported_on_gpu

# Multiplications a layer, and logits, below which waking a second thread costs more than it does.
THREADED_WORK = 2**23
THREADED_LOGITS = 2**16
# What torch.compile's own Triton kernels need of a CUDA device.
COMPILED_FROM = (7, 0)


def training_threads(network: Network, term: KolmogorovTerm | None, batch: int, available: int) -> int:
    """How many threads a step should use on a CPU: one where its operations are too small to share."""
    logits = network.size * term.predictor.dims[-1] if term else 0
    large = batch * max(network.dims) ** 2 >= THREADED_WORK or logits >= THREADED_LOGITS
    return available if large else 1


def most_threads(config: Config, group: Group) -> int:
    """How many threads this process may take: `--threads`, or what torch would; of several processes, one each.

    Never more than there are cores for it.
    """
    return min(config.threads or (torch.get_num_threads() if group.size == 1 else 1), allowance.cores())


def find_device(name: str, group: Group = ALONE) -> torch.device:
    """The device of `--device`; of several processes on a machine each takes a GPU of its own.

    Raises ConfigError where it is none, or not there.
    """
    kind, _, number = name.partition(":")
    if name != "auto" and (
        kind not in ("cpu", "cuda") or (number and not (kind == "cuda" and number.isascii() and number.isdigit()))
    ):
        raise ConfigError(f"--device was {name!r}: give auto, cpu, cuda or cuda:N")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cpu" or (kind == "auto" and not count):
        return torch.device("cpu")
    if group.size > 1:
        if number:
            raise ConfigError(
                f"--device was {name!r}, but there are {group.size} processes, and each takes a GPU of its own: "
                "give auto or cuda"
            )
        number = str(group.local_rank)
        if group.local_rank >= count:
            raise ConfigError(
                f"process {group.local_rank + 1} of this machine would need a GPU of its own, and there are {count}: "
                "start fewer, or give --device cpu"
            )
    if int(number or 0) >= count:
        raise ConfigError(f"--device was {name!r}, but this machine has {count} CUDA devices that torch can use")
    return torch.device("cuda", int(number or 0))


def choose(config: Config, device: torch.device) -> tuple[type[Backend], str]:
    """The backend that trains a run on this device, and one sentence that says why.

    Raises ConfigError where the one asked for cannot run here.
    """
    name, why, limit = config.backend, "asked for", None
    if name == "auto":
        name, why = ("cpu" if device.type == "cpu" else "triton"), "the fused kernels run this network"
    if config.precision != "fp32" and name != "triton":
        raise ConfigError(f"--precision {config.precision} is for --backend triton, and this run takes {name}")
    # Numba and Triton take a part of a second to import: spent where they are used.
    if name == "cpu":
        limit = unsupported_on_cpu(config.network, config.kolmogorov_term, device)
        if limit is None:
            from draw_poly.engine.backends.cpu import Cpu

            return Cpu, why
    if name == "triton":
        networks = config.network, config.kolmogorov_term
        limit = unsupported_on_gpu(*networks, device) or optimizer_limit_on_gpu(*networks, config.optimizers[0])
        if limit is None:
            from draw_poly.engine.backends.triton import Triton

            return Triton, why
    if limit and name == config.backend:
        raise ConfigError(f"--backend {name} cannot run this: {limit}; give --backend auto")
    if limit and config.precision != "fp32":
        raise ConfigError(f"--precision {config.precision} cannot be had here: {limit}")
    missing = missing_compiler(device)
    if name == "compile" and missing:
        raise ConfigError(f"--backend compile cannot run here: {missing}; give --backend eager")
    if name == "eager":
        return Eager, why
    if name == "compile":
        return Compile if device.type == "cpu" else CompileOnGpu, why
    if device.type == "cpu":
        return Eager, f"{limit}; --backend compile is faster in a long run"
    if missing:
        return Eager, f"{limit}, and {missing}"
    return CompileOnGpu, f"{limit}: using torch.compile"


def missing_compiler(device: torch.device) -> str | None:
    """Why `torch.compile` cannot compile for this device; None if it can."""
    if device.type == "cpu":
        names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++", "c++", "cl"]
        if not any(shutil.which(name) for name in names):
            return "torch.compile needs a C++ compiler, and there is none"
        return None
    try:
        import triton  # noqa: F401
    except ImportError:
        return "torch.compile needs triton on a GPU, and it is not installed"
    capability = torch.cuda.get_device_capability(device)
    if not torch.version.hip and capability < COMPILED_FROM:
        return "torch.compile needs compute capability {}.{}, and the GPU's is {}.{}".format(
            *COMPILED_FROM, *capability
        )
    return None


def found(config: Config, group: Group = ALONE) -> tuple[torch.device, type[Backend], str]:
    """The device, the backend that trains a run there, and one sentence that says why: tried by a small launch.

    What `auto` chose and cannot be launched gives way, with a line in the log. Raises ConfigError where what was asked
    for cannot run here.
    """
    device = find_device(config.device, group)
    kind, why = choose(config, device)
    if device.type == "cpu":
        return device, kind, why
    if kind.name == "triton":
        log.info("Preparing the kernels for %s: some ten seconds the first time", torch.cuda.get_device_name(device))
    while failure := _failure(kind, config, device):
        if kind.name == config.backend or config.precision != "fp32":
            raise ConfigError(f"--backend {kind.name} cannot run on {device}: {failure}; give --backend auto")
        if kind is Eager:
            if config.device != "auto" or group.size > 1:
                raise ConfigError(f"--device {config.device} cannot be used: {failure}; give --device cpu")
            log.warning("The GPU cannot be used, and the run takes the CPU: %s", failure)
            device = torch.device("cpu")
            return device, *choose(config, device)
        kind = Eager if kind is CompileOnGpu or missing_compiler(device) else CompileOnGpu
        why = f"in place of a backend that cannot be launched here: {failure}"
    return device, kind, why


def _failure(kind: type[Backend], config: Config, device: torch.device) -> str | None:
    """Why a backend's kernels cannot be launched on a device, None where they can."""
    try:
        with torch.inference_mode(), torch.cuda.device(device):
            kind.try_out(config, device)
            torch.cuda.synchronize(device)
    except subprocess.CalledProcessError as error:
        return f"the C compiler failed, which needs Python's headers beside it ({' '.join(map(str, error.cmd))[:60]} …)"
    except Exception as error:  # of Triton's, the compiler's, CUDA's: whatever it is, no epoch can be taken
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}" if str(error) else repr(error)
    return None
