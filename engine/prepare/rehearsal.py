"""Kernels compiled before the first epoch: all but the steps' in a process beside this one, which both find on disk.

Numba compiles one function at a time in a process, whatever its threads. Run as a program, this file compiles what its
one argument, a `Pictures` in JSON, asks for.
"""

import dataclasses
import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from draw_poly.engine import allowance
from draw_poly.engine.backends.base import Backend, blank_state
from draw_poly.engine.backends.reference import Eager
from draw_poly.engine.config import Config
from draw_poly.engine.pictures.caption import Caption
from draw_poly.engine.pictures.drawing import Drawing
from draw_poly.engine.pictures.frame import FilmComposer, Panels, PictureComposer
from draw_poly.engine.pictures.select import rasterizer_for
from draw_poly.engine.task import TASKS
from draw_poly.kernels import orders
from draw_poly.kernels.compiled import announce, is_kept
from draw_poly.kernels.picture import classes, grid, panels

# A child of the run's logger.
log = logging.getLogger("polytope_nn.rehearsal")
SIDE = 128  # of a panel that has curves


@dataclass(frozen=True)
class Pictures:
    """What a run makes of its network: how it is drawn (see `Backend.drawn_by`), and into what."""

    drawn_by: str
    film: bool
    files: bool
    regions: bool
    task: str = "gray"

    @staticmethod
    def of(kind: type[Backend], config: Config) -> "Pictures":
        """Those of a run."""
        film, files, regions = not config.no_film, config.snapshot_format != "none", config.regions != "off"
        return Pictures(kind.drawn_by, film, files, regions, config.task)

    def are_kept(self) -> bool:
        """Whether the code of all their kernels is on disk."""
        needed: list[Any] = [orders.shuffle, panels.cover, panels.draw_strokes]
        colour = TASKS[self.task].colour
        if self.film:
            needed += [panels.to_video]
            needed += [] if colour else [panels.paint_brightness, panels.paint_difference]
        if self.files or self.film:
            needed += [panels.paint_colours] if colour else [panels.paint] * self.files
        if TASKS[self.task].classes and self.drawn_by != "grid":  # a GPU's backend does without
            needed += [classes.classify]
        if self.drawn_by == "picture":
            from draw_poly.kernels.cpu import draw

            needed += [draw.work]
        if self.drawn_by == "points":
            needed += [grid.settle, grid.halve, grid.coordinates, grid.store, grid.draw_rows]
        if self.regions:
            from draw_poly.engine.regions import compiled

            needed += compiled.kernels()
        return all(map(is_kept, needed))

    def make(self) -> None:
        """Makes each kind of picture once, of nothing, and an order of points: what is compiled for it is kept."""
        orders.orders(torch.zeros(1, dtype=torch.int64), 1)
        if self.regions:
            from draw_poly.engine.regions import compiled

            compiled.use(SIDE)
        shared = Panels(np.zeros((SIDE, SIDE, 3), np.uint8), task=TASKS[self.task])
        caption = Caption(("",) * 4, np.zeros((2, 2, SIDE)))
        drawing = self._drawing()
        if self.files:
            PictureComposer(shared).compose(drawing, caption)
        if self.film:
            rows, columns = (SIDE * count for count in shared.task.grid)
            planes = np.empty((rows, columns), np.uint8), *np.empty((2, rows // 2, columns // 2), np.uint8)
            FilmComposer(shared, planes).compose(drawing, caption)

    def _drawing(self) -> Drawing:
        if self.drawn_by == "grid":  # by no kernel of Numba's
            task, gray = TASKS[self.task], np.zeros((SIDE, SIDE), np.uint8)
            levels = np.zeros((task.outputs, SIDE, SIDE), np.uint8)
            return Drawing(levels, gray, gray[:0, :0], 1, 0.0, 0.0, 0, classes=gray if task.classes else None)
        config = Config("x", "[2]", 1, task=self.task)
        kind: type[Backend] = Eager
        if self.drawn_by == "picture":
            from draw_poly.engine.backends.cpu import Cpu

            kind = Cpu
        state = blank_state(config, torch.device("cpu"))
        # Neurons that change sign in the middle: tiles are halved there.
        state.main.parameters[0, :6] = torch.tensor([1.0, 0.0, 0.0, 1.0, -0.5, -0.5])
        state.main.parameters[0, 6:] = 1.0
        state.coefficients.copy_(torch.tensor([1, 2]))
        backend = kind(state, config)
        rasterizer_for(backend, 1, 1, 1).draw()  # small pictures may go another way
        return rasterizer_for(backend, SIDE, SIDE, SIDE**2).draw()


def rehearse(kind: type[Backend], config: Config, device: torch.device) -> None:
    """Has compiled, before an epoch is timed, what a run needs and is not on disk; the log tells of it."""
    started = time.perf_counter()
    pictures = Pictures.of(kind, config)
    ready = pictures.are_kept()
    if not ready:
        announce()
    with _made_beside(pictures, not ready and allowance.cores() > 1):
        if kind.name == "cpu":
            with torch.inference_mode():
                kind.try_out(config, device)
    if not ready:
        pictures.make()
        log.info("Kernels are compiled: %.1f s", time.perf_counter() - started)


@contextmanager
def _made_beside(pictures: Pictures, wanted: bool) -> Iterator[None]:
    """Has the pictures made by a process meanwhile, and waits for it; where it fails, this one has it to do."""
    if not wanted or not sys.executable:
        yield
        return
    words = [sys.executable, "-W", "ignore", "-m", __name__, json.dumps(dataclasses.asdict(pictures))]
    nothing = subprocess.DEVNULL
    # In a session of its own: a Ctrl-C is this process's to hear, and ends both.
    beside = subprocess.Popen(words, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)
    try:
        yield
        beside.wait()
    finally:
        beside.kill()
        beside.wait()


if __name__ == "__main__":
    Pictures(**json.loads(sys.argv[1])).make()
