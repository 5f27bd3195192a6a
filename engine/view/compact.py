"""A window as a file keeps it: small, with what `restored.js` finds again left out."""

import zlib
from collections import defaultdict, deque

import numpy as np
from numpy.typing import NDArray

from draw_poly.engine.view.history import State
from draw_poly.engine.view.packet import Arrays, packed
from draw_poly.kernels.spec.subdivision import OUTSIDE, Subdivision

LEVEL = 9  # of deflate
FAR = 255  # a turn that is none of those known
Rings = list[list[int]]  # half-edges


def compact(found: Subdivision, state: State, born: NDArray[np.int32]) -> Arrays:
    """The whole square after an epoch: no patterns or maps but the `parameters`, and corners as `turns`.

    Cells stand so that each has a neighbour before it, and vertices in the order in which rings come to them. Of the
    two labels of an edge the first is there, the other is 0. Places are float32: a millionth of the square is nothing.
    """
    order = neighbours_first(found)
    rings, turns, far, places = _turns(found, order)
    sides = np.array([half for ring in rings for half in ring], np.int32)
    first = _first_of_two(sides, found.twin)
    labels = np.where(first | (found.label[sides] < 0), found.label[sides], 0)
    return {
        "turns": np.array(turns, np.uint8),
        "far": _narrow(np.array(far), np.uint16, np.uint32),
        "labels": _narrow(labels, np.int16, np.int32),
        "sides": found.sides[order].astype(np.uint16),
        "places": found.places[places].astype(np.float32).ravel(),
        "born": born[order],
        "parameters": state.parameters.astype(np.float32),
        "epoch": np.array([state.epoch], np.int32),
        "window": np.array(found.window, np.float64),
    }


def compressed(arrays: Arrays) -> bytes:
    """The block of `packed`, deflated, with the bytes of each array in planes: all lowest ones, then the next."""
    planes = {name: _planes(array) for name, array in arrays.items()}
    return zlib.compress(packed(planes), LEVEL)


def neighbours_first(found: Subdivision) -> list[int]:
    """The cells in an order in which each, but for the first one, shares an edge with one before."""
    begins, halves = found.rings
    beyond = found.face[found.twin[halves]].tolist()
    seen, order, waiting = {0}, [], deque([0])
    while waiting:
        cell = waiting.popleft()
        order.append(cell)
        for other in beyond[begins[cell] : begins[cell + 1]]:
            if other != OUTSIDE and other not in seen:
                seen.add(other)
                waiting.append(other)
    return order + [cell for cell in range(found.cells) if cell not in seen]


def _turns(found: Subdivision, order: list[int]) -> tuple[Rings, list[int], list[int], list[int]]:
    """The rings as they are written, the turns, the steps of those that are `far`, and the vertices in their order.

    A ring's first corner is told as `far`; each later one by a turn from the corner before: 0 to a new vertex, else the
    so manieth last of the vertices that an edge of an earlier ring comes from, and still has no ring on its other side;
    or FAR. Far is how many vertices back it stands, 0 for a new one.
    """
    begins, halves = found.rings
    origin = found.origin.tolist()
    number: dict[int, int] = {}
    edges: defaultdict[int, list[int]] = defaultdict(list)  # where those come from that end at a vertex
    rings, turns, far = [], [], []
    for cell in order:
        ring = _begun_well(halves[begins[cell] : begins[cell + 1]].tolist(), origin, number, edges)
        corners = [origin[half] for half in ring]
        for place, corner in enumerate(corners):
            known = edges[corners[place - 1]] if place else []
            if place == 0 or (corner in number and (corner not in known or len(known) >= FAR)):
                far.append(len(number) - number[corner] if corner in number else 0)
                turns += [FAR] * bool(place)
            else:
                turns.append(len(known) - known.index(corner) if corner in number else 0)
            number.setdefault(corner, len(number))
        for before, corner in zip([corners[-1], *corners], corners, strict=False):
            if corner in edges[before]:
                edges[before].remove(corner)
            else:
                edges[corner].append(before)
        rings.append(ring)
    return rings, turns, far, list(number)


def _begun_well(
    ring: list[int], origin: list[int], number: dict[int, int], edges: dict[int, list[int]]
) -> list[int]:  # fmt: skip
    """A ring from the half-edge on that is nearest to what was written last."""
    best, worth = 0, (False, -1)
    for place, half in enumerate(ring):
        corner, after = origin[half], origin[ring[(place + 1) % len(ring)]]
        here = (after in edges[corner], number.get(corner, -1))
        if here > worth:
            best, worth = place, here
    return ring[best:] + ring[:best]


def _first_of_two(sides: NDArray[np.int32], twin: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Whether a half-edge stands before its twin, or has none."""
    place = np.full(len(twin), len(sides))
    place[sides] = np.arange(len(sides))
    found: NDArray[np.bool_] = place[sides] < place[twin[sides]]
    return found


def _narrow(values: NDArray[np.int64], small: type, large: type) -> NDArray[np.generic]:
    limits = np.iinfo(small)
    fits = not values.size or (limits.min <= values.min() and values.max() <= limits.max)
    return values.astype(small if fits else large)


def _planes(array: NDArray[np.generic]) -> NDArray[np.generic]:
    count, size = array.size, array.dtype.itemsize
    turned = np.ascontiguousarray(array).view(np.uint8).reshape(count, size).T
    return np.frombuffer(np.ascontiguousarray(turned).tobytes(), array.dtype)
