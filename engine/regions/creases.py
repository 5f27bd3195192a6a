"""The first layer's creases: the lines at which its neurons are zero, by angle, signed offset and norm."""

import io
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from draw_poly.kernels.spec import Network

Numbers = NDArray[np.float64]


class Creases(NamedTuple):
    """Lines x cos(angle) + y sin(angle) = offset, one a neuron, all (neurons,).

    `angle` of the normal, from 0 up to π; `offset` is signed with it; `norm` is the weights'. A neuron without weights
    has no line: its angle and offset are NaN.
    """

    angle: Numbers
    offset: Numbers
    norm: Numbers


def creases(network: Network, parameters: Numbers) -> Creases:
    """Those of a network of two inputs (P,)."""
    width = network.dims[1]
    weights, bias = parameters[: 2 * width].reshape(width, 2), parameters[2 * width : 3 * width]
    norm = np.hypot(weights[:, 0], weights[:, 1])
    with np.errstate(divide="ignore", invalid="ignore"):
        offset = -bias / norm
    turned = np.arctan2(weights[:, 1], weights[:, 0])
    # A line's normal points either way: those below the x axis are turned about, and their offsets with them.
    back = (turned < 0) | (turned >= np.pi)
    angle, offset = np.where(back, turned % np.pi, turned), np.where(back, -offset, offset)
    angle = np.where(angle >= np.pi, 0.0, angle)
    there = norm > 0
    return Creases(np.where(there, angle, np.nan), np.where(there, offset, np.nan), norm)


def as_csv(found: Creases) -> bytes:
    """A row a neuron, with every digit."""
    rows = [
        f"{neuron},{a!r},{o!r},{n!r}" for neuron, (a, o, n) in enumerate(zip(*(x.tolist() for x in found), strict=True))
    ]
    return "\n".join(["neuron,angle,offset,norm", *rows, ""]).encode()


def summary(found: Creases) -> str:
    """What can be said of them in a few lines."""
    there = ~np.isnan(found.angle)
    if not there.any():
        return f"{len(found.angle)} neurons, none with a line"
    lines = [f"{len(found.angle)} neurons, {int(there.sum())} with a line"]
    for name, values in zip(found._fields, found, strict=True):
        low, middle, high = np.quantile(values[there], (0, 0.5, 1))
        lines.append(f"{name}: {low:.6g} to {high:.6g}, median {middle:.6g}")
    doubled = np.exp(2j * found.angle[there])  # of lines, whose angles are modulo π
    lines.append(f"alignment (0 none, 1 all parallel): {abs(doubled.mean()):.6g}")
    return "\n".join(lines)


def plot(found: Creases) -> bytes:
    """Angle against offset, and a histogram of each of the three, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    there = ~np.isnan(found.angle)
    figure: Any = Figure((10, 7), layout="constrained")
    FigureCanvasAgg(figure)
    ((scatter, *rest),) = [list(figure.subplots(2, 2).flat)]
    scatter.scatter(found.angle[there], found.offset[there], s=12)
    scatter.set(xlabel="angle of the normal, modulo π", ylabel="signed offset", xlim=(0, np.pi))
    for axes, name in zip(rest, found._fields, strict=True):
        axes.hist(getattr(found, name)[there], bins=min(50, max(5, int(there.sum()))))
        axes.set(xlabel=name, ylabel="neurons")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    return content.getvalue()
