"""What makes the tests cheaper and changes nothing that they look at: plots as sketches, kernels compiled once."""

import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from PIL import Image

from draw_poly.kernels.compiled import _Kept

# Seconds after which whoever waits for another's code compiles its own.
PATIENCE = 120.0


# What writes a plot.
PLOTS = ("matplotlib.figure.Figure.savefig", "matplotlib.backends.backend_agg.FigureCanvasAgg.print_png")


def sketch(plot: Any, path: Path, **words: object) -> None:
    """A file of the numbers that a plot, a figure or its canvas, shows, in place of its picture.

    That takes longer than a small run.
    """
    figure = getattr(plot, "figure", plot)
    numbers = [line.get_xydata().ravel() for axes in figure.axes for line in axes.get_lines()]
    numbers += [np.ma.filled(image.get_array(), np.nan).ravel() for axes in figure.axes for image in axes.get_images()]
    Image.frombytes("L", (8, 4), hashlib.sha256(np.concatenate(numbers).tobytes()).digest()).save(path, format="PNG")


def _lock_of(cache: Any) -> IO[str]:
    name = hashlib.sha256(str(cache._cache_file._index_path).encode()).hexdigest()[:16]
    return (Path(tempfile.gettempdir()) / f"draw-poly-{os.getuid()}-{name}.lock").open("w")


def _waited(lock: IO[str]) -> None:
    """Takes the lock, or waits for as long as patience lasts."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        else:
            break


@contextmanager
def compiled_by_one() -> Iterator[None]:
    """Of the workers that want a kernel that is nowhere, one compiles it; the others wait for its code."""
    load, save = _Kept.load_overload, _Kept.save_overload
    held: dict[int, IO[str]] = {}

    def loading(self: Any, sig: Any, context: Any) -> Any:
        found = load(self, sig, context)
        if found is None and id(self) not in held:
            _waited(held.setdefault(id(self), _lock_of(self)))
            found = load(self, sig, context)
            if found is not None:
                held.pop(id(self)).close()
        return found

    def saving(self: Any, sig: Any, data: Any) -> None:
        save(self, sig, data)
        if id(self) in held:
            held.pop(id(self)).close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Kept, "load_overload", loading)
        patch.setattr(_Kept, "save_overload", saving)
        yield
