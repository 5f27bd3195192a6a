"""Which cells of two subdivisions have one pattern: hashes of 128 bits, looked up among the others'; what changed."""

import numpy as np

from draw_poly.kernels.compiled import kernel, part


@part
def mixed(word):  # type: ignore[no-untyped-def]
    """A word whose every bit hangs on all of another's: splitmix64's last steps, which no two words share."""
    word = (word ^ word >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ word >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return word ^ word >> np.uint64(31)


@kernel
def hash_patterns(patterns, hashes):  # type: ignore[no-untyped-def]
    """Two numbers (F, 2) of each row (F, words): two chains that begin apart."""
    for cell in range(len(patterns)):
        low, high = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03)
        for place in range(patterns.shape[1]):
            word = patterns[cell, place]
            low = mixed(low + np.uint64(0x9E3779B97F4A7C15) ^ word)
            high = mixed(high + np.uint64(0xD1B54A32D192ED03) ^ word * np.uint64(0xDA942042E4DD58B5))
        hashes[cell, 0], hashes[cell, 1] = low, high


@kernel
def match(before, now, table, found):  # type: ignore[no-untyped-def]
    """Where each hash of `now` (F, 2) stands among those `before`, or -1, into `found` (F,).

    `table` is scratch: a power of two of places, more than there are hashes before.
    """
    last = np.uint64(len(table) - 1)
    for place in range(len(table)):
        table[place] = -1
    for cell in range(len(before)):
        place = before[cell, 0] & last
        while table[place] >= 0:
            place = (place + np.uint64(1)) & last
        table[place] = cell
    for cell in range(len(now)):
        found[cell] = -1
        place = now[cell, 0] & last
        while table[place] >= 0:
            other = table[place]
            if before[other, 0] == now[cell, 0] and before[other, 1] == now[cell, 1]:
                found[cell] = other
                break
            place = (place + np.uint64(1)) & last


@kernel(allocates=True)
def compare(before, born_before, areas_before, now, areas, epoch, table, born, gone):  # type: ignore[no-untyped-def]
    """What becomes of cells with hashes `before` (F', 2) that were `born_before` (F',): now there are those of `now`.

    Fills when each was `born` (F,), and who of those before is `gone` (F',). Returns how many live on, their area now,
    how far areas differ in all, and the sum of area times age. `table` is scratch, as in `match`.
    """
    matches = np.empty(len(now), np.int32)
    match(before, now, table, matches)
    for old in range(len(gone)):
        gone[old] = True
    kept, kept_area, apart, aged = 0, 0.0, 0.0, 0.0
    for cell in range(len(matches)):
        old = matches[cell]
        if old >= 0:
            kept += 1
            kept_area += areas[cell]
            apart += abs(areas[cell] - areas_before[old])
            gone[old] = False
            born[cell] = born_before[old]
        else:
            apart += areas[cell]
            born[cell] = epoch
        aged += areas[cell] * (epoch - born[cell])
    for old in range(len(gone)):
        if gone[old]:
            apart += areas_before[old]
    return kept, kept_area, apart, aged
