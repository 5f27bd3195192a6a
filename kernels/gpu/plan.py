"""What the kernels support, and how they cut a network's work into programs: every constant of a launch, in one place.

Imports no Triton, so that a machine without it can ask.
"""

import importlib.util
import os
from typing import NamedTuple

import torch

from kernels.spec import CodeLength, Network

# tl.dot wants 16 on each side.
NARROWEST = 16
WIDEST = 128
# CUDA devices of this compute capability and later, and these ROCm ones, are compiled for and tested.
CAPABILITY = (8, 0)
ROCM = ("gfx942",)
# Activations a thread keeps in registers, of 255 it may have; past it they go to a scratch in the L2 cache.
KEPT_REGISTERS = 96
# Four programs to each of an H100's 132 multiprocessors; each then takes several tiles.
MOST_PROGRAMS = 528
# Bytes of scratch for activations: half of the smallest supported L2 cache, an A100's 40 MB.
SCRATCH = 20 * 2**20
# Parameters a program of the Kolmogorov term takes, and bins it takes at once.
CODE_TILE, CODE_BINS = 32, 64


class Plan(NamedTuple):
    """Compile-time constants of one network's kernels; a kernel is compiled once for each."""

    dims: tuple[int, ...]
    offsets: tuple[int, ...]  # of each layer's parameters in the flat vector
    slope: float
    width: int  # of every layer, padded to a power of two
    tile: int  # points a program takes at once
    unrolled: bool  # activations in registers, or by a run-time loop through scratch
    precision: str  # of tl.dot


class Launch(NamedTuple):
    """A plan's other half: what the host passes at a launch."""

    programs: int
    warps: int
    scratch: int  # float32 numbers a program keeps there


def plan(dims: tuple[int, ...], network: Network, points: int, precision: str = "fp32") -> tuple[Plan, Launch]:
    """How to take `points` at once through forward and backward; `dims` are those that a tile has to hold."""
    width = padded(max(dims))
    warps = 4 if width <= 32 else 8
    tile = 32 if width <= 32 else 16
    layers = len(network.shapes)
    unrolled = width == NARROWEST and layers * width * tile <= KEPT_REGISTERS * 32 * warps
    kept = 0 if unrolled else (layers - 1) * width * tile
    programs = min(-(-points // tile), MOST_PROGRAMS, max(1, SCRATCH // (4 * kept)) if kept else MOST_PROGRAMS)
    dot = {"fp32": "ieee", "tf32": "tf32"}[precision]
    constants = Plan(network.dims, network.offsets, network.slope, width, tile, unrolled, dot)
    return constants, Launch(programs, warps, kept)


def evaluation_plan(network: Network) -> tuple[Plan, int]:
    """How to take points through forward alone, and with how many warps; never in tf32, which moves boundaries."""
    width = padded(max(network.dims))
    tile = max(64, 8192 // width)
    unrolled = width == NARROWEST and len(network.dims) <= 14
    return Plan(network.dims, network.offsets, network.slope, width, tile, unrolled, "ieee"), 8


def padded(width: int) -> int:
    """The power of two that a layer of this width is padded to."""
    return max(NARROWEST, 1 << (width - 1).bit_length())


def interpreted() -> bool:
    """Whether Triton interprets kernels on the CPU instead of compiling them."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def unsupported(network: Network, code: CodeLength | None, device: torch.device) -> str | None:
    """Why the kernels cannot run this network on this device, in one sentence that names the limit; None if they can."""
    widest = max(network.dims + (code.predictor.dims[:-1] if code else ()))
    if widest > WIDEST:
        return f"layer width {widest} is above {WIDEST}"
    if len(network.dims) < 3 or (code and len(code.predictor.dims) < 3):
        return "a network without a hidden layer has nothing to fuse"
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    return _unsupported_device(device)


def _unsupported_device(device: torch.device) -> str | None:
    if device.type == "cpu":
        return None if interpreted() else "Triton kernels need a GPU, or TRITON_INTERPRET=1 to be interpreted"
    if device.type != "cuda":
        return f"Triton kernels run on CUDA and ROCm devices, not on {device.type}"
    if torch.version.hip:
        name = torch.cuda.get_device_properties(device).gcnArchName.split(":")[0]
        return None if name in ROCM else f"the ROCm device is {name}, and the kernels are made for {', '.join(ROCM)}"
    capability = torch.cuda.get_device_capability(device)
    if capability < CAPABILITY:
        return "the GPU's compute capability {}.{} is below {}.{}".format(*capability, *CAPABILITY)
    return None
