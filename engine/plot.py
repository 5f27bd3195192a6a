"""Plots of a finished run, from its `metrics.csv`."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from draw_poly.engine.disk import read, write_whole
from draw_poly.engine.metrics import Numbers, polytopes_of, rows_up_to

# What the import of Matplotlib heeds, and what it is to find.
ENVIRONMENT = {"MPLBACKEND": "agg", "MATPLOTLIBRC": os.devnull}


def plot(metrics: Path, losses: Path, polytopes: Path) -> list[Path]:
    """Draws the losses and the number of polytopes over epochs; returns the files written, none without a row."""
    rows, numbers, _ = rows_up_to(read(metrics), sys.maxsize)
    if not rows:
        return []
    seen = [
        (int(epoch), int(count)) for epoch, count in zip(numbers[:, 0], map(polytopes_of, rows), strict=True) if count
    ]
    with _settings_of_our_own():
        return _plotted(numbers, seen, losses, polytopes)


def _plotted(numbers: Numbers, seen: list[tuple[int, int]], losses: Path, polytopes: Path) -> list[Path]:
    """Plots the columns of numbers (rows, 5), and the polytopes `seen` at some epochs."""
    # Figures without pyplot keep no global state and need no display.
    from matplotlib.figure import Figure

    epochs, task, code, validation, _ = numbers.T
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for column, label in ((task, "task"), (validation, "validation")):
        axes.plot(epochs, column, label=f"{label}, mean squared error", linewidth=1)
    if code.any():
        axes.plot(epochs, code, label="Kolmogorov, nats a parameter", linewidth=1)
    axes.set(xlabel="epoch", ylabel="loss", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    write_whole(losses, partial(figure.savefig, dpi=120, format="png"))
    written = [losses]
    if seen:
        figure = Figure(figsize=(8, 5), layout="constrained")
        axes = figure.subplots()
        axes.plot(*zip(*seen, strict=True), linewidth=1, marker="." if len(seen) < 50 else None)
        axes.set(xlabel="epoch", ylabel="polytopes visible in the frame")
        axes.grid(alpha=0.3)
        write_whole(polytopes, partial(figure.savefig, dpi=120, format="png"))
        written.append(polytopes)
    return written


@contextmanager
def _settings_of_our_own() -> Iterator[None]:
    """Matplotlib as it comes, whatever a user's files, variables, notebook and filters say; these stay as they are."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            import matplotlib

            with matplotlib.rc_context():
                matplotlib.rcdefaults()
                yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
