"""Figures as pictures: contenders beside the machine's limit, and growth with each size."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import NullLocator

from benches.compare import seconds
from benches.contenders import OURS
from benches.figures import Run
from benches.method import growth

OUR_COLOUR, PEER_COLOUR, LIMIT_COLOUR = "#1f6fb4", "#9a9a9a", "#c0392b"


def bars(run: Run, path: Path) -> None:
    """A bar a contender, shortest first, half of its turns as a line; the limit is dashed."""
    groups = run.groups()
    columns = 3
    rows = -(-len(groups) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(15, 2.9 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat[len(groups) :]:
        axis.set_visible(False)
    for axis, (title, records) in zip(axes.flat, groups.items(), strict=False):
        ordered = sorted(records, key=lambda record: -record.timing.median)
        medians = [record.timing.median for record in ordered]
        colours = [OUR_COLOUR if record.contender.split(",")[0] in OURS else PEER_COLOUR for record in ordered]
        away = [
            [median - record.spread[0] for median, record in zip(medians, ordered, strict=True)],
            [record.spread[1] - median for median, record in zip(medians, ordered, strict=True)],
        ]
        places = axis.barh([record.contender for record in ordered], medians, xerr=away, color=colours)
        axis.bar_label(places, [seconds(median) for median in medians], padding=4, fontsize=8)
        axis.axvline(ordered[0].limit, color=LIMIT_COLOUR, linestyle="--", linewidth=1)
        axis.set_xscale("log")
        axis.set_xlim(right=4 * medians[0])
        axis.set_title(title, fontsize=10)
        axis.tick_params(labelsize=8)
    figure.supxlabel("seconds; blue: ours, dashed: the machine's limit", fontsize=9)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def lines(run: Run, path: Path) -> None:
    """Seconds over each size, both logarithmic, with the exponents of growth."""
    axes_of = run.axes()
    columns = 3
    rows = -(-len(axes_of) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(15, 3.6 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat[len(axes_of) :]:
        axis.set_visible(False)
    for axis, (title, contenders) in zip(axes.flat, axes_of.items(), strict=False):
        for name, line in contenders.items():
            sizes, values = [size for size, _ in line], [record.timing.median for _, record in line]
            exponent = f", power {growth(sizes, values):.2f}" if len(sizes) > 1 else ""
            axis.plot(sizes, values, marker="o", label=f"{name}{exponent}")
        limits = max(contenders.values(), key=len)
        sizes = [size for size, _ in limits]
        axis.plot(
            sizes,
            [record.limit for _, record in limits],
            "--",
            color=LIMIT_COLOUR,
            label="limit",
        )
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xticks(sizes, [str(size) for size in sizes])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xlabel(title)
        axis.set_ylabel("seconds")
        axis.legend(fontsize=8)
    figure.savefig(path, dpi=80)
    plt.close(figure)
