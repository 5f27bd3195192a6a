"""Orders of points, many in one call: `torch.randperm` of a generator seeded anew for each, bit for bit.

Source: Matsumoto and Nishimura, "Mersenne Twister", 1998, as ATen seeds and reads it (`MT19937RNGEngine.h`), and the
Fisher-Yates shuffle of ATen's `randperm_cpu`.
"""

import numpy as np
import torch
from torch import Tensor

from draw_poly.kernels.compiled import kernel, part

# From here on ATen draws 64 bits a point.
LIMIT = (2**32 - 1) // 20
WORDS, MIDDLE = 624, 397
HIGHEST, REST = np.uint32(0x80000000), np.uint32(0x7FFFFFFF)
TWIST = np.uint32(0x9908B0DF)


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


@kernel
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


@part
def begin(seed, state):  # type: ignore[no-untyped-def]
    """Fills the twister's state (624,) from a seed."""
    word = seed
    state[0] = word
    for index in range(1, WORDS):
        word = np.uint32(np.uint32(1812433253) * np.uint32(word ^ (word >> np.uint32(30))) + np.uint32(index))
        state[index] = word


@part
def twist(state):  # type: ignore[no-untyped-def]
    """Makes the next 624 words."""
    for index in range(WORDS - MIDDLE):
        state[index] = mixed(state[index], state[index + 1], state[index + MIDDLE])
    for index in range(WORDS - MIDDLE, WORDS - 1):
        state[index] = mixed(state[index], state[index + 1], state[index + MIDDLE - WORDS])
    state[WORDS - 1] = mixed(state[WORDS - 1], state[0], state[MIDDLE - 1])


@part
def mixed(word, following, far):  # type: ignore[no-untyped-def]
    """A word of the next 624 from three of these."""
    joined = (word & HIGHEST) | (following & REST)
    return far ^ (joined >> np.uint32(1)) ^ (TWIST * (following & np.uint32(1)))


@part
def temper(word):  # type: ignore[no-untyped-def]
    """The number that a word of the state is read as."""
    word ^= word >> np.uint32(11)
    word ^= (word << np.uint32(7)) & np.uint32(0x9D2C5680)
    word ^= (word << np.uint32(15)) & np.uint32(0xEFC60000)
    return word ^ (word >> np.uint32(18))
