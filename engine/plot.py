"""Plots of a finished run, from its `metrics.csv`."""

import csv
from functools import partial
from pathlib import Path

from engine.disk import write_whole


def plot(metrics: Path, losses: Path, polytopes: Path) -> list[Path]:
    """Draws the losses and the number of polytopes over epochs; returns the files written, none without a row."""
    with metrics.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        return []
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
