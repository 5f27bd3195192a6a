"""Plots of a sweep: all losses over epochs, the last ones by each flag that varies, and by two of them at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from draw_poly.engine.flags import option
from draw_poly.engine.record.disk import write_whole
from draw_poly.engine.record.measures import MEASURES
from draw_poly.engine.record.plot import settings_of_our_own
from draw_poly.engine.sweep.values import text_of
from draw_poly.engine.sweep.vary import Member

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Numbers = NDArray[np.float64]

TRAINED, JUDGED = "combined", "validation"  # the losses that are drawn over epochs, and by flags
SEED, WEIGHT = "seed", "kolmogorov_weight"
MOST_POINTS = 100_000  # of all curves together
# Values between whose ends lies a larger factor are on a logarithmic axis; more of them than so many have a colour bar.
LOGARITHMIC, MOST_COLOURS, MOST_TICKS, MOST_CELLS = 20, 10, 16, 150
# What lies further above the median has left what one wants to see, and would press it flat.
FAR = 1e4
ROOM = 90  # letters that fit beside each other below an axis; where there are more, they slant
SLANTED: dict[str, Any] = {"rotation": 25, "ha": "right", "rotation_mode": "anchor"}


@dataclass(frozen=True)
class Result:
    """How a member ended: `status` is `done`, `stopped` or `failed`; its last losses by their measures' names."""

    member: Member
    status: str
    losses: Mapping[str, float]


@dataclass(frozen=True)
class Curve:
    """A member's losses over its epochs, (rows,) each: columns `epoch` and `combined` of its `metrics.csv`."""

    epochs: Numbers
    losses: Numbers


def plot_sweep(results: Sequence[Result], curves: Mapping[int, Curve], folder: Path) -> list[Path]:
    """Draws a sweep into a folder, `curves` by their members' numbers; returns the files, none without anything to see.

    `curves.png`, `by_<flag>.png` for each flag that has several values, and `heat.png` for two flags, by the median of
    whatever else varies; the seed counts as such where there are two without it. Where networks were coded, `bits.png`,
    their error against their bits. Raises OSError.
    """
    names = list(results[0].member.varied) if results else []
    several = [name for name in names if len({one.member.varied[name] for one in results}) > 1]
    pair = several if len(several) == 2 else [name for name in several if name != SEED]
    with settings_of_our_own():
        plots = {"curves": _curves(results, curves, names)}
        plots |= {f"by_{option(name)[2:]}": _by_flag(results, name) for name in several}
        plots["heat"] = _heat(results, *pair) if len(pair) == 2 else None
        plots["bits"] = _bits(results, WEIGHT if WEIGHT in names else names[0]) if names else None
        written = []
        for name, figure in plots.items():
            if figure:
                written.append(folder / f"{name}.png")
                write_whole(written[-1], partial(figure.savefig, dpi=120, format="png"))
        return written


def thinned(curve: Curve, most: int) -> Curve:
    """At most so many points of a curve, 4 or more: the least and the greatest of each part, so that peaks stay."""
    count = curve.epochs.size
    if count <= most:
        return curve
    parts = max(1, most // 2 - 1)  # beside the first point and the last
    starts = np.arange(parts + 1) * count // parts
    known = np.where(np.isnan(curve.losses), np.inf, curve.losses)
    found = [0, count - 1]
    for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        found += [start + int(known[start:end].argmin()), start + int(known[start:end].argmax())]
    places = np.unique(found)
    return Curve(curve.epochs[places], curve.losses[places])


def _curves(results: Sequence[Result], curves: Mapping[int, Curve], names: Sequence[str]) -> "Figure | None":
    """All losses over epochs, in the colour of the first flag's value."""
    drawn = [one for one in results if one.member.number in curves and curves[one.member.number].epochs.size]
    if not drawn:
        return None
    figure, axes = _begun(f"{len(drawn)} members" if len(drawn) > 1 else drawn[0].member.label)
    most = max(4, MOST_POINTS // len(drawn))
    colours = _Colours([one.member.varied[names[0]] for one in drawn], names[0])
    seen: list[Numbers] = []
    for index, value in enumerate(colours.values):
        parts: list[Numbers] = []  # all of a colour as one line, which gaps part
        for one in drawn:
            if one.member.varied[names[0]] == value:
                curve = thinned(curves[one.member.number], most)
                parts += [np.stack((curve.epochs, _positive(curve.losses))), np.full((2, 1), np.nan)]
        line = np.concatenate(parts, 1)
        seen.append(line[1])
        width = 1.0 if len(drawn) <= 20 else 0.5
        axes.plot(*line, color=colours.of(index), linewidth=width, alpha=0.9, label=text_of(names[0], value))
    axes.set(xlabel="epoch", ylabel=_meaning(TRAINED, results), yscale="log")
    _bound(axes, np.concatenate(seen))
    colours.explain(figure, axes)
    return figure


def _by_flag(results: Sequence[Result], name: str) -> "Figure | None":
    """Each member's last loss against a flag's value, with medians and quartiles."""
    losses = _positive([one.losses.get(JUDGED, np.nan) for one in results])
    places, ticks, axis = _axis([one.member.varied[name] for one in results], name)
    if np.isnan(losses).all():
        return None
    figure, axes = _begun(_left_out(losses))
    done = np.array([one.status == "done" for one in results])
    for chosen, label, fill in ((done, "done", "full"), (~done, "ended early", "none")):
        if (chosen & ~np.isnan(losses)).any():
            look: dict[str, Any] = {"color": "tab:blue", "fillstyle": fill, "markersize": 4, "alpha": 0.5}
            axes.plot(places[chosen], losses[chosen], "o", label=label, **look)
    known = np.unique(places[~np.isnan(losses)])
    groups = [losses[(places == place) & ~np.isnan(losses)] for place in known]
    low, middle, high = np.array([np.percentile(group, (25, 50, 75)) for group in groups]).T
    if max(group.size for group in groups) > 2:
        axes.errorbar(known, middle, (middle - low, high - middle), color="tab:red", fmt="none", linewidth=2, alpha=0.6)
    style = "_-" if axis["ordered"] else "_"
    axes.plot(known, middle, style, color="tab:red", markersize=12, linewidth=1, label="median")
    axes.set(xlabel=option(name)[2:], ylabel=_meaning(JUDGED, results), xscale=axis["scale"], yscale="log")
    if ticks:
        longest = max(map(len, ticks.values()))
        axes.set_xticks(list(ticks), list(ticks.values()), **(SLANTED if longest * len(ticks) > ROOM else {}))
        axes.minorticks_off()
        axes.yaxis.minorticks_on()
    _bound(axes, losses)
    axes.legend(loc="best" if losses.size < 1000 else "upper right")
    return figure


def _heat(results: Sequence[Result], down: str, across: str) -> "Figure | None":
    """The median of last losses by two flags."""
    from matplotlib.colors import LogNorm

    losses = _positive([one.losses.get(JUDGED, np.nan) for one in results])
    if np.isnan(losses).all():
        return None
    rows, columns = (
        _ordered(list(dict.fromkeys(one.member.varied[name] for one in results))) for name in (down, across)
    )
    cells: dict[tuple[int, int], list[float]] = {}
    for one, loss in zip(results, losses.tolist(), strict=True):
        place = rows.index(one.member.varied[down]), columns.index(one.member.varied[across])
        if loss == loss:
            cells.setdefault(place, []).append(loss)
    medians = np.full((len(rows), len(columns)), np.nan)
    for place, found in cells.items():
        medians[place] = np.median(found)
    size = (min(3 + 0.8 * len(columns), 14), min(2 + 0.45 * len(rows), 12))
    figure, axes = _begun(_left_out(losses), (max(size[0], 6), max(size[1], 4)))
    axes.grid(visible=False)
    axes.set_facecolor("0.85")
    least, most = np.nanmin(medians), min(np.nanmax(medians), FAR * np.nanmedian(medians))
    norm = LogNorm(least, most if most > least else least * 1.01)
    image = axes.imshow(
        np.ma.masked_invalid(medians), norm=norm, cmap="viridis_r", aspect="auto", interpolation="nearest"
    )
    if medians.size <= MOST_CELLS:
        for (row, column), value in np.ndenumerate(medians):
            if value == value:
                ink = "white" if norm(value) > 0.55 else "black"
                axes.text(column, row, f"{value:.2g}", ha="center", va="center", color=ink, fontsize=8)
    for names, values, axis in ((down, rows, axes.yaxis), (across, columns, axes.xaxis)):
        every = -(-len(values) // (2 * MOST_TICKS))
        shown = range(0, len(values), every)
        axis.set_ticks(list(shown), [_short(text_of(names, values[index])) for index in shown])
        axis.set_label_text(option(names)[2:])
    if max(len(text_of(across, value)) for value in columns) > 8:
        axes.set_xticks(axes.get_xticks(), [one.get_text() for one in axes.get_xticklabels()], **SLANTED)
    figure.colorbar(image, label=f"{_meaning(JUDGED, results)} (median)")
    return figure


def _bits(results: Sequence[Result], name: str) -> "Figure | None":
    """The error of coded networks against their bits, in the colour of a flag's value: alone, and of the whole file."""
    coded = [one for one in results if one.losses.keys() >= {"bits", "network_bits", "coded"}]
    if not coded:
        return None
    figure, axes = _begun(f"{len(coded)} members, as they were coded last")
    colours = _Colours([one.member.varied[name] for one in coded], name)
    for index, value in enumerate(colours.values):
        some = [one for one in coded if one.member.varied[name] == value]
        errors = _positive([one.losses["coded"] for one in some])
        alone, whole = (np.array([one.losses[bits] for one in some]) for bits in ("network_bits", "bits"))
        look: dict[str, Any] = {"color": colours.of(index), "markersize": 5}
        axes.plot(alone, errors, "o", label=text_of(name, value), **look)
        axes.plot(whole, errors, "o", fillstyle="none", label="_", **look)
    axes.set(
        xlabel="bits of the network; rings: of the whole file",
        ylabel=_meaning("coded", results),
        xscale="log",
        yscale="log",
    )
    colours.explain(figure, axes, [line for line in axes.lines if not str(line.get_label()).startswith("_")])
    return figure


class _Colours:
    """A colour for each of a flag's values, and what says which: a legend, or a colour bar for many numbers."""

    def __init__(self, given: Sequence[Any], name: str) -> None:
        from matplotlib import colormaps

        self.values = _ordered(list(dict.fromkeys(given)))
        places, _, axis = _axis(self.values, name)
        self._bar = axis["ordered"] and len(self.values) > MOST_COLOURS
        self._name, self._scale = name, axis["scale"]
        spread = np.log(places) if self._scale == "log" else places
        if not self._bar:
            spread = np.arange(len(places), dtype=float)
        self._ends = (float(places.min()), float(places.max()))
        shares = (spread - spread.min()) / max(float(np.ptp(spread)), 1e-300)
        self._colours = colormaps["viridis"](0.95 * shares) if len(shares) > 1 else ["tab:blue"]

    def of(self, index: int) -> Any:
        """The colour of a value."""
        return self._colours[index]

    def explain(self, figure: "Figure", axes: "Axes", lines: Sequence[Any] = ()) -> None:
        """Says which colour is which value, of these lines or of all."""
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import ListedColormap, LogNorm, Normalize

        title = option(self._name)[2:]
        if self._bar:
            from matplotlib import colormaps

            map_ = ListedColormap(colormaps["viridis"](np.linspace(0, 0.95, 256)))
            norm = (LogNorm if self._scale == "log" else Normalize)(*self._ends)
            figure.colorbar(ScalarMappable(norm, map_), ax=axes, label=title)
        elif len(self.values) > 1:
            shown = list(lines or axes.lines)[: 2 * MOST_TICKS]
            labels = [_short(str(line.get_label())) for line in shown]
            # To look for the best place among so many points takes a minute.
            axes.legend(shown, labels, title=title, loc="upper right")


def _begun(title: str, size: tuple[float, float] = (8, 5)) -> "tuple[Figure, Axes]":
    # Figures without pyplot keep no global state and need no display.
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.grid(alpha=0.3)
    axes.set_title(_short(title, 80), fontsize="medium")
    return figure, axes


def _axis(given: Sequence[Any], name: str) -> tuple[Numbers, dict[float, str], dict[str, Any]]:
    """Where a flag's values stand (values,), ticks where each has one, and whether numbers, and on which scale."""
    ordered = all(isinstance(value, int | float) for value in given)
    values = _ordered(list(dict.fromkeys(given)))
    if ordered:
        places = np.array(given, np.float64)
        logarithmic = places.min() > 0 and places.max() > LOGARITHMIC * places.min()
        ticks = {float(value): text_of(name, value) for value in values} if len(values) <= MOST_TICKS else {}
        return places, ticks, {"ordered": True, "scale": "log" if logarithmic else "linear"}
    numbers = {value: float(index) for index, value in enumerate(values)}
    every = -(-len(values) // (2 * MOST_TICKS))
    ticks = {numbers[value]: _short(text_of(name, value)) for value in values[::every]}
    return np.array([numbers[value] for value in given]), ticks, {"ordered": False, "scale": "linear"}


def _ordered(values: list[Any]) -> list[Any]:
    """Numbers ascending; others as they were given."""
    return sorted(values) if all(isinstance(value, int | float) for value in values) else values


def _meaning(name: str, results: Sequence[Result]) -> str:
    """What a measure is, for members of these tasks."""
    scored = {one.member.config.learnt.scored for one in results}
    meaning = next(one.meaning for one in MEASURES if one.name == name)
    return meaning.format(scored=scored.pop() if len(scored) == 1 else "loss")


def _positive(losses: Any) -> Numbers:
    """NaN for what a logarithmic axis cannot show."""
    values = np.asarray(losses, np.float64)
    return np.where((values > 0) & np.isfinite(values), values, np.nan)


def _left_out(losses: Numbers) -> str:
    missing = int(np.isnan(losses).sum())
    return f"{losses.size} members" + (f", of which {missing} have no finite loss" if missing else "")


def _bound(axes: "Axes", losses: Numbers) -> None:
    """Has what ran away leave by the upper edge."""
    if not np.isnan(losses).all() and np.nanmax(losses) > (top := FAR * float(np.nanmedian(losses))):
        axes.set_ylim(np.nanmin(losses) / 1.5, top)


def _short(text: str, most: int = 24) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
