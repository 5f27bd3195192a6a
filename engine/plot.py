"""Plots of a finished run, from its `metrics.csv`."""

import csv
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from engine.picture_file import write_whole

# What the import of Matplotlib heeds, and what it is to find.
ENVIRONMENT = {"MPLBACKEND": "agg", "MATPLOTLIBRC": os.devnull}


def plot(metrics: Path, losses: Path, polytopes: Path) -> list[Path]:
    """Draws the losses and the number of polytopes over epochs; returns the files written, none without a row."""
    with metrics.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        return []
    with _settings_of_our_own():
        return _plotted(rows, losses, polytopes)


def _plotted(rows: list[dict[str, str]], losses: Path, polytopes: Path) -> list[Path]:
    # Figures without pyplot keep no global state and need no display.
    from matplotlib.figure import Figure

    epochs = [int(row["epoch"]) for row in rows]
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for column, label in (("task", "task"), ("validation", "validation")):
        axes.plot(epochs, [float(row[column]) for row in rows], label=f"{label}, mean squared error", linewidth=1)
    code = [float(row["kolmogorov"]) for row in rows]
    if any(code):
        axes.plot(epochs, code, label="Kolmogorov, nats a parameter", linewidth=1)
    axes.set(xlabel="epoch", ylabel="loss", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    write_whole(losses, partial(figure.savefig, dpi=120, format="png"))
    written = [losses]
    seen = [(int(row["epoch"]), int(row["polytopes"])) for row in rows if row["polytopes"]]
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
