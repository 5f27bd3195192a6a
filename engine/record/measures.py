"""The quantities of a run, one record each: what log, `metrics.csv`, plots and captions know of them.

A new quantity is an attribute of `Epochs`, or of a frame's `Drawing`, and a record here that bears its name.
"""

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from draw_poly.engine.pictures.drawing import Drawing
from draw_poly.engine.task import TASKS
from draw_poly.engine.training.trainer import Epoch, Epochs

# The values of an epoch by their measures' names; those of frames only where the epoch has one.
Row = Mapping[str, float]
# Those of several epochs, (epochs,) each.
Columns = Mapping[str, Sequence[float]]
# Those of epochs whose networks were coded, by epoch.
Coded = Mapping[int, Row]
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Figure:
    """A plot over epochs, `name.png`; where it has several curves, each has its measure's meaning beside it."""

    name: str
    label: str
    logarithmic: bool = False


@dataclass(frozen=True)
class CaptionLine:
    """What a frame says of a quantity: `text: value`. `widest` is a value as long as they come.

    One that has a colour is written in it, and is a curve over the epochs below.
    """

    text: str
    cell: str
    widest: str
    colour: Colour | None = None


@dataclass(frozen=True)
class Measure:
    """A quantity, `of_frames`, `of_codes` or of every epoch.

    `meaning` is what it is, with its unit. `column` is its place in `metrics.csv` and `cell` the format there; without
    them it has none. `later` are columns that tables of an earlier version lack, and so are empty in some rows. `said`
    is its part of the log's line of an epoch, or of a frame. `tasks` are the names of those that have it, all where
    there are none; in a meaning, `{scored}` is the task's loss.
    """

    name: str
    meaning: str
    cell: str = ""
    column: int | None = None
    later: bool = False
    of_frames: bool = False
    of_codes: bool = False
    said: str = ""
    figure: Figure | None = None
    caption: CaptionLine | None = None
    tasks: tuple[str, ...] = ()

    def is_of(self, task: str) -> bool:
        """Whether runs of a task have it."""
        return not self.tasks or task in self.tasks

    @property
    def of_some(self) -> bool:
        """Whether epochs may be without it."""
        return self.of_frames or self.of_codes


LOSSES = Figure("losses", "loss", logarithmic=True)
POLYTOPES = Figure("polytopes", "polytopes visible in the frame")
BITS = Figure("bits", "bits of the coded network")
RED, BLUE = (255, 120, 120), (125, 175, 255)  # of the points that train and validate, lighter

# In the order in which log, captions and plots show them.
MEASURES = (
    Measure("epoch", "finished epochs", "d", 0, caption=CaptionLine("Epoch", "d", "00000")),
    Measure("combined", "what is trained: task and weighted Kolmogorov loss", ".9g", 6, later=True,
            said="Combined Loss: {combined:.6f}", caption=CaptionLine("Train Loss", ".4f", "00.0000", RED)),
    Measure("task", "task, {scored}", ".9g", 1, said=" (Task: {task:.6f}", figure=LOSSES),
    Measure("weighted", "Kolmogorov loss times its weight", said=" + λ·K: {weighted:.6f})"),
    Measure("validation", "validation, {scored}", ".9g", 3, said=", Val Loss: {validation:.6f}",
            figure=LOSSES, caption=CaptionLine("Val Loss", ".4f", "00.0000", BLUE)),
    Measure("kolmogorov", "Kolmogorov, nats a parameter", ".9g", 2, figure=LOSSES),
    Measure("seconds", "seconds of the epoch", ".6f", 5),
    Measure("evaluations", "points evaluated for the frame", of_frames=True, said="{evaluations} evaluations"),
    Measure("pixels", "pixels of a panel", of_frames=True, said=" for {pixels} pixels"),
    Measure("polytopes", "polytopes visible in the frame", "d", 4, of_frames=True, said=", {polytopes} polytopes",
            figure=POLYTOPES),
    Measure("bits", "file of the network, header and predictor included", "d", 7, later=True, of_codes=True,
            figure=BITS),
    Measure("network_bits", "of which the network", "d", 8, later=True, of_codes=True, figure=BITS),
    Measure("coded", "validation of the network as coded", ".9g", 9, later=True, of_codes=True, figure=LOSSES),
    Measure("psnr", "peak signal-to-noise ratio of the picture, decibels", ".4f", 10, later=True, of_frames=True,
            said=", PSNR {psnr:.2f} dB", caption=CaptionLine("PSNR", ".2f", "000.00"), tasks=("rgb",)),
    Measure("misclassified", "training points that are given another class", "d", 11, later=True, of_frames=True,
            said=", {misclassified} misclassified", caption=CaptionLine("Misclassified", "d", "000000"),
            tasks=("classes",)),
)  # fmt: skip

# Of exact regions, in the order of the columns of `regions.csv`, which has a row for each epoch that was subdivided.
REGION_MEASURES = (
    Measure("epoch", "finished epochs", "d"),
    Measure("regions", "linear regions of the square", "d"),
    Measure("born", "patterns that were not there at the row before", "d"),
    Measure("died", "patterns that are not there any more", "d"),
    Measure("kept_area", "share of the square whose pattern was there before", ".9g"),
    Measure("moved_area", "share of the square that patterns won from others", ".9g"),
    Measure("age", "epochs since a point's pattern was first seen, mean over the square", ".9g"),
    Measure("lifetime", "epochs that those lived which died, median", ".9g"),
    Measure("walls", "length of boundaries, mean of the layers, in sides of the square", ".9g"),
    Measure("sides", "sides of a region, mean", ".9g"),
    Measure("area_median", "area of a region, median", ".9g"),
    Measure("area_gini", "Gini coefficient of the areas", ".9g"),
    Measure("area_entropy", "entropy of the areas, nats", ".9g"),
    Measure("gradient", "length of the output's gradient, root of its mean square over the square", ".9g"),
    Measure("variation", "total variation of the output: its gradient's length, integrated", ".9g"),
    Measure("wall_median", "distance of a training point to its region's nearest wall, median", ".9g"),
    Measure("wall_near", "distance of a training point to its region's nearest wall, 5 % quantile", ".9g"),
    Measure("dead", "neurons without a boundary in the square", "d"),
    Measure("extrema", "local extrema of the output inside of the square", "d"),
    Measure("undecided", "signs of vertices within rounding of zero", "d"),
)
REGION_HEADER = ",".join(one.name for one in REGION_MEASURES) + "\n"
_REGION_ROW = ",".join(f"{{{one.name}:{one.cell}}}" for one in REGION_MEASURES) + "\n"

COLUMNS = tuple(sorted((one for one in MEASURES if one.column is not None), key=lambda one: one.column or 0))
NAMES = tuple(one.name for one in COLUMNS)
# What frames say of each task, and lines that change from frame to frame.
CAPTIONED = {task: tuple((one, one.caption) for one in MEASURES if one.caption and one.is_of(task)) for task in TASKS}
# What a frame that is still to be drawn keeps of its epoch, in this order.
KEPT = tuple(one.name for one in MEASURES if one.caption and not one.of_frames and one.name != "epoch")
# Drawn as curves, with their colours.
CURVES = tuple((one.name, one.caption.colour) for one in MEASURES if one.caption and one.caption.colour)
FIGURES = tuple(dict.fromkeys(one.figure for one in MEASURES if one.figure))


_OF_EPOCH = tuple(one.name for one in MEASURES if not one.of_some and one.name != "epoch")
_OF_FRAME = tuple(one.name for one in MEASURES if one.of_frames and not one.tasks)
_EPOCH_LINE = "Epoch {epoch}/{last} - " + "".join(one.said for one in MEASURES if not one.of_some)
_FRAME_PARTS = {one.name: one.said for one in MEASURES if one.of_frames}


def of_epochs(epochs: Epochs) -> Columns:
    """The values of epochs."""
    numbers = range(epochs.first, epochs.last + 1)
    return {"epoch": numbers, **{name: getattr(epochs, name).tolist() for name in _OF_EPOCH}}


def of_epoch(number: int, epoch: Epoch) -> Row:
    """The values of one epoch."""
    return {"epoch": number, **{name: getattr(epoch, name) for name in _OF_EPOCH}}


def of_frame(drawing: Drawing) -> Row:
    """The values of a frame, with what its task has measured."""
    return {**{name: getattr(drawing, name) for name in _OF_FRAME}, **drawing.scores}


def region_row(values: Row) -> str:
    """A row of `regions.csv`; what is not known of an epoch (NaN) is left empty."""
    return _REGION_ROW.format_map(values).replace("nan", "")


def last_of(columns: Columns) -> Row:
    """The values of the last epoch."""
    return {name: column[-1] for name, column in columns.items()}


def lines(template: str, columns: Mapping[str, Sequence[object]]) -> list[str]:
    """A template that names columns, with the values of each row in turn."""
    names, placed = _by_place(template)
    return [placed.format(*values) for values in zip(*(columns[name] for name in names), strict=True)]


@cache
def _by_place(template: str) -> tuple[tuple[str, ...], str]:
    """Its names, and the template without them: a dictionary for each row would take longer than the text."""
    parts = [(text, name, cell) for text, name, cell, _ in string.Formatter().parse(template)]
    placed = "".join(text + ("" if name is None else f"{{:{cell}}}") for text, name, cell in parts)
    return tuple(name for _, name, _ in parts if name is not None), placed


def epoch_lines(columns: Columns, last: int) -> list[str]:
    """The log's lines of epochs of so many, as people parse them."""
    return lines(_EPOCH_LINE.replace("{last}", str(last)), columns)


def bar_text(row: Row) -> str:
    """What a progress bar says beside its rate: the curves' values."""
    return ", ".join(f"{name} {row[name]:.6f}" for name, _ in CURVES)


def frame_line(epoch: int, row: Row) -> str:
    """The log's line of what a frame after an epoch holds."""
    said = "".join(part.format_map(row) for name, part in _FRAME_PARTS.items() if name in row)
    return f"Frame @ epoch {epoch}: {said}"
