"""The curves beside a picture: losses, and regions with their births and deaths, over the epochs."""

from typing import Any

import numpy as np
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, LayoutDOM, Range1d, Span
from bokeh.plotting import figure

from draw_poly.engine.view.tables import Numbers

LOSSES = {"task": "#d62728", "validation": "#1f77b4", "kolmogorov": "#9467bd"}
REGIONS = {"regions": "#222222", "born": "#2ca02c", "died": "#ff7f0e"}
WIDTH, HEIGHT = 460, 330


class Curves:
    """Two figures over epochs, each with a mark at the one that is looked at."""

    def __init__(self) -> None:
        self._sources = {"losses": _source(LOSSES), "regions": _source(REGIONS)}
        self._epochs = Range1d(0, 1)
        losses = self._figure("losses", LOSSES, y_axis_type="log", y_axis_label="loss")
        losses.yaxis.minor_tick_line_color = None
        regions = self._figure("regions", REGIONS, y_axis_label="regions, births and deaths", x_axis_label="epoch")
        self.figures = [losses, regions]
        self.marks = [Span(location=None, dimension="height", line_color="#888888") for _ in self.figures]
        for one, mark in zip(self.figures, self.marks, strict=True):
            one.add_layout(mark)
        self.layout: LayoutDOM = column(losses, regions)

    def _figure(self, name: str, colours: dict[str, str], **words: Any) -> figure:
        made = figure(
            width=WIDTH, height=HEIGHT, x_range=self._epochs, tools="xpan,xwheel_zoom,box_zoom,reset,tap", name=name,
            output_backend="canvas", **words,
        )  # fmt: skip
        for one, colour in colours.items():
            made.line("epoch", one, source=self._sources[name], color=colour, legend_label=one)
        for item in made.legend.items:
            item.visible = False  # until it has a value
        made.legend.location = "top_right" if colours is LOSSES else "top_left"
        made.legend.background_fill_alpha = 0.6
        made.legend.click_policy = "hide"
        return made

    def update(self, name: str, columns: dict[str, Numbers], anew: bool = False) -> None:
        """Shows the values of `losses` or `regions` with their `epoch`, if they are others than those that are shown.

        A curve breaks where a value is not known.
        """
        source, epochs = self._sources[name], columns["epoch"]
        there = source.data["epoch"]
        if not anew and len(epochs) == len(there) and (not len(there) or epochs[-1] == there[-1]):
            return
        if name == "losses":  # a logarithm has none of zero
            columns = {one: np.where(column > 0, column, np.nan) for one, column in columns.items()}
        source.data = columns
        (legend,) = next(one for one in self.figures if one.name == name).legend
        for item in legend.items:
            item.visible = bool(np.isfinite(columns[item.label.value]).any())
        last = max(
            (float(one.data["epoch"][-1]) for one in self._sources.values() if len(one.data["epoch"])), default=1
        )
        self._epochs.update(end=last, reset_end=last)


def _source(colours: dict[str, str]) -> ColumnDataSource:
    return ColumnDataSource({name: [] for name in ("epoch", *colours)})
