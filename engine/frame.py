"""Network to picture: prediction with boundaries, prediction, target with sample points and text."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from engine.backend import Backend
from engine.config import Config
from engine.image import Picture, Split, column_coordinates
from engine.trainer import CONSTANT_SPREAD

RED, BLUE, CYAN = (255, 0, 0), (0, 0, 255), (0, 255, 255)
INK, PAPER, WARNING = (255, 255, 255), (0, 0, 0), (255, 200, 0)
SMALLEST_TEXT = 6
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
    """Evaluates the network at every pixel's own place, at most `chunk_size` points at once."""
    columns, rows = column_coordinates(width).to(backend.device), column_coordinates(height).to(backend.device)
    gray = np.empty((height, width), np.uint8)
    signatures = np.empty((height, width), np.int64)
    ranges: list[tuple[float, float]] = []

    def evaluate(tile: tuple[slice, slice]) -> None:
        with torch.inference_mode():
            down, across = tile
            y, x = torch.meshgrid(rows[down], columns[across], indexing="ij")
            outputs, signature = backend.evaluate(torch.stack((x.reshape(-1), y.reshape(-1))))
            lowest, highest = torch.aminmax(outputs)
            values = (outputs * 255).nan_to_num_(0.0).clamp_(0, 255).to(torch.uint8)
            gray[tile] = values.view(x.shape).cpu().numpy()
            signatures[tile] = signature.view(x.shape).cpu().numpy()
            ranges.append((lowest.item(), highest.item()))

    backend.tiles(evaluate, _tiles(width, height, backend.tile_points(backend.device, chunk_size)))
    boundaries, polytopes = _regions(signatures)
    return Drawing(gray, boundaries, polytopes, min(low for low, _ in ranges), max(high for _, high in ranges))


def _tiles(width: int, height: int, points: int) -> list[tuple[slice, slice]]:
    """Slices (rows, columns) that cover the picture with at most `points` pixels each."""
    across = min(width, points)
    down = max(1, points // across)
    return [
        (slice(top, min(top + down, height)), slice(left, min(left + across, width)))
        for top in range(0, height, down)
        for left in range(0, width, across)
    ]


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
