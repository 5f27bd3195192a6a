"""Plots of a sweep: which there are, and that they show the losses that they were given."""

from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
import pytest
from PIL import Image

from draw_poly.engine.sweep.plots import FAR, MOST_POINTS, Curve, Result, plot_sweep, thinned
from draw_poly.engine.sweep.vary import Member, members

BASE: dict[str, Any] = {"input": "x.png", "shape": "[10]*8", "epochs": 5}


def ended(
    found: list[Member], losses: dict[int, float] | None = None, status: dict[int, str] | None = None
) -> list[Result]:
    """Results whose last loss is a member's number, but for some."""
    return [
        Result(
            one,
            (status or {}).get(one.number, "done"),
            {"combined": 1.0, "validation": {one.number: float(one.number), **(losses or {})}[one.number]},
        )
        for one in found
    ]


def curves_of(found: list[Member], rows: int = 20) -> dict[int, Curve]:
    epochs = np.arange(1.0, rows + 1)
    return {one.number: Curve(epochs, one.number / epochs) for one in found}


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The figures that are drawn, by their files' names."""
    drawn: dict[str, Any] = {}

    def kept(figure: Any, path: Path, **words: object) -> None:
        drawn[path.name.removeprefix(".").removesuffix(".tmp")] = figure
        path.touch()

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", kept)
    return drawn


def points(axes: Any, label: str) -> list[tuple[float, float]]:
    line = next(line for line in axes.get_lines() if line.get_label() == label)
    return [tuple(point) for point in line.get_xydata().tolist()]


@pytest.mark.parametrize(
    ("vary", "names"),
    [
        (["seed=3"], ["curves.png"]),
        (["seed=1..3"], ["curves.png", "by_seed.png"]),
        (["seed=1..3", "l=1,2"], ["curves.png", "by_seed.png", "by_learning-rate.png", "heat.png"]),
        (
            ["l=1,2", "p=3", "optimizer=sgd,adam"],
            ["curves.png", "by_learning-rate.png", "by_optimizer.png", "heat.png"],
        ),
        (
            ["seed=1..3", "l=1,2", "shape=[3],[4]"],
            ["curves.png", "by_seed.png", "by_learning-rate.png", "by_shape.png", "heat.png"],
        ),
        (
            ["p=5,6", "l=1,2", "shape=[3],[4]"],
            ["curves.png", "by_points.png", "by_learning-rate.png", "by_shape.png"],
        ),
    ],
)
def test_there_is_a_plot_for_each_flag_and_one_for_two(
    tmp_path: Path, figures: Any, vary: list[str], names: list[str]
) -> None:
    found = members(BASE, vary)
    written = plot_sweep(ended(found), curves_of(found), tmp_path)
    assert [path.name for path in written] == names == list(figures)
    assert all(path.exists() for path in written)


def test_each_member_stands_at_its_value_and_its_loss(tmp_path: Path, figures: Any) -> None:
    found = members(BASE, ["l=1e-4,1e-2,1", "seed=1..4"])
    plot_sweep(ended(found, {5: float("nan"), 6: float("inf"), 7: -1.0}, {2: "stopped", 5: "failed"}), {}, tmp_path)
    axes = figures["by_learning-rate.png"].axes[0]
    assert axes.get_xscale() == axes.get_yscale() == "log"
    rates = {one.number: one.config.learning_rate for one in found}
    shown = {place: None for place in points(axes, "done") if place[1] == place[1]}
    assert list(shown) == [(rates[number], number) for number in (1, 3, 4, 8, 9, 10, 11, 12)]
    assert points(axes, "ended early")[0] == (rates[2], 2)
    assert points(axes, "median") == [(1e-4, 2.5), (1e-2, 8), (1, 10.5)]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0.0001", "0.01", "1"]
    assert "3 have no finite loss" in axes.get_title()
    assert figures["by_seed.png"].axes[0].get_xscale() == "linear"
    assert "curves.png" not in figures


def test_words_are_ticks_in_their_order_and_numbers_ascend(tmp_path: Path, figures: Any) -> None:
    found = members(BASE, ["optimizer=sgd,adam", "kolmogorov-lr=none,2,1", "p=9,7"])
    plot_sweep(ended(found), {}, tmp_path)
    ticks = {name: [text.get_text() for text in figure.axes[0].get_xticklabels()] for name, figure in figures.items()}
    assert ticks["by_optimizer.png"] == ["sgd", "adam"]
    assert ticks["by_kolmogorov-lr.png"] == ["none", "2", "1"]
    assert ticks["by_points.png"] == ["7", "9"]
    assert points(figures["by_optimizer.png"].axes[0], "median") == [(0, 3.5), (1, 9.5)]


def test_a_heat_map_is_the_median_over_the_seeds(tmp_path: Path, figures: Any) -> None:
    found = members(BASE, ["l=2,1", "seed=1..3", "shape=[3],[4]"])
    plot_sweep(ended(found, {2: float("nan"), 4: float("nan"), 6: float("nan"), 7: 100.0}), {}, tmp_path)
    axes = figures["heat.png"].axes[0]
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("learning-rate", "shape")
    values = np.ma.filled(axes.get_images()[0].get_array(), np.nan)
    assert np.array_equal(
        values, np.array([[11, 10], [3, np.nan]]), equal_nan=True
    )  # of 100, 9, 11; 8, 10, 12; 1, 3, 5; none
    assert [text.get_text() for text in axes.get_yticklabels()] == ["1", "2"]


@pytest.mark.parametrize(("count", "bars"), [(1, 0), (4, 0), (30, 1)])
def test_curves_have_the_colour_of_the_first_flag(tmp_path: Path, figures: Any, count: int, bars: int) -> None:
    found = members(BASE, [f"seed=1..{count}", "l=1,2"])
    plot_sweep(ended(found), curves_of(found), tmp_path)
    figure = figures["curves.png"]
    axes = figure.axes[0]
    assert len(axes.get_lines()) == len({str(line.get_color()) for line in axes.get_lines()}) == count
    assert len(figure.axes) - 1 == bars
    assert (axes.get_legend() is not None) == (1 < count < 30)
    epochs = np.arange(1.0, 21)
    for line, first in zip(axes.get_lines(), range(1, 2 * count, 2), strict=True):
        wanted = [np.append(number / epochs, np.nan) for number in (first, first + 1)]
        assert np.array_equal(line.get_ydata(), np.concatenate(wanted), equal_nan=True)


def test_what_ran_away_does_not_press_the_others_flat(tmp_path: Path, figures: Any) -> None:
    found = members(BASE, ["seed=1..5"])
    curves = curves_of(found) | {3: Curve(np.arange(1.0, 5), np.array([1.0, 1e9, 1e30, np.inf]))}
    plot_sweep(ended(found, {3: 1e30}), curves, tmp_path)
    for name, median in (("curves.png", 0.3), ("by_seed.png", 4)):
        low, high = figures[name].axes[0].get_ylim()
        assert high < 2 * median * FAR
        assert low > 0.01


def test_a_sweep_without_any_loss_has_no_plot(tmp_path: Path) -> None:
    found = members(BASE, ["seed=1..3", "l=1,2"])
    lost = ended(found, dict.fromkeys(range(1, 7), float("nan")))
    assert plot_sweep(lost, {}, tmp_path) == []
    assert plot_sweep(lost, {1: Curve(np.empty(0), np.empty(0))}, tmp_path) == []
    assert plot_sweep([], {}, tmp_path) == []


def test_thinned_curves_keep_ends_and_peaks() -> None:
    epochs = np.arange(1.0, 10_001)
    losses = 1 / epochs
    losses[[777, 4321]] = 50, 1e-9
    losses[9000:9050] = np.nan
    small = thinned(Curve(epochs, losses), 200)
    assert 100 < small.epochs.size <= 200
    assert (np.diff(small.epochs) > 0).all()
    assert small.epochs[0] == 1
    assert small.epochs[-1] == 10_000
    assert {50, 1e-9} <= set(small.losses.tolist())
    assert np.array_equal(small.losses, losses[small.epochs.astype(int) - 1], equal_nan=True)
    same = Curve(epochs, losses)
    assert thinned(same, 10_000) is same
    assert thinned(same, 4).epochs.size <= 4


def test_so_many_points_are_drawn_at_most(tmp_path: Path, figures: Any) -> None:
    found = members(BASE, ["seed=1..40"])
    plot_sweep(ended(found), curves_of(found, 20_000), tmp_path)
    assert (
        MOST_POINTS / 2
        < sum(line.get_xdata().size for line in figures["curves.png"].axes[0].get_lines())
        <= MOST_POINTS + 40
    )


def test_plots_are_pictures(tmp_path: Path) -> None:
    found = members(BASE, ["seed=1..3", "l=1,2"])
    for path in plot_sweep(ended(found), curves_of(found), tmp_path):
        with Image.open(path) as image:
            image.verify()
