"""Orders of points, many in one call: `torch.randperm` of a generator seeded anew for each, bit for bit.

Source: the Fisher-Yates shuffle of ATen's `randperm_cpu`.
"""

import numpy as np
import torch
from torch import Tensor

from draw_poly.kernels.compiled import kernel
from draw_poly.kernels.twister import WORDS, begin, temper, twist

# From here on ATen draws 64 bits a point.
LIMIT = (2**32 - 1) // 20


def orders(seeds: Tensor, points: int) -> Tensor:
    """What `torch.randperm(points, generator=torch.Generator().manual_seed(seed))` gives for each of `seeds` (n,).

    Returns int64 (n, points). Raises ValueError for seeds that are not int64 (n,) on the CPU, and for fewer than 0
    points.
    """
    if seeds.dtype != torch.int64 or seeds.dim() != 1 or seeds.device.type != "cpu":
        raise ValueError(f"seeds were {seeds.dtype} {tuple(seeds.shape)} on {seeds.device}: give int64 (n,) on the CPU")
    if points < 0:
        raise ValueError(f"an order of {points} points was asked for: give at least 0")
    found = torch.empty((len(seeds), points), dtype=torch.int64)
    if points < LIMIT:
        shuffle(seeds.numpy(), found.numpy())
        return found
    for row, seed in zip(found, seeds.tolist(), strict=True):
        torch.randperm(points, generator=torch.Generator().manual_seed(seed), out=row)
    return found


@kernel(allocates=True)
def shuffle(seeds, found):  # type: ignore[no-untyped-def]
    """Writes an order (n, points) for each seed (n,)."""
    state = np.empty(WORDS, np.uint32)
    points = found.shape[1]
    for index in range(len(seeds)):
        begin(np.uint32(seeds[index] & 0xFFFFFFFF), state)
        row = found[index]
        for point in range(points):
            row[point] = point
        place = WORDS
        for point in range(points - 1):
            if place == WORDS:
                twist(state)
                place = 0
            other = point + np.int64(temper(state[place]) % np.uint32(points - point))
            place += 1
            here = row[point]
            row[point] = row[other]
            row[other] = here
