"""What a frame says over its third panel: lines of text, and the losses as curves that grow with the run."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from draw_poly.engine.config import Config
from draw_poly.engine.record.measures import CAPTIONED, CURVES, CaptionLine, Colour, Row
from draw_poly.kernels.picture import panels

Pixels = NDArray[np.uint8]
Curve = NDArray[np.float64]

INK, WARNING = (255, 255, 255), (255, 200, 0)
# Lines that change from frame to frame; the others are drawn once.
FRESH = {task: tuple(line for _, line in captioned) for task, captioned in CAPTIONED.items()}
SMALLEST_TEXT, SMALL_TEXT, LARGEST_TEXT = 8, 10, 96
CONSTANT_WARNING = "Constant output"
# How much of the target is left to see under text and curves.
SHADE = 0.3
# Of a panel's height, text may take the first share and the curves the second; below SMALLEST_CURVES there are none.
TEXT_SHARE, CURVES_SHARE, SMALLEST_CURVES = 0.55, 1 / 6, 96
LEAST_LOSS = 1e-12
# Epochs whose losses may wait to be made part of the curves.
MOST_PENDING = 2**14


@dataclass(frozen=True)
class Caption:
    """Lines of text, of which the first, `fresh`, change; curves (kinds, 2, columns): least, greatest logarithms."""

    lines: tuple[str, ...]
    curves: Curve | None = None
    fresh: tuple[CaptionLine, ...] = FRESH["gray"]


def caption(config: Config, values: Row, curves: "LossCurves | None" = None) -> Caption:
    """What a frame says of its run and of its epoch's values, some of which may not be there."""
    captioned, task = CAPTIONED[config.task], config.learnt
    shape = config.shape if len(config.shape) <= 30 else config.shape[:29] + "…"
    fresh = (
        f"{line.text}: {format(values[one.name], line.cell) if one.name in values else '-'}" for one, line in captioned
    )
    lines = (
        *fresh,
        f"Shape: {shape}",
        f"Seed: {'none' if config.seed is None else config.seed}",
        f"Points: {config.points}",
        f"LR: {config.learning_rate}",
        *([f"Final Act: {config.final_activation}"] if task.classes else []),
        f"Optimizer: {config.optimizer}",
    )
    return Caption(lines, curves.drawn() if curves else None, FRESH[config.task])


class LossCurves:
    """The measures that are curves over the epochs of a run, as many columns as a panel has, whatever its length.

    Epochs are as far apart as in the film, whether they have a frame or not.
    """

    def __init__(self, columns: int, config: Config) -> None:
        self._schedule, self._end = config.frames, config.frames.position(config.epochs)
        self._columns = columns
        # Kind of loss, least and greatest, column.
        self._limits = np.full((len(CURVES), 2, columns), np.nan)
        self._pending: list[tuple[float, ...]] = []

    def add(self, epoch: int, *losses: float) -> None:
        """The losses of an epoch."""
        self.add_all([(epoch, *losses)])

    def add_all(self, rows: Iterable[tuple[float, ...]]) -> None:
        """Those of many, each a number and its losses (1 + kinds)."""
        self._pending += rows
        if len(self._pending) > MOST_PENDING:
            self._settle()

    def extend(self, rows: NDArray[np.float64]) -> None:
        """The losses of many epochs, rows (n, 1 + kinds) of epoch and losses; NaN where there is none."""
        last = self._columns - 1
        columns = np.minimum(last, (self._schedule.positions(rows[:, 0]) / self._end * last + 0.5).astype(np.int64))
        touched = np.unique(columns)
        for limits, losses in zip(self._limits, rows[:, 1:].T, strict=True):
            known = np.where(losses >= 0, losses, np.nan)
            for limit, narrow in zip(limits, (np.fmin, np.fmax), strict=True):
                ends = np.full(self._columns, np.nan)
                narrow.at(ends, columns, known)
                logarithms = [math.log10(max(loss, LEAST_LOSS)) for loss in ends[touched].tolist()]
                limit[touched] = narrow(limit[touched], logarithms)

    def drawn(self) -> Curve | None:
        """Logarithms (kinds, 2, columns) up to the last epoch, gaps filled by straight lines; None before the first.

        NaN where there is none, as of a loss below zero.
        """
        self._settle()
        if np.isnan(self._limits).all():
            return None
        curves = np.full_like(self._limits, np.nan)
        for target, limits in zip(
            curves.reshape(-1, self._columns), self._limits.reshape(-1, self._columns), strict=True
        ):
            known = np.flatnonzero(~np.isnan(limits))
            if known.size:
                between = np.arange(known[0], known[-1] + 1)
                target[between] = np.interp(between, known, limits[known])
        return curves

    def _settle(self) -> None:
        if self._pending:
            self.extend(np.array(self._pending))
        self._pending.clear()


class Annotator:
    """Draws captions over a target panel (height, width, 3)."""

    def __init__(self, target: Pixels) -> None:
        self._target = target
        height, width, _ = target.shape
        strip = int(height * CURVES_SHARE) if min(height, width) >= SMALLEST_CURVES else 0
        self._strip_top = (height - strip) // 2 * 2
        self._strip = _shaded(target[self._strip_top :])
        self._label: _Label | None = None

    def patches(self, caption: Caption, constant: bool) -> list[tuple[int, int, Pixels]]:
        """What replaces parts of the target: row and column, both even, and pixels; the same places in every frame."""
        made = []
        if self._label is None or self._label.fixed != caption.lines[len(caption.fresh) :]:
            self._label = _Label(self._target, caption)
        if self._label.pixels.size:
            made.append((0, 0, self._label.draw(caption.lines, constant)))
        if self._strip.size:
            strip = self._strip.copy()
            if caption.curves is not None:
                _draw_curves(caption.curves, strip)
            made.append((self._strip_top, 0, strip))
        return made


class _Label:
    """The text's place: as large as fits, as many lines as fit; what does not change is drawn once."""

    def __init__(self, target: Pixels, caption: Caption) -> None:
        self._fresh, self.fixed = caption.fresh, caption.lines[len(caption.fresh) :]
        height, width, _ = target.shape
        widest = [f"{line.text}: {line.widest}" for line in self._fresh]
        longest = [*widest[: len(caption.lines)], *self.fixed]
        size = max(SMALL_TEXT, min(height // 36, LARGEST_TEXT))
        while longest:
            self._font, self._pad, self._step = ImageFont.load_default(size), max(2, size // 3), math.ceil(size * 1.3)
            across = math.ceil(max(self._font.getlength(line) for line in longest)) + 2 * self._pad
            down = len(longest) * self._step + 2 * self._pad
            if across <= width and down <= height * TEXT_SHARE:
                break
            if size > SMALLEST_TEXT:
                size = max(SMALLEST_TEXT, size * 9 // 10)
            else:
                longest.pop()
        if not longest:
            self.pixels = target[:0, :0]
            return
        self._count = len(longest)
        across, down = across + across % 2, down + down % 2
        # One line more than there is text: the place of a warning.
        self.pixels = target[: min(height, (down + self._step + 1) // 2 * 2), :across].copy()
        self.pixels[:down] = _shaded(self.pixels[:down])
        self.pixels = self._write(self.pixels, self.fixed[: max(0, self._count - len(self._fresh))], len(self._fresh))

    def draw(self, lines: tuple[str, ...], constant: bool) -> Pixels:
        """The label with its changing lines, and a warning where the output is constant."""
        count = min(len(self._fresh), self._count)
        made = self._write(self.pixels, lines[:count], 0)
        return self._write(made, (CONSTANT_WARNING,), self._count, WARNING) if constant else made

    def _write(self, pixels: Pixels, lines: tuple[str, ...], first: int, ink: Colour = INK) -> Pixels:
        image = Image.fromarray(pixels)
        canvas = ImageDraw.Draw(image)
        for index, line in enumerate(lines, first):
            own = self._fresh[index].colour if index < len(self._fresh) and ink is INK else None
            canvas.text((self._pad, self._pad + index * self._step), line, own or ink, self._font)
        return np.array(image)


def _shaded(pixels: Pixels) -> Pixels:
    return (pixels * SHADE).astype(np.uint8)


def _draw_curves(curves: Curve, strip: Pixels) -> None:
    """Draws losses on a strip (height, width, 3), their logarithms from its lower to its upper edge."""
    height = strip.shape[0]
    lowest, highest = np.nanmin(curves), np.nanmax(curves)
    margin = height * 0.1
    scale = (height - 2 * margin) / max(highest - lowest, 0.01)
    thickness = max(1.2, height / 70)
    for (least, greatest), (_, colour) in zip(curves, CURVES, strict=True):
        # Rows grow downwards: the greatest loss is the upper end of a stroke.
        upper, lower = margin + (highest - greatest) * scale, margin + (highest - least) * scale
        middle = (upper + lower) / 2
        meeting = (middle[1:] + middle[:-1]) / 2
        upper[1:], upper[:-1] = np.fmin(upper[1:], meeting), np.fmin(upper[:-1], meeting)
        lower[1:], lower[:-1] = np.fmax(lower[1:], meeting), np.fmax(lower[:-1], meeting)
        panels.draw_strokes(upper - thickness / 2, lower + thickness / 2, np.array(colour, np.float64), strip)
