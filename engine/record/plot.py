"""Plots of a finished run, from its `metrics.csv`."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from draw_poly.engine.record.disk import read, write_whole
from draw_poly.engine.record.measures import FIGURES, MEASURES, Figure
from draw_poly.engine.record.table import Table, read_table
from draw_poly.engine.task import TASKS

# What the import of Matplotlib heeds, and what it is to find.
ENVIRONMENT = {"MPLBACKEND": "agg", "MATPLOTLIBRC": os.devnull}


def plot(metrics: Path, folder: Path, scored: str = TASKS["gray"].scored) -> list[Path]:
    """Draws the measures that have a plot over epochs, into a folder; returns the files written, none without a row.

    `scored` is the task's loss, as its legend calls it.
    """
    table = read_table(read(metrics))
    if not table.rows:
        return []
    with settings_of_our_own():
        written = (_plotted(table, figure, folder / f"{figure.name}.png", scored) for figure in FIGURES)
        return [path for path in written if path]


def _plotted(table: Table, figure: Figure, path: Path, scored: str) -> Path | None:
    """Writes a plot; returns its file, None where there is nothing to see on it."""
    # Figures without pyplot keep no global state and need no display.
    import matplotlib.backends.backend_agg
    import matplotlib.figure

    measures = [one for one in MEASURES if one.figure is figure]
    drawn = matplotlib.figure.Figure(figsize=(8, 5), dpi=120, layout="constrained")
    axes = drawn.subplots()
    for one in measures:
        known = ~np.isnan(table.column(one.name))
        epochs, values = table.column("epoch")[known], table.column(one.name)[known]
        if values.size and (values.any() or one is measures[0]):  # all zeros: a term that is off
            marker = "." if one.of_some and values.size < 50 else None
            axes.plot(epochs, values, label=one.meaning.format(scored=scored), linewidth=1, marker=marker)
    if not axes.lines:
        return None
    axes.set(xlabel="epoch", ylabel=figure.label, yscale="log" if figure.logarithmic else "linear")
    axes.grid(alpha=0.3)
    if len(measures) > 1:
        axes.legend()
    # `savefig` would draw it twice.
    write_whole(path, matplotlib.backends.backend_agg.FigureCanvasAgg(drawn).print_png)
    return path


@contextmanager
def settings_of_our_own() -> Iterator[None]:
    """Matplotlib as it comes, whatever a user's files, variables, notebook and filters say; these stay as they are."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            import matplotlib

            # As `rcdefaults` does it, which reads every style sheet.
            with matplotlib.rc_context(matplotlib.rcParamsDefault):
                yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
