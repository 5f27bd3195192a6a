"""What a page draws a window from: arrays that its script reads, see `scene.js`."""

import json
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from draw_poly.engine.view.ages import Ages
from draw_poly.engine.view.history import State
from draw_poly.kernels.cpu.regions import Regions
from draw_poly.kernels.spec.subdivision import Subdivision
from draw_poly.kernels.spec.window import Window

Arrays = dict[str, NDArray[Any]]
MOST_CELLS = 50_000  # that a browser draws
RASTER = 256  # samples of the picture beneath, along its longer side
ALIGNED = 8
SMALLEST = 1e-12  # side of a window: below it float64 tells too few places apart for a picture


class Target(NamedTuple):
    """The image that a run learns: pixels (height, width), or (height, width, channels), uint8."""

    pixels: NDArray[np.uint8]

    def sampled(self, window: Window) -> NDArray[np.uint8]:
        """The nearest pixel at each place of a raster over a window, (rows, columns) or (rows, columns, channels)."""
        height, width = self.pixels.shape[:2]
        columns, rows = raster_of(width, height)
        left, top, right, bottom = window
        x = left + (right - left) * (np.arange(columns) + 0.5) / columns
        y = top + (bottom - top) * (np.arange(rows) + 0.5) / rows
        across = np.clip(np.rint(x * width), 0, width - 1).astype(np.intp)
        down = np.clip(np.rint(y * height), 0, height - 1).astype(np.intp)
        return np.ascontiguousarray(self.pixels[down[:, None], across[None]])


def raster_of(width: int, height: int) -> tuple[int, int]:
    """Columns and rows of the picture beneath, of an image of this size."""
    longer = max(width, height)
    return max(1, round(RASTER * width / longer)), max(1, round(RASTER * height / longer))


def rings(found: Subdivision) -> Arrays:
    """The cells' corners: `places` (2 V) in the window, from 0 to 1; how many `sides` each cell has (F,).

    `corners` and `labels` (all sides,) are the vertex and the edge that begins there, ring after ring.
    """
    left, top, right, bottom = found.window
    places = (found.places - (left, top)) / (right - left, bottom - top)
    _, halves = found.rings
    return {
        "places": places.ravel(),
        "sides": found.sides.astype(np.uint16),
        "corners": found.origin[halves].astype(np.uint32),
        "labels": found.label[halves].astype(np.int32),
    }


def of_window(
    builder: Regions, state: State, window: Window, ages: Ages | None, target: Target | None
) -> Arrays:  # fmt: skip
    """A window of the network after an epoch. Raises ValueError and TooManyRegions."""
    found = builder.subdivide(state.parameters, window)
    born = ages.born(state.epoch, found) if ages else np.full(found.cells, -1, np.int32)
    return {
        **rings(found),
        "epoch": np.array([state.epoch], np.int32),
        "window": np.array(window, np.float64),
        "born": born,
        "patterns": found.patterns.view(np.uint32).ravel(),
        "maps": found.maps.ravel(),
        "target": target.sampled(window).ravel() if target else np.empty(0, np.uint8),
    }


def packed(arrays: Arrays) -> bytes:
    """Arrays as one block of bytes, since a socket takes a while for each block.

    First how long the head is, four bytes; the head, JSON: of each array its name, dtype and count; then the arrays,
    each from a multiple of eight on.
    """
    head = json.dumps([[name, array.dtype.name, array.size] for name, array in arrays.items()]).encode()
    parts = [len(head).to_bytes(4, "little"), head]
    length = 4 + len(head)
    for array in arrays.values():
        content = array.tobytes()
        parts += [bytes(-length % ALIGNED), content]
        length += -length % ALIGNED + len(content)
    return b"".join(parts)
