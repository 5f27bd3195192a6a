"""What kernels ask of the tensors they are given: they read memory as it lies, whatever a tensor says about it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from draw_poly.kernels.spec import KolmogorovTerm, Network


def sizes(vectors: Sequence[Tensor], network: Network, term: KolmogorovTerm | None) -> list[int]:
    """How many numbers each vector has: of the network, and of the predictor where there is one.

    Raises ValueError for another number of vectors.
    """
    networks = [network, *([term.predictor] if term else [])]
    if len(vectors) != len(networks):
        raise ValueError(f"{len(vectors)} vectors of parameters were given for {len(networks)} networks")
    return [one.size for one in networks]


def shares(
    network: Network, term: KolmogorovTerm | None, networks: int, weights: Sequence[float] | None
) -> list[float]:
    """Each network's share (networks,) of a parameter's loss in the loss: its term's weight, by default as it says.

    Zeros without a term. Raises ValueError for another number of weights.
    """
    if weights is None:
        weights = [term.weight if term else 0.0] * networks
    if len(weights) != networks:
        raise ValueError(f"{len(weights)} weights of the term were given for {networks} networks")
    return [weight / network.size for weight in weights]


def read(name: str, tensor: Tensor, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor that is only read, its numbers side by side: copied where they are not.

    Raises ValueError for another shape or type.
    """
    _require(name, tensor, shape, dtype)
    return tensor.contiguous()


def read_array(name: str, tensor: Tensor, *shape: int, dtype: torch.dtype = torch.float32) -> NDArray[Any]:
    """As `read`, in host memory."""
    _require(name, tensor, shape, dtype)
    # Not torch's copy: for some milliseconds after it, OpenMP's threads keep the cores that helpers need.
    return np.ascontiguousarray(tensor.numpy())


def read_rows(name: str, tensor: Tensor, *shape: int) -> Tensor:
    """As `read`, but its rows may lie any distance apart, and so may what is before them."""
    _require(name, tensor, shape, torch.float32)
    return tensor if _in_rows(tensor) else tensor.contiguous()


def written(name: str, tensor: Tensor, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor that is written where it stands. Raises ValueError for another shape or type, and for gaps in memory."""
    _require(name, tensor, shape, dtype)
    if not tensor.is_contiguous():
        raise ValueError(f"{name} of strides {tensor.stride()} cannot be written in place: give a contiguous tensor")
    return tensor


def written_rows(name: str, tensor: Tensor, *shape: int) -> Tensor:
    """As `written`, but its rows may lie any distance apart."""
    _require(name, tensor, shape, torch.float32)
    return tensor if _in_rows(tensor) else written(name, tensor, *shape)


def _in_rows(tensor: Tensor) -> bool:
    return tensor.shape[-1] < 2 or tensor.stride(-1) == 1


def _require(name: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    if tensor.shape != shape or tensor.dtype != dtype:
        given = f"{name} of shape {tuple(tensor.shape)} and type {tensor.dtype}"
        raise ValueError(f"{given} were given: give shape {shape} and type {dtype}")
