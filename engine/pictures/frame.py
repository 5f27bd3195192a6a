"""Frames of panels: prediction with boundaries, prediction, target with sample points and text; of classes, six."""

import colorsys
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from draw_poly.engine.data.image import Picture, Split
from draw_poly.engine.pictures.caption import Annotator, Caption
from draw_poly.engine.pictures.drawing import Drawing, Pixels
from draw_poly.engine.record.measures import Colour
from draw_poly.engine.regions.colours import scale
from draw_poly.engine.task import CLASS_COLOURS, TASKS, Task
from draw_poly.engine.training.trainer import CONSTANT_SPREAD
from draw_poly.kernels.picture import panels

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)
# Of points that train and validate, on gray and colours and on classes, which are red and blue themselves.
POINTS, CLASS_POINTS = (RED, BLUE), ((255, 0, 255), (0, 255, 255))
# Around the last panel, where no training point is given another class; a panel is so many times higher.
ALL_RIGHT, RIM_SHARE = (0, 255, 0), 100
# Where the panels of classes stand, by row and column: outputs in the classes' order, and what they come to.
OUTPUT_PLACES, LINED, PLAIN = ((0, 0), (1, 0), (0, 1)), (0, 2), (1, 1)
# Sample points are drawn this many times smaller than a panel is high, and at least one pixel.
POINT_SHARE = 1024
# What common players of H.264 accept: level 5.1 is 9 437 184 pixels.
LARGEST = 9_437_184
LARGEST_SIDE = 4096


def frame_size(width: int, height: int, limit: int) -> tuple[int, int]:
    """Width and height of a panel: the image's, scaled down so that its long side is at most `limit`."""
    scale = min(1.0, limit / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def film_canvas(width: int, height: int, grid: tuple[int, int] = (1, 3)) -> tuple[int, int]:
    """Width and height of a film's frame before it is scaled: a grid (rows, columns) of panels of even sides."""
    rows, columns = grid
    return columns * (width + width % 2), rows * (height + height % 2)


def line_colour(task: Task) -> Colour:
    """That of boundaries."""
    return WHITE if task.classes else RED


def coloured(drawing: Drawing) -> Pixels | None:
    """What was drawn, in colour, (height, width, 3): colours or those of classes; None for gray values."""
    if drawing.classes is not None:
        return np.array(CLASS_COLOURS, np.uint8)[drawing.classes]
    return np.ascontiguousarray(np.moveaxis(drawing.levels, 0, 2)) if len(drawing.levels) == 3 else None


def film_size(width: int, height: int) -> tuple[int, int]:
    """Size of the film of frames of this size: even, and scaled down to what players accept."""
    scale = min(1.0, LARGEST_SIDE / max(width, height), (LARGEST / (width * height)) ** 0.5)
    if scale == 1.0:
        return width + width % 2, height + height % 2
    return max(2, int(width * scale) // 2 * 2), max(2, int(height * scale) // 2 * 2)


def can_be_filmed(width: int, height: int) -> bool:
    """Whether FFmpeg holds frames of this size, to be scaled. Source: `av_image_check_size2` in its libavutil."""
    return (width + 128) * (height + 128) < (2**31 - 1) // 8


@dataclass(frozen=True)
class Panels:
    """What the frames of a run share: the last panel without text (height, width, 3), uint8, regions' colours, task."""

    target: Pixels
    colour_regions: str | None = None
    task: Task = TASKS["gray"]

    @staticmethod
    def of(
        picture: Picture, split: Split, size: tuple[int, int], colour_regions: str | None = None,
        task: Task = TASKS["gray"],
    ) -> "Panels":  # fmt: skip
        """The image at the size (width, height) of a panel, with its points; see `POINTS` for their colours."""
        width, height = size
        target = picture.coloured(size)
        side = max(1, height // POINT_SHARE)
        training, validation = CLASS_POINTS if task.classes else POINTS
        for indices, colour in ((split.validation.numpy(), validation), (split.training.numpy(), training)):
            rows = indices // picture.width * height // picture.height
            columns = indices % picture.width * width // picture.width
            for down in range(side):
                for across in range(side):
                    target[np.minimum(rows + down, height - 1), np.minimum(columns + across, width - 1)] = colour
        return Panels(target, colour_regions, task)

    @cached_property
    def palette(self) -> Pixels:
        """The colours of regions, (256, 3): hues a golden angle apart, in three shades; of numbers, a scale."""
        if self.colour_regions == "output":
            return np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1)
        if self.colour_regions not in (None, "pattern"):
            return scale()
        shades = ((0.75, 1.0), (0.5, 0.95), (0.9, 0.7))
        colours = [colorsys.hsv_to_rgb(index * 0.381966 % 1.0, *shades[index % 3]) for index in range(256)]
        palette: Pixels = np.rint(np.array(colours) * 255).astype(np.uint8)
        return palette


class PictureComposer:
    """Composes frames as red, green and blue; the last panel is drawn once, its text and curves anew each time."""

    def __init__(self, shared: Panels) -> None:
        height, width, _ = shared.target.shape
        rows, columns = shared.task.grid
        self._target, self._grid = shared.target, shared.task.grid
        self._annotator = Annotator(shared.target)
        self._covered = np.empty((height, width), np.uint8)
        self._tints, self._line = shared.palette.astype(np.int32), np.array(line_colour(shared.task))
        self._frame = np.zeros((rows * height, columns * width, 3), np.uint8)
        self._panels = [
            [self._frame[row * height : (row + 1) * height, column * width : (column + 1) * width]
             for column in range(columns)]
            for row in range(rows)
        ]  # fmt: skip
        self._panels[-1][-1][:] = shared.target

    def compose(self, drawing: Drawing, caption: Caption) -> Pixels:
        """The frame (rows * height, columns * width, 3); the next call draws over it."""
        cover(drawing, self._covered)
        picture = coloured(drawing)
        if picture is None:
            panels.paint(drawing.gray, self._covered, drawing.colours, self._line, self._tints, self._frame)
        else:
            self._paint(drawing, picture)
        last = self._panels[-1][-1]
        for row, column, pixels in self._annotator.patches(caption, is_constant(drawing)):
            down, across, _ = pixels.shape
            last[row : row + down, column : column + across] = pixels
        if drawing.scores.get("misclassified") == 0:
            for strip in _rim(last):
                strip[:] = ALL_RIGHT
        return self._frame

    def panel(self, row: int, column: int) -> Pixels:
        """One of the frame's panels (height, width, 3), as it was composed last."""
        return self._panels[row][column]

    def _paint(self, drawing: Drawing, picture: Pixels) -> None:
        """All panels but the last one, of a picture in colour."""
        lined, plain = ((0, 0), (0, 1)) if drawing.classes is None else (LINED, PLAIN)
        panels.paint_colours(
            picture, self._covered, drawing.colours, self._line, self._tints, self.panel(*lined)
        )  # fmt: skip
        self.panel(*plain)[:] = picture
        if drawing.classes is None:
            return
        for channel, place in enumerate(OUTPUT_PLACES):
            self.panel(*place)[:, :, channel] = drawing.levels[channel]
        for ours, theirs in zip(_rim(self._panels[-1][-1]), _rim(self._target), strict=True):
            ours[:] = theirs


def _rim(panel: Pixels) -> list[Pixels]:
    """The four strips around a panel."""
    thick = max(2, panel.shape[0] // RIM_SHARE)
    return [panel[:thick], panel[-thick:], panel[:, :thick], panel[:, -thick:]]


class FilmComposer:
    """Composes frames as a film's planes: brightness (height, width), two colour differences of half the size.

    Panels of an odd width or height are made even by repeating their last column or row. Gray has a way of its own,
    which is shorter.
    """

    def __init__(self, shared: Panels, planes: tuple[Pixels, Pixels, Pixels]) -> None:
        height, width, _ = shared.target.shape
        self._colours = PictureComposer(shared) if shared.task.colour else None
        self._grid, self._size = shared.task.grid, (height + height % 2, width + width % 2)
        self._annotator = Annotator(shared.target)
        self._covered = np.empty((height, width), np.uint8)
        self._planes = planes
        self._width = width + width % 2
        self._tints = video_values(shared.palette)
        self._shades = video_values(np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1))[0]
        self._line = video_values(np.array((RED,), np.uint8))[:, 0]
        if self._colours is None:
            for plane in planes[1:]:
                plane[:, self._width // 2 : self._width] = panels.NO_COLOUR
            self._put(0, 2 * self._width, shared.target)

    def compose(self, drawing: Drawing, caption: Caption) -> None:
        """Writes the frame into the planes."""
        if self._colours:
            self._colours.compose(drawing, caption)
            (rows, columns), (down, across) = self._grid, self._size
            for row in range(rows):
                for column in range(columns):
                    self._put(row * down, column * across, self._colours.panel(row, column))
            return
        width = self._width
        cover(drawing, self._covered)
        luma = self._planes[0]
        panels.paint_brightness(
            drawing.gray, self._covered, drawing.colours, self._line[0], self._shades, self._tints[0],
            luma[:, :width], luma[:, width : 2 * width],
        )  # fmt: skip
        for plane, line, tints in zip(self._planes[1:], self._line[1:], self._tints[1:], strict=True):
            panels.paint_difference(self._covered, drawing.colours, line, tints, plane[:, : width // 2])
        for row, column, pixels in self._annotator.patches(caption, is_constant(drawing)):
            self._put(row, 2 * width + column, pixels)

    def _put(self, row: int, column: int, pixels: Pixels) -> None:
        """Writes pixels (height, width, 3) at an even row and column of the planes."""
        down, across = -(-pixels.shape[0] // 2), -(-pixels.shape[1] // 2)
        luma, blue, red = self._planes
        row, column = row // 2, column // 2
        panels.to_video(
            pixels,
            luma[2 * row : 2 * (row + down), 2 * column : 2 * (column + across)],
            blue[row : row + down, column : column + across],
            red[row : row + down, column : column + across],
        )


def video_values(colours: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Each colour's (n, 3) brightness and colour differences (3, n), as `panels.to_video` makes them."""
    count = len(colours)
    # Parts of larger planes, as a frame's are: the kernel is compiled for both at once.
    luma, differences = np.empty((2, 2 * count + 1), np.uint8)[:, :-1], np.empty((2, 1, count + 1), np.uint8)[..., :-1]
    panels.to_video(np.repeat(np.repeat(colours[None], 2, axis=0), 2, axis=1), luma, *differences)
    return np.stack((luma[0, ::2], *differences[:, 0])).astype(np.int32)


def cover(drawing: Drawing, covered: Pixels) -> None:
    """Writes how much of each pixel a boundary covers, in 256ths: exact where regions are known, else by pixels."""
    if drawing.walls is None:
        panels.cover(drawing.edges, covered)
    else:
        covered[:] = drawing.walls


def is_constant(drawing: Drawing) -> bool:
    """Whether a network drew one value everywhere."""
    return drawing.highest - drawing.lowest < CONSTANT_SPREAD
