"""The first rows of a large shuffle, without the others: NumPy's `RandomState.shuffle`, bit for bit.

NumPy swaps row i with a row j drawn from 0 to i, for i from the last down to 1: all words of its generator are needed,
but of the rows those alone that end up in front. They are followed from there back through the swaps, where a row that
is followed moves seldom. The swaps are wanted in the reverse of the order in which they are drawn: they are drawn
twice, the second time in blocks from the last to the first, each from where the generator stood then.

Source: `_shuffle_raw` of NumPy's `mtrand.pyx`, and `random_interval` of its `distributions.c`.
"""

import numpy as np
from numpy.typing import NDArray

from draw_poly.kernels.compiled import kernel, part
from draw_poly.kernels.twister import WORDS, temper, twist

# Fewer rows NumPy has sooner shuffled than this is loaded, which counts in a process that does it once, or than this is
# done; of more rows it draws 64 bits.
FEWEST_ONCE, FEWEST, MOST = 2**22, 2**16, 2**32
# Where more than one row in so many is followed, there is little to gain.
RARE = 16
# Swaps of a block, and lists of rows that are followed: both stay in a core's cache.
BLOCK = LISTS = 2**17

_again = False  # whether this process has shuffled before


def first_rows(generator: np.random.RandomState, rows: int, count: int) -> NDArray[np.int64]:
    """The first `count` of `rows` after `generator.shuffle(rows)`, as their numbers from before; int64 (count,).

    The generator stands as after that. Less than 3 bytes a row are needed where few are asked for, else 4 or 8.
    """
    global _again
    count, fewest, _again = min(count, rows), FEWEST if _again else FEWEST_ONCE, True
    if not fewest <= rows <= MOST or count * RARE > rows:
        order = np.arange(rows, dtype=np.int32 if rows <= 2**31 else np.int64)
        generator.shuffle(order)
        return order[:count].astype(np.int64)
    kind, words, place, *normal = generator.get_state(legacy=True)
    found = np.empty(count, np.int64)
    state = np.array(words, np.uint32)
    place = follow(state, place, rows, found, max(LISTS, 1 << (2 * count).bit_length()), BLOCK)
    generator.set_state((kind, state, place, *normal))
    return found


@kernel(allocates=True)
def follow(state, place, rows, found, lists, block):  # type: ignore[no-untyped-def]
    """Writes the first rows of a shuffle (count,), and the generator's state after it; returns its place there.

    `lists`, a power of two, are those in which rows are found by their places.
    """
    count, blocks = len(found), (rows - 1) // block + 1
    states, places = np.empty((blocks, WORDS), np.uint32), np.empty(blocks, np.int64)
    numbers, swaps = np.empty(WORDS, np.uint32), np.empty(block, np.uint32)
    for index in range(blocks - 1, -1, -1):
        for word in range(WORDS):  # an assignment of rows takes a second to compile
            states[index, word] = state[word]
        places[index] = place
        place = draw(state, place, min(rows, (index + 1) * block) - 1, index * block, numbers, swaps)
    # Those that are followed: where each is by now, where it is to end, and which is next in its list.
    where, ends, following = np.empty(count, np.int64), np.empty(count, np.int32), np.empty(count, np.int32)
    heads = np.empty(lists, np.int32)
    for head in range(lists):
        heads[head] = -1
    for one in range(count):
        where[one] = ends[one] = one
        push(heads, following, where, one)
    for index in range(blocks):
        bottom, top = index * block, min(rows, (index + 1) * block)
        draw(states[index], places[index], top - 1, bottom, numbers, swaps)
        for row in range(max(bottom, 1), min(top, count)):
            other = swaps[row - bottom]
            ends[row], ends[other] = ends[other], ends[row]
        for row in range(max(bottom, count, 1), top):
            other = np.int64(swaps[row - bottom])
            one = np.int64(heads[other & (lists - 1)])
            if one >= 0:
                before = np.int64(-1)
                while one >= 0 and where[one] != other:
                    before, one = one, following[one]
                if one >= 0:
                    if before < 0:
                        heads[other & (lists - 1)] = following[one]
                    else:
                        following[before] = following[one]
                    where[one] = row
                    push(heads, following, where, one)
    for one in range(count):
        found[ends[one]] = where[one]
    return place


@part
def push(heads, following, where, one):  # type: ignore[no-untyped-def]
    """Puts a row that is followed into the list of its place."""
    head = where[one] & (len(heads) - 1)
    following[one] = heads[head]
    heads[head] = one


@part
def draw(state, place, top, bottom, numbers, swaps):  # type: ignore[no-untyped-def]
    """Draws the rows that those from `top` down to `bottom` are swapped with; returns the generator's place.

    Row 0 is swapped with none. `numbers` (624,) are the state's.
    """
    for index in range(WORDS):
        numbers[index] = temper(state[index])
    row, last = top, max(bottom, 1)
    while row >= last:
        mask = np.int64(1)
        while mask < row:
            mask = 2 * mask + 1
        least = max(last, (mask >> 1) + 1)
        while row >= least:
            if place == WORDS:
                twist(state)
                for index in range(WORDS):
                    numbers[index] = temper(state[index])
                place = 0
            # Each number serves one row at most.
            end = min(WORDS, place + row - least + 1)
            # In 32 bits, and with no branch that nobody could foretell.
            bits, first, now = np.uint32(mask), np.uint32(bottom), np.uint32(row)
            for index in range(place, end):
                number = np.uint32(numbers[index] & bits)
                # Also what is too large is written: the next number takes its place.
                swaps[np.uint32(now - first)] = number
                now = np.uint32(now - np.uint32(number <= now))
            row, place = np.int64(now), end
    return place
