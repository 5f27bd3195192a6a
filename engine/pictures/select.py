"""Which drawer suits a backend."""

from typing import Protocol

from draw_poly.engine.backends.base import Backend
from draw_poly.engine.pictures.device_drawing import DeviceDrawer
from draw_poly.engine.pictures.drawing import Drawer, Drawing


class Draws(Protocol):
    """Draws a backend's network as it is, again and again at one size."""

    def draw(self) -> Drawing:
        """The picture of the network as it is now."""


def drawer_for(backend: Backend, width: int, height: int, chunk_size: int, colours: bool = False) -> Draws:
    """A drawer for pictures of this size; `colours`: of the polytopes, too. Points are evaluated in such chunks."""
    if backend.drawn_by == "grid":
        return DeviceDrawer(backend, width, height, chunk_size, colours)
    if backend.drawn_by == "picture":
        from draw_poly.engine.pictures.cpu_drawing import (
            CpuDrawer,  # loads the CPU's kernels, which no other backend needs
        )

        return CpuDrawer(backend, width, height, colours)
    return Drawer(backend, width, height, chunk_size, colours)
