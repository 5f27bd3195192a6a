"""The Kolmogorov term's own facts: where each parameter stands, and code length in bits."""

import math

import torch
from torch import Tensor

from draw_poly.kernels.spec import Network


def positions(network: Network) -> Tensor:
    """What the predictor reads, (3, parameters) float32 in [0, 1]: layer, output and input of each parameter.

    A bias stands at input 1. A lone layer, output or input stands at 0.
    """
    parts = []
    for layer, (out, into) in enumerate(network.shapes):
        depth = layer / max(len(network.shapes) - 1, 1)
        rows = torch.arange(out, dtype=torch.float64) / max(out - 1, 1)
        columns = torch.arange(into, dtype=torch.float64) / max(into - 1, 1)
        parts.append(
            torch.stack(
                (
                    torch.full((out * into,), depth, dtype=torch.float64),
                    rows.repeat_interleave(into),
                    columns.repeat(out),
                )
            )
        )
        parts.append(torch.stack((torch.full_like(rows, depth), rows, torch.ones_like(rows))))
    return torch.cat(parts, 1).float()


def bits(loss: float, network: Network) -> float:
    """Code length of all parameters in bits, from a mean loss in nats."""
    return loss * network.size / math.log(2)
