"""The Mersenne Twister's words, as PyTorch's and NumPy's generators draw them.

Source: Matsumoto and Nishimura, "Mersenne Twister", 1998; seeded as ATen does it (`MT19937RNGEngine.h`).
"""

import numpy as np

from draw_poly.kernels.compiled import part

WORDS, MIDDLE = 624, 397
HIGHEST, REST = np.uint32(0x80000000), np.uint32(0x7FFFFFFF)
TWIST = np.uint32(0x9908B0DF)


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
