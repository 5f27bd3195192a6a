"""A contact sheet: all members of a sweep beside each other, in their order, as they are by now."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from draw_poly.engine.data.image import Picture
from draw_poly.engine.pictures.frame import can_be_filmed
from draw_poly.engine.record.film import Film, continued
from draw_poly.engine.record.picture_file import PictureWriter
from draw_poly.engine.sweep.layout import MARGIN, Words, fitted, font_of, lay_out
from draw_poly.engine.sweep.tiles import TilePainter
from draw_poly.engine.sweep.vary import Member
from draw_poly.kernels.picture import panels

Pixels = NDArray[np.uint8]

PAPER, EMPTY, INK = 24, 44, (225, 225, 225)
# Of members that train no more: the colour of the corner of a tile, and of the word in the heading.
MARKS = {"done": (70, 190, 90), "stopped": (255, 175, 40), "failed": (255, 70, 200)}
MARK_SHARE, LEAST_MARK, RIM = 10, 6, 2
SHEET, FILM = "sheet.png", "sheet.mp4"


class Sheet:
    """A sheet of tiles of the picture's ratio, laid out once; `polytopes` counts those seen on each member's tile."""

    def __init__(self, members: Sequence[Member], picture: Picture) -> None:
        self._layout = layout = lay_out(members, picture.width, picture.height)
        self._members = {one.number: one for one in members if one.number in layout.places}
        self._tiles = TilePainter(*layout.tile)
        self._shown: dict[int, tuple[bytes, str]] = {}  # what a tile shows: its parameters' digest and its mark
        self.polytopes: dict[int, int] = {}
        width, height = layout.size
        self._pixels = np.full((height, width, 3), PAPER, np.uint8)
        self._write(self._pixels, [(words, INK) for words in layout.labels])
        for number in layout.places:
            self._tile(number)[:] = EMPTY

    @property
    def size(self) -> tuple[int, int]:
        """Its width and height, which are even."""
        return self._layout.size

    def draw(self, parameters: Mapping[int, Tensor], status: Mapping[int, str] | None = None, note: str = "") -> Pixels:
        """The sheet (height, width, 3) with members of these parameters (P,), by their numbers; on any device.

        A member without keeps the tile that it has. `status` tells those that are `done`, `stopped` or `failed`; `note`
        is said over the tiles. The next call draws over it.
        """
        status = status or {}
        for number, flat in parameters.items():
            if number in self._members:
                self._show(number, flat.detach().cpu().contiguous(), status.get(number, ""))
        self._head(status, note)
        return self._pixels

    def _show(self, number: int, parameters: Tensor, status: str) -> None:
        """Draws a tile, unless it shows this already."""
        shown = (hashlib.blake2b(parameters.numpy().data, digest_size=16).digest(), status)
        if self._shown.get(number) == shown:
            return
        tile = self._tile(number)
        self.polytopes[number] = self._tiles.paint(self._members[number].config, parameters, tile)
        if colour := MARKS.get(status):
            side = max(LEAST_MARK, min(tile.shape[:2]) // MARK_SHARE)
            corner = tile[:side, -side:]
            rows, columns = np.indices(corner.shape[:2])
            depth = columns - rows + side - corner.shape[1]  # from the mark's long side
            corner[depth >= 0] = PAPER  # a rim, since lines and pictures may be of any shade
            corner[depth >= RIM] = colour
        self._shown[number] = shown

    def _head(self, status: Mapping[int, str], note: str) -> None:
        layout = self._layout
        head = self._pixels[MARGIN // 2 : MARGIN // 2 + 2 * layout.line]
        head[:] = PAPER
        size, room = layout.text_size, layout.size[0] - 2 * MARGIN
        said = [(Words(fitted(layout.title, size, room), MARGIN, 0), INK)]
        left: float = MARGIN
        counts = Counter(status.values())
        for text, colour in [
            (note, INK),
            *((f"{counts[one]} {one}", ink) for one, ink in MARKS.items() if counts[one]),
        ]:
            if text:
                said.append((Words(fitted(text, size, room + MARGIN - left), left, layout.line), colour))
                left += font_of(size).getlength(text) + 2 * size
        self._write(head, said)

    def _write(self, pixels: Pixels, said: Sequence[tuple[Words, tuple[int, int, int]]]) -> None:
        image = Image.fromarray(pixels)
        canvas = ImageDraw.Draw(image)
        for words, colour in said:
            canvas.text((words.left, words.top), words.text, colour, font_of(self._layout.text_size))
        pixels[:] = np.asarray(image)

    def _tile(self, number: int) -> Pixels:
        (left, top), (width, height) = self._layout.places[number], self._layout.tile
        return self._pixels[top : top + height, left : left + width]


class SheetWriter:
    """Writes sheets of one size (width, height) into a folder: the newest as a picture, all of them as a film."""

    def __init__(self, folder: Path, size: tuple[int, int], frames: int = 0, filmed: bool = True) -> None:
        """Goes on after so many frames of a film that is there."""
        self._picture, self._writer = folder / SHEET, PictureWriter("png")
        self.film: Film | None = continued(folder / FILM, size, frames, ()) if filmed and can_be_filmed(*size) else None

    def write(self, pixels: Pixels) -> None:
        """Writes a sheet. Raises OSError where it cannot be."""
        self._writer.write(self._picture, pixels, synced=False)
        if self.film:
            panels.to_video(pixels, *self.film.planes)
            self.film.append_planes()

    def close(self) -> None:
        """Ends the film. Raises OSError where it cannot be."""
        if self.film:
            self.film.close()
