"""A film that dives into a point: every frame shows the regions of its own window, exact at any zoom."""

import logging
from pathlib import Path

import numpy as np

from draw_poly.engine.flags import ConfigError
from draw_poly.engine.regions.colours import colours
from draw_poly.engine.regions.options import RegionsOptions
from draw_poly.engine.regions.source import Source
from draw_poly.kernels.cpu.regions import Regions
from draw_poly.kernels.picture.cells import fill_cells, stroke_edges
from draw_poly.kernels.spec.subdivision import Subdivision, TooManyRegions
from draw_poly.kernels.spec.window import Window

log = logging.getLogger("polytope_nn.regions")
FPS, CRF = 24, "18"
REACH = 1.2


def windows(options: RegionsOptions) -> list[Window]:
    """The windows of a film's frames: from the whole one, ever smaller by one factor, about the point.

    The point drifts from where it stands in the first to the middle.
    """
    assert options.animate is not None
    left, bottom, right, top = options.window
    x, y = options.animate
    found = []
    for share in np.linspace(0, 1, options.frames).tolist():
        factor = (options.depth / (right - left)) ** share
        drift = share  # of the way to the middle
        across, up = (
            (1 - drift) * (point - low) / (high - low) + drift / 2
            for point, low, high in ((x, left, right), (y, bottom, top))
        )
        width, height = (right - left) * factor, (top - bottom) * factor
        found.append((x - across * width, y - up * height, x + (1 - across) * width, y + (1 - up) * height))
    return found


def frame(found: Subdivision, side: int, kind: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The picture (side, side, 3) of a window: colours of cells, and their walls upon them."""
    left, bottom, right, top = found.window
    places = (found.places - (left, bottom)) / (right - left, top - bottom)
    cells, lines = np.zeros((side, side), np.int32), np.zeros((side, side), np.uint8)
    fill_cells(places, found.origin, found.following, found.first, cells)
    stroke_edges(places, found.origin, found.following, found.twin, found.label, REACH, lines)
    shades = colours(found, kind)[cells].astype(np.uint16)
    return (shades * (255 - lines.astype(np.uint16))[..., None] // 255).astype(np.uint8)


def dive(source: Source, options: RegionsOptions, path: Path) -> None:
    """Writes the film. Raises ConfigError where a window has too many regions, or is too small for float64."""
    import av

    builder = Regions(source.network, options.most_regions)
    side = options.size + options.size % 2
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", rate=FPS, options={"crf": CRF})
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        for window in windows(options):
            try:
                found = builder.subdivide(source.parameters, window)
            except (TooManyRegions, ValueError) as error:
                raise ConfigError(f"--animate: {error}") from error
            picture = av.VideoFrame.from_ndarray(frame(found, side, options.colour), format="rgb24")
            for packet in stream.encode(picture):
                film.mux(packet)
        for packet in stream.encode():
            film.mux(packet)
    log.info("%s", path)
