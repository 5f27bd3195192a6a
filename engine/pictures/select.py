"""Which rasterizer suits a backend."""

from typing import TYPE_CHECKING, Protocol

from draw_poly.engine.backends.base import Backend
from draw_poly.engine.config import Config
from draw_poly.engine.pictures.device_drawing import DeviceRasterizer
from draw_poly.engine.pictures.drawing import AdaptiveRasterizer, Drawing
from draw_poly.kernels.support import unsupported_by_regions

if TYPE_CHECKING:
    from draw_poly.engine.regions.lives import Lives
    from draw_poly.engine.regions.shared import SharedRegions


class Rasterizer(Protocol):
    """Draws a backend's network as it is, again and again at one size."""

    def draw(self) -> Drawing:
        """The picture of the network as it is now."""


def rasterizer_for(backend: Backend, width: int, height: int, chunk_size: int, colours: bool = False) -> Rasterizer:
    """A rasterizer for pictures of this size; `colours`: of the polytopes, too. Points are evaluated in such chunks."""
    if backend.drawn_by == "grid":
        return DeviceRasterizer(backend, width, height, chunk_size, colours)
    if backend.drawn_by == "picture":
        from draw_poly.engine.pictures.cpu_drawing import (
            CpuRasterizer,  # loads the CPU's kernels, which no other backend needs
        )

        return CpuRasterizer(backend, width, height, colours)
    return AdaptiveRasterizer(backend, width, height, chunk_size, colours)


def shared_regions(config: Config) -> "SharedRegions | None":
    """What subdivides a run's network for frames and for what follows it; None where the run has no exact regions."""
    if config.regions == "off" or unsupported_by_regions(config.network):
        return None
    from draw_poly.engine.regions.shared import SharedRegions

    return SharedRegions(config.network, config.most_regions)


def drawn_exactly(
    inner: Rasterizer, backend: Backend, size: tuple[int, int], colour: str | None, shared: "SharedRegions | None",
    lives: "Lives | None" = None,
) -> Rasterizer:  # fmt: skip
    """The same with boundaries from exact regions, where a run has them."""
    if shared is None:
        return inner
    from draw_poly.engine.pictures.region_drawing import RegionRasterizer

    return RegionRasterizer(inner, backend, size, colour, shared, lives)
