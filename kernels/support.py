"""Which networks and devices the fused kernels support: decided here, by a sentence that names the limit.

Imports neither Triton nor Numba, so that a machine without them can ask.
"""

import importlib.util
import os
from collections.abc import Collection

import torch

from draw_poly.kernels.spec import Activation, KolmogorovTerm, Network, Optimizer

WIDEST_ON_CPU, WIDEST_ON_GPU, WIDEST_IN_REGIONS = 256, 64, 256
# Numbers of a matrix that Muon takes in one program.
LARGEST_MATRIX_ON_GPU = 64 * 256
# Activations that the kernels have a line for; those keep its results alone for the way back.
ACTIVATIONS_ON_CPU = ACTIVATIONS_ON_GPU = ("leaky_relu", "relu2")
# CUDA devices of this compute capability and later, and these ROCm ones, are compiled for.
CAPABILITY = (8, 0)
ROCM = ("gfx942",)


def interpreted() -> bool:
    """Whether Triton interprets kernels on the CPU instead of compiling them."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def unsupported_on_cpu(network: Network, term: KolmogorovTerm | None, device: torch.device) -> str | None:
    """Why the kernels in Numba cannot run this network on this device, naming the limit; None if they can."""
    if device.type != "cpu":
        return f"the CPU kernels do not run on {device.type}"
    for name, one in (("layer", network), ("predictor's layer", term.predictor if term else None)):
        if one is None:
            continue
        widest = max(one.dims[:-1])
        if widest > WIDEST_ON_CPU:
            return f"{name} width {widest} is above {WIDEST_ON_CPU}"
        if reason := _unsupported_activation(one.activation, ACTIVATIONS_ON_CPU, "CPU"):
            return reason
    return term.range_limit if term else None


def unsupported_by_regions(network: Network) -> str | None:
    """Why a run cannot have this network's exact regions, naming the limit; None if it can."""
    widest = max(network.dims[1:-1], default=0)
    if widest > WIDEST_IN_REGIONS:
        return f"layer width {widest} is above {WIDEST_IN_REGIONS}"
    if not network.activation.piecewise_affine:
        return f"{network.activation.name} is not piecewise affine: its regions have no straight boundaries"
    return None


def unsupported_on_gpu(network: Network, term: KolmogorovTerm | None, device: torch.device) -> str | None:
    """Why the kernels in Triton cannot run this network on this device, naming the limit; None if they can."""
    if limit := gpu_limit(network, term):
        return limit
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    return _unsupported_device(device)


def gpu_limit(network: Network, term: KolmogorovTerm | None) -> str | None:
    """The limit that a network is past, on any device; None if it is within all."""
    for name, dims in (("layer", network.dims), ("predictor's layer", term.predictor.dims[:-1] if term else ())):
        if dims and max(dims) > WIDEST_ON_GPU:
            return f"{name} width {max(dims)} is above {WIDEST_ON_GPU}"
    if len(network.dims) < 3 or (term and len(term.predictor.dims) < 3):
        return "a network without a hidden layer has nothing to fuse"
    for one in (network, *([term.predictor] if term else [])):
        if reason := _unsupported_activation(one.activation, ACTIVATIONS_ON_GPU, "Triton"):
            return reason
    return term.range_limit if term else None


def optimizer_limit_on_gpu(network: Network, term: KolmogorovTerm | None, optimizer: Optimizer) -> str | None:
    """Why the kernels in Triton cannot take an optimiser's steps of these networks; None if they can."""
    if optimizer.rest is None:
        return None
    for one in (network, *([term.predictor] if term else [])):
        out, into = max(one.shapes, key=lambda shape: shape[0] * shape[1])
        if out * into > LARGEST_MATRIX_ON_GPU:
            return f"{optimizer.kind} takes no matrix of more than {LARGEST_MATRIX_ON_GPU} numbers, as {out} x {into}"
    return None


def _unsupported_activation(activation: Activation, known: Collection[str], kernels: str) -> str | None:
    if activation.name not in known:
        return f"the {kernels} kernels know no activation {activation.name}, but {', '.join(known)}"
    if not activation.result_tells_derivative:
        return f"the {kernels} kernels keep an activation's result, which does not tell {activation.name}'s derivative"
    return None


def _unsupported_device(device: torch.device) -> str | None:
    if device.type == "cpu":
        return None if interpreted() else "Triton kernels need a GPU, or TRITON_INTERPRET=1 to be interpreted"
    if device.type != "cuda":
        return f"Triton kernels run on CUDA and ROCm, not on {device.type}"
    if torch.version.hip:
        name = torch.cuda.get_device_properties(device).gcnArchName.split(":")[0]
        return None if name in ROCM else f"the ROCm device is {name}, and the kernels are made for {', '.join(ROCM)}"
    capability = torch.cuda.get_device_capability(device)
    if capability < CAPABILITY:
        return "the GPU's compute capability {}.{} is below {}.{}".format(*capability, *CAPABILITY)
    return None
