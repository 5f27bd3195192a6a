"""Network to picture: prediction with boundaries, prediction, target with sample points and text."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from engine.backends.base import Backend
from engine.config import Config
from engine.image import Picture, Split
from engine.trainer import CONSTANT_SPREAD

RED, BLUE, CYAN = (255, 0, 0), (0, 0, 255), (0, 255, 255)
INK, PAPER, WARNING = (255, 255, 255), (0, 0, 0), (255, 200, 0)
SMALLEST_TEXT = 6
# Enough to keep a core busy, few enough for its cache.
TILE_PIXELS = 2**16
CONSTANT_WARNING = "Constant output"

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Drawing:
    """What a network draws: gray values and boundaries (height, width), regions seen, the range of its outputs."""

    gray: Pixels
    boundaries: NDArray[np.bool_]
    polytopes: int
    lowest: float
    highest: float


def draw(backend: Backend, width: int, height: int, chunk_size: int) -> Drawing:
    """Draws the network at every pixel's own place, evaluating at most `chunk_size` points at once."""
    gray = np.empty((height, width), np.uint8)
    signatures = np.empty((height, width), np.int64)
    ranges: list[tuple[float, float]] = []

    for tile in _tiles(width, height, min(chunk_size, TILE_PIXELS)):
        outputs, signatures[tile] = _evaluate_tile(backend, tile, width, height, chunk_size)
        ranges.append((float(outputs.min()), float(outputs.max())))
        outputs *= 255
        np.nan_to_num(outputs, copy=False, nan=0.0)
        gray[tile] = np.clip(outputs, 0, 255, out=outputs)
    boundaries, polytopes = _regions(signatures)
    return Drawing(gray, boundaries, polytopes, min(low for low, _ in ranges), max(high for _, high in ranges))


def _tiles(width: int, height: int, pixels: int) -> list[tuple[slice, slice]]:
    """Slices (rows, columns) that cover the picture with at most `pixels` each."""
    across = min(width, pixels)
    down = max(1, pixels // across)
    return [
        (slice(top, min(top + down, height)), slice(left, min(left + across, width)))
        for top in range(0, height, down)
        for left in range(0, width, across)
    ]


def _evaluate_tile(
    backend: Backend, tile: tuple[slice, slice], width: int, height: int, chunk_size: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Outputs and signatures (rows, columns) of a tile of the picture.

    A set of one activation pattern is convex, and on it the network is affine. So where the corners of a cell share
    their pattern, the cell has it, and its outputs follow from the corners; only the other cells are evaluated.
    """
    down, across = (part.stop - part.start for part in tile)
    cell = backend.cell
    rows, columns = -(-down // cell), -(-across // cell)
    y, x = (np.arange(part.start, part.start + count * cell + 1, dtype=np.float64) for part, count in
            zip(tile, (rows, columns), strict=True))  # fmt: skip
    y, x = (y / height).astype(np.float32), (x / width).astype(np.float32)

    def evaluate(points: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        parts = [backend.evaluate_in_memory(part) for part in torch.from_numpy(points).split(chunk_size, 1)]
        outputs, signatures = zip(*parts, strict=True)
        return torch.cat(outputs, 1)[0].numpy(), torch.cat(signatures).numpy()

    if cell == 1:
        outputs, signatures = evaluate(_grid(y[:down], x[:across]))
        return outputs.reshape(down, across), signatures.reshape(down, across)

    corners, patterns = (values.reshape(rows + 1, columns + 1) for values in evaluate(_grid(y[::cell], x[::cell])))
    first = patterns[:-1, :-1]
    mixed = (patterns[:-1, 1:] != first) | (patterns[1:, :-1] != first) | (patterns[1:, 1:] != first)
    steps = np.arange(cell, dtype=np.float32) / cell
    origin = corners[:-1, :-1]
    outputs = np.empty((rows, cell, columns, cell), np.float32)
    outputs[:] = (origin[:, None] + (corners[1:, :-1] - origin)[:, None] * steps[:, None])[..., None]
    outputs += ((corners[:-1, 1:] - origin)[..., None] * steps)[:, None]
    signatures = np.empty((rows, cell, columns, cell), np.int64)
    signatures[:] = first[:, None, :, None]

    down_cell, across_cell = np.nonzero(mixed)
    if down_cell.size:
        inside_y = np.broadcast_to(y[:-1].reshape(rows, cell, 1)[down_cell], (down_cell.size, cell, cell))
        inside_x = np.broadcast_to(x[:-1].reshape(columns, 1, cell)[across_cell], (down_cell.size, cell, cell))
        values, found = evaluate(np.stack((inside_x.reshape(-1), inside_y.reshape(-1))))
        outputs.transpose(0, 2, 1, 3)[mixed] = values.reshape(-1, cell, cell)
        signatures.transpose(0, 2, 1, 3)[mixed] = found.reshape(-1, cell, cell)
    size = rows * cell, columns * cell
    return outputs.reshape(size)[:down, :across], signatures.reshape(size)[:down, :across]


def _grid(y: NDArray[np.float32], x: NDArray[np.float32]) -> NDArray[np.float32]:
    """All points of rows y and columns x, (2, rows * columns): x above y, row by row."""
    points = np.empty((2, y.size, x.size), np.float32)
    points[0], points[1] = x, y[:, None]
    return points.reshape(2, -1)


def _regions(signatures: NDArray[np.int64]) -> tuple[NDArray[np.bool_], int]:
    """Which pixels have a neighbour of another signature, and how many signatures there are."""
    beside = signatures[:, 1:] != signatures[:, :-1]
    below = signatures[1:] != signatures[:-1]
    boundaries = np.zeros(signatures.shape, np.bool_)
    boundaries[:, 1:] |= beside
    boundaries[:, :-1] |= beside
    boundaries[1:] |= below
    boundaries[:-1] |= below
    # Every region begins somewhere in a row; to sort those pixels alone is much less than to sort all.
    starts = np.concatenate((signatures[:, 0], signatures[:, 1:][beside]))
    return boundaries, int(np.unique(starts).size)


@dataclass(frozen=True)
class Caption:
    """Lines of text over the third panel."""

    lines: tuple[str, ...]


def caption(config: Config, epoch: int, losses: tuple[float, float] | None) -> Caption:
    """What a frame says of its run; `losses` are of training and validation, None before the first epoch."""
    train, validation = (f"{loss:.4f}" for loss in losses) if losses else ("-", "-")
    shape = config.shape if len(config.shape) <= 30 else config.shape[:29] + "…"
    return Caption(
        (
            f"Epoch: {epoch}",
            f"Train Loss: {train}",
            f"Val Loss: {validation}",
            f"Shape: {shape}",
            f"Seed: {'none' if config.seed is None else config.seed}",
            f"Points: {config.points}",
            f"LR: {config.learning_rate}",
            f"Optimizer: {config.optimizer}",
        )
    )


class Composer:
    """Puts three panels side by side, each the image's size; the third one's picture is made once."""

    def __init__(self, picture: Picture, split: Split) -> None:
        target = np.repeat(picture.pixels[:, :, None], 3, axis=2)  # (height, width, 3)
        flat = target.reshape(-1, 3)
        flat[split.validation.numpy()] = BLUE
        flat[split.training.numpy()] = RED
        self._target = target

    def compose(self, drawing: Drawing, caption: Caption) -> Pixels:
        """The frame (height, 3 * width, 3), with its caption over the third panel."""
        height, width = drawing.gray.shape
        frame = np.empty((height, 3 * width, 3), np.uint8)
        for channel in range(3):  # one channel at a time: five times as fast as all three by broadcasting
            level = np.uint8(RED[channel])
            frame[:, :width, channel] = np.where(drawing.boundaries, level, drawing.gray)
            frame[:, width : 2 * width, channel] = drawing.gray
        frame[:, 2 * width :] = self._target
        constant = drawing.highest - drawing.lowest < CONSTANT_SPREAD
        _write(frame[:, 2 * width :], caption.lines, CONSTANT_WARNING if constant else None)
        return frame


def _write(panel: Pixels, lines: Sequence[str], warning: str | None) -> None:
    """Writes text on the top of a panel (height, width, 3) in place: as large as fits, as many lines as fit."""
    height, width, _ = panel.shape
    lines = [warning, *lines] if warning else list(lines)
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    size = max(SMALLEST_TEXT, min(height // 30, 64))
    while lines:
        font, pad, text = ImageFont.load_default(size), size // 2, "\n".join(lines)
        left, top, right, bottom = measure.multiline_textbbox((0, 0), text, font, spacing=size // 3)
        across, down = int(right - left) + 2 * pad, int(bottom - top) + 2 * pad
        if across <= width and down <= height:
            break
        if size > SMALLEST_TEXT:
            size = max(SMALLEST_TEXT, size * 4 // 5)
        else:
            lines.pop()
    else:
        return
    label = Image.new("RGB", (across, down), PAPER)
    ink = WARNING if warning else INK
    ImageDraw.Draw(label).multiline_text((pad - left, pad - top), text, ink, font, spacing=size // 3)
    panel[:down, :across] = np.asarray(label)


def smoothed(picture: Picture, split: Split, sigma: float) -> Pixels:
    """What the training points alone tell: their Gaussian-smoothed values over their smoothed density.

    (height, 2 * width, 3): beside it the original; cyan where no point is near.
    """
    from scipy.ndimage import gaussian_filter

    indices = split.training.numpy()
    values = np.zeros(picture.pixels.shape, np.float32)
    density = np.zeros(picture.pixels.shape, np.float32)
    values.reshape(-1)[indices] = picture.pixels.reshape(-1)[indices]
    density.reshape(-1)[indices] = 1.0
    # Past the image's longest side a Gaussian meets no point, and its norm cancels in the quotient.
    radius = int(min(4 * sigma + 0.5, max(values.shape)))
    values, density = (gaussian_filter(grid, sigma, mode="constant", radius=radius) for grid in (values, density))
    known = density > np.finfo(np.float32).tiny
    mean = np.divide(values, density, out=np.zeros_like(values), where=known)
    gray = np.clip(np.rint(mean), 0, 255).astype(np.uint8)
    left = np.where(known[:, :, None], gray[:, :, None], np.array(CYAN, np.uint8))
    return np.concatenate((left, np.repeat(picture.pixels[:, :, None], 3, axis=2)), axis=1)
