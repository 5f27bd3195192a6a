"""A subdivision as files: SVG to look at, npz for programs, GeoJSON for maps, CSV for tables."""

import csv
import io
import json
from collections.abc import Callable, Iterator

import numpy as np

from draw_poly.engine.regions.colours import colours
from draw_poly.kernels.spec.subdivision import Subdivision

SIZE = 1000.0  # units of the longer side of an SVG: with six decimals, a billionth of the window
HEAD = """\
<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" xmlns:inkscape="http://www.inkscape.org/namespaces/inkscape"
 viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}">
<title>{title}</title>
<style>.walls path {{ fill: none; stroke: #000; stroke-width: 0.5px; vector-effect: non-scaling-stroke }}</style>
"""


def svg(found: Subdivision, title: str, kind: str = "pattern") -> bytes:
    """Cells, filled, and above them the walls: a layer of the drawing for each layer of the network.

    Hairlines stay thin at any zoom. x goes to the right and y down, as in the image.
    """
    left, bottom, right, top = found.window
    scale = SIZE / max(right - left, top - bottom)
    places = (found.places - (left, bottom)) * scale
    text = io.StringIO()
    text.write(HEAD.format(width=(right - left) * scale, height=(top - bottom) * scale, title=title))
    text.write(_group("cells", "cells", "shape-rendering: crispEdges"))
    begins, halves = found.rings
    corners = [f"{x:.6f},{y:.6f}" for x, y in places[found.origin[halves]].tolist()]
    shades = ["#{:02x}{:02x}{:02x}".format(*shade) for shade in colours(found, kind).tolist()]
    for cell, (begin, end) in enumerate(zip(begins[:-1].tolist(), begins[1:].tolist(), strict=True)):
        text.write(f'<path fill="{shades[cell]}" d="M{" ".join(corners[begin:end])}z"/>\n')
    text.write("</g>\n")
    edges = found.edges
    labels = found.label[edges]
    layers = np.where(labels < 0, -1, found.layers[np.maximum(labels, 0)] if len(found.layers) else -1)
    ends = np.stack((found.origin[edges], found.origin[found.twin[edges]]), 1)
    for layer in range(len(found.widths)):
        text.write(_group(f"layer-{layer + 1}", f"layer {layer + 1}", "", "walls"))
        lines = [f"M{x:.6f},{y:.6f} {u:.6f},{v:.6f}" for (x, y), (u, v) in places[ends[layers == layer]].tolist()]
        text.write(f'<path d="{"".join(lines)}"/>\n</g>\n')
    text.write("</svg>\n")
    return text.getvalue().encode()


def _group(identity: str, name: str, style: str, kind: str = "") -> str:
    words = (f' style="{style}"' if style else "") + (f' class="{kind}"' if kind else "")
    return f'<g id="{identity}" inkscape:groupmode="layer" inkscape:label="{name}"{words}>\n'


def npz(found: Subdivision, title: str, kind: str = "pattern") -> bytes:
    """Every array of a `Subdivision` by its name, with its `window` and `widths`; `numpy.load` reads it."""
    names = (
        "places", "origin", "following", "twin", "face", "label", "first", "patterns", "areas", "centres", "maps",
    )  # fmt: skip
    content = io.BytesIO()
    np.savez_compressed(
        content,
        window=np.array(found.window),
        widths=np.array(found.widths, np.int64),
        **{name: getattr(found, name) for name in names},
    )
    return content.getvalue()


def geojson(found: Subdivision, title: str, kind: str = "pattern") -> bytes:
    """A polygon a cell, with its row of the table as properties."""
    begins, halves = found.rings
    places = found.places[found.origin[halves]].tolist()
    features = []
    for row, begin, end in zip(_rows(found), begins[:-1].tolist(), begins[1:].tolist(), strict=True):
        ring = [*places[begin:end], places[begin]]
        shape = {"type": "Polygon", "coordinates": [ring]}
        features.append({"type": "Feature", "geometry": shape, "properties": row})
    return json.dumps({"type": "FeatureCollection", "name": title, "features": features}).encode()


def table(found: Subdivision, title: str, kind: str = "pattern") -> bytes:
    """A row a cell: pattern, area, centre, sides, and the affine map of the first output."""
    text = io.StringIO()
    rows = list(_rows(found))
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _rows(found: Subdivision) -> Iterator[dict[str, int | float | str]]:
    """What is told of each cell; its pattern is a word of 16 hexadecimal digits for each 64 neurons of a layer."""
    maps = found.maps[:, 0].tolist()
    centres, areas, sides = found.centres.tolist(), found.areas.tolist(), found.sides.tolist()
    for cell, words in enumerate(found.patterns.tolist()):
        (x, y), (along_x, along_y, constant) = centres[cell], maps[cell]
        yield {
            "cell": cell, "pattern": "-".join(f"{word:016x}" for word in words), "area": areas[cell],
            "centre_x": x, "centre_y": y, "sides": sides[cell],
            "gradient_x": along_x, "gradient_y": along_y, "constant": constant,
        }  # fmt: skip


WRITERS: dict[str, Callable[[Subdivision, str, str], bytes]] = {
    "svg": svg, "npz": npz, "geojson": geojson, "csv": table,
}  # fmt: skip
