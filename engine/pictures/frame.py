"""Frames of three panels: prediction with boundaries, prediction, target with sample points and text."""

import colorsys
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from draw_poly.engine.data.image import Picture, Split
from draw_poly.engine.pictures.caption import Annotator, Caption
from draw_poly.engine.pictures.drawing import Drawing, Pixels
from draw_poly.engine.regions.colours import scale
from draw_poly.engine.training.trainer import CONSTANT_SPREAD
from draw_poly.kernels.picture import panels

RED, BLUE = (255, 0, 0), (0, 0, 255)
# Sample points are drawn this many times smaller than a panel is high, and at least one pixel.
POINT_SHARE = 1024
# What common players of H.264 accept: level 5.1 is 9 437 184 pixels.
LARGEST = 9_437_184
LARGEST_SIDE = 4096


def frame_size(width: int, height: int, limit: int) -> tuple[int, int]:
    """Width and height of a panel: the image's, scaled down so that its long side is at most `limit`."""
    scale = min(1.0, limit / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def film_canvas(width: int, height: int) -> tuple[int, int]:
    """Width and height of a film's frame before it is scaled: three panels of even sides."""
    return 3 * (width + width % 2), height + height % 2


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
    """What the frames of a run share: the third panel without text (height, width, 3), uint8, and regions' colours."""

    target: Pixels
    colour_regions: str | None = None

    @staticmethod
    def of(picture: Picture, split: Split, size: tuple[int, int], colour_regions: str | None = None) -> "Panels":
        """The image at the size (width, height) of a panel, with its points: red ones train, blue ones validate."""
        width, height = size
        target = np.repeat(picture.resized(size)[:, :, None], 3, axis=2)
        side = max(1, height // POINT_SHARE)
        for indices, colour in ((split.validation.numpy(), BLUE), (split.training.numpy(), RED)):
            rows = indices // picture.width * height // picture.height
            columns = indices % picture.width * width // picture.width
            for down in range(side):
                for across in range(side):
                    target[np.minimum(rows + down, height - 1), np.minimum(columns + across, width - 1)] = colour
        return Panels(target, colour_regions)

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
    """Composes frames as red, green and blue; the third panel is drawn once, its text and curves anew each time."""

    def __init__(self, shared: Panels) -> None:
        height, width, _ = shared.target.shape
        self._annotator = Annotator(shared.target)
        self._covered = np.empty((height, width), np.uint8)
        self._tints = shared.palette.astype(np.int32)
        self._frame = np.empty((height, 3 * width, 3), np.uint8)
        self._frame[:, 2 * width :] = shared.target

    def compose(self, drawing: Drawing, caption: Caption) -> Pixels:
        """The frame (height, 3 * width, 3); the next call draws over it."""
        width = drawing.gray.shape[1]
        cover(drawing, self._covered)
        panels.paint(drawing.gray, self._covered, drawing.colours, np.array(RED), self._tints, self._frame)
        for row, column, pixels in self._annotator.patches(caption, is_constant(drawing)):
            down, across, _ = pixels.shape
            self._frame[row : row + down, 2 * width + column : 2 * width + column + across] = pixels
        return self._frame


class FilmComposer:
    """Composes frames as a film's planes: brightness (height, width), two colour differences of half the size.

    Panels of an odd width or height are made even by repeating their last column or row.
    """

    def __init__(self, shared: Panels, planes: tuple[Pixels, Pixels, Pixels]) -> None:
        height, width, _ = shared.target.shape
        self._annotator = Annotator(shared.target)
        self._covered = np.empty((height, width), np.uint8)
        self._planes = planes
        self._width = width + width % 2
        self._tints = video_values(shared.palette)
        self._shades = video_values(np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1))[0]
        self._line = video_values(np.array((RED,), np.uint8))[:, 0]
        for plane in planes[1:]:
            plane[:, self._width // 2 : self._width] = panels.NO_COLOUR
        self._put(0, 2 * self._width, shared.target)

    def compose(self, drawing: Drawing, caption: Caption) -> None:
        """Writes the frame into the planes."""
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
