"""The page of a run: the picture that one zooms into, its colours and layers, and the slider over epochs."""

from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import numpy as np
from bokeh.core.properties import Any as AnyValue
from bokeh.core.properties import Dict, Float, Int, List, String
from bokeh.document import Document
from bokeh.layouts import column, row
from bokeh.model import DataModel
from bokeh.models import (
    CheckboxButtonGroup,
    ColumnDataSource,
    CustomJS,
    CustomJSHover,
    Div,
    HoverTool,
    LayoutDOM,
    Range1d,
    Select,
    Slider,
    Toggle,
)
from bokeh.plotting import figure

from draw_poly.engine.data.image import Split
from draw_poly.engine.regions.colours import scale, tints
from draw_poly.engine.view.curves import Curves
from draw_poly.engine.view.packet import SMALLEST, raster_of
from draw_poly.kernels.spec import Network
from draw_poly.kernels.spec.window import UNIT_SQUARE

SCENE, RESTORED = (
    (files("draw_poly.engine.view") / name).read_text(encoding="utf-8") for name in ("scene.js", "restored.js")
)
COLOURS = ("pattern", "age", "area", "gradient", "output", "error")
LAYERS = ("image", "prediction", "cells", "walls", "points")
SHOWN = ["cells", "walls"]
SIDE = 640  # pixels of the picture's longer side
STEP = 250  # milliseconds from epoch to epoch, played
TELLS = ("pattern", "area", "sides", "age", "map", "neurons")
TRAINING, VALIDATION = "#ff5050", "#4d94ff"
DRAW = """
const palettes = {scale, pattern: hues, output: grays, layers};
draw(scene, {shades, cells, walls, prediction, target, image, predicted, key, palettes});
"""
# What is seen of a page that no server gives the cells of its window.
SHADE = "shade(scene, shades);"
# Which epoch is looked at: said, and marked in the curves.
EPOCH = """
const epoch = timeline.data.epoch[slider.value];
said.text = epoch === undefined ? "" : `epoch ${epoch}`;
for (const mark of marks) mark.location = epoch ?? null;
"""
PLAY = """
clearInterval(button._timer);
if (button.active) button._timer = setInterval(() => {
  slider.value = slider.value >= slider.end ? slider.start : slider.value + 1;
}, step);
"""
# What is seen, once for all ends of ranges that change at a time.
WINDOW = """
if (!scene._waiting) queueMicrotask(() => {
  scene._waiting = false;
  const across = [x.start, x.end].sort((a, b) => a - b), down = [y.start, y.end].sort((a, b) => a - b);
  scene.window = [across[0], down[0], across[1], down[1]];
});
scene._waiting = true;
"""
NEAREST = """
let best = 0;
timeline.data.epoch.forEach((one, i) => {
  if (Math.abs(one - cb_obj.x) < Math.abs(timeline.data.epoch[best] - cb_obj.x)) best = i;
});
slider.value = best;
"""


class Scene(DataModel):
    """What the picture is drawn from: a packet, see `packet.py`, of a network that `model` tells."""

    __view_module__ = "bokeh"  # or Bokeh would look beside ours for a script of its own that it needs
    __qualified_model__ = "draw_poly.Scene"

    packet = AnyValue(default=None)
    target = AnyValue(default=None)  # the image, where packets are without
    model = Dict(String, AnyValue, default={})
    colour = String(default=COLOURS[0])
    layers = List(Int, default=[])
    window = List(Float, default=list(UNIT_SQUARE))


@dataclass
class Page:
    """The models of a run's page, of an image of `size` (width, height) and a network; nothing is in them yet."""

    network: Network
    size: tuple[int, int]
    title: str
    scene: Scene = field(init=False)
    curves: Curves = field(init=False)

    def __post_init__(self) -> None:
        columns, rows = raster_of(*self.size)
        dims = list(self.network.dims)
        hidden = len(dims) - 2
        self.scene = Scene(
            model={
                "dims": dims,
                "slope": self.network.slope,
                "outputs": dims[-1],
                "columns": columns,
                "rows": rows,
                "screen": self._screen,
            },
            layers=list(range(hidden)),
        )
        blank = {"image": [np.zeros((rows, columns), np.uint32)], "x": [0.0], "y": [0.0], "dw": [1.0], "dh": [1.0]}
        self._beneath = {name: ColumnDataSource(dict(blank), syncable=False) for name in ("target", "prediction")}
        empty = {**blank, "image": [np.zeros((1, 1), np.uint32)]}
        self._shades = ColumnDataSource(empty, syncable=False)
        self._cells = ColumnDataSource({"xs": [], "ys": [], "cell": []}, syncable=False)
        self._walls = ColumnDataSource({"xs": [], "ys": [], "colour": []}, syncable=False)
        self._points = ColumnDataSource({"x": [], "y": [], "colour": []}, syncable=False)
        self.timeline = ColumnDataSource({"epoch": []})
        self.said = Div(text="", render_as_text=True, disable_math=True, styles={"color": "#b00020"}, name="said")
        self.key = Div(text="", render_as_text=True, disable_math=True, name="key", syncable=False)
        self.picture = self._picture()
        self.slider = Slider(
            start=0, end=1, value=0, step=1, show_value=False, title="", width=SIDE - 180, name="epoch"
        )
        self.epoch = Div(
            text="", render_as_text=True, disable_math=True, width=100, margin=(12, 5, 5, 5), name="at", syncable=False
        )
        self.play = Toggle(label="play", width=70, name="play")
        self.curves = Curves()
        self.redraw = CustomJS(args=self._arguments(), code=SCENE + RESTORED + DRAW)
        for name in ("packet", "colour", "layers"):
            self.scene.js_on_change(name, self.redraw)
        for name in ("image", "prediction"):  # which are painted where they are seen
            self.layers[name].js_on_change("visible", self.redraw)
        self.tell_epoch = CustomJS(
            args={"slider": self.slider, "timeline": self.timeline, "marks": self.curves.marks, "said": self.epoch},
            code=EPOCH,
        )
        self.slider.js_on_change("value", self.tell_epoch)
        self.timeline.js_on_change("data", self.tell_epoch)
        self.play.js_on_change(
            "active", CustomJS(args={"button": self.play, "slider": self.slider, "step": STEP}, code=PLAY)
        )
        nearest = CustomJS(args={"slider": self.slider, "timeline": self.timeline}, code=NEAREST)
        for one in self.curves.figures:
            one.js_on_event("tap", nearest)

    @property
    def _screen(self) -> list[int]:
        """Pixels of the picture, across and down."""
        return [max(80, SIDE * one // max(self.size)) for one in self.size]

    def _picture(self) -> figure:
        ranges = {
            "x_range": Range1d(0, 1, bounds=(0, 1), min_interval=SMALLEST, syncable=False),
            "y_range": Range1d(1, 0, bounds=(0, 1), min_interval=SMALLEST, syncable=False),
        }
        seen = CustomJS(args={"scene": self.scene, "x": ranges["x_range"], "y": ranges["y_range"]}, code=WINDOW)
        for one in ranges.values():
            one.js_on_change("start", seen)
            one.js_on_change("end", seen)
        made = figure(
            **ranges, frame_width=self._screen[0], frame_height=self._screen[1],
            tools="pan,wheel_zoom,box_zoom,reset,save", active_scroll="wheel_zoom", output_backend="canvas",
            background_fill_color="#ffffff", name="picture",
        )  # fmt: skip
        made.grid.visible = False
        self.layers: dict[str, Any] = {
            name: made.image_rgba(image="image", x="x", y="y", dw="dw", dh="dh", source=source, visible=False)
            for name, source in zip(LAYERS, (*self._beneath.values(), self._shades), strict=False)
        }
        self.layers["cells"].visible = True
        pointed = made.patches(
            "xs", "ys", source=self._cells, fill_color=None, line_color=None, hover_line_color="#d00000",
            hover_line_width=2, hover_fill_color=None,
        )  # fmt: skip
        self.layers["walls"] = made.multi_line("xs", "ys", source=self._walls, line_color="colour", line_width=0.8)
        self.layers["points"] = made.scatter(
            "x", "y", source=self._points, size=3, color="colour", line_color=None, visible=False
        )
        hover = CustomJSHover(args={"scene": self.scene}, code=SCENE + RESTORED + "return told(scene, value, format);")
        made.add_tools(
            HoverTool(
                renderers=[pointed], formatters={"@cell": hover}, point_policy="follow_mouse",
                tooltips=[(name, f"@cell{{{name}}}") for name in TELLS],
            )
        )  # fmt: skip
        return made

    def _arguments(self) -> dict[str, Any]:
        hidden = len(self.network.dims) - 2
        shades = scale()
        return {
            "scene": self.scene, "shades": self._shades, "cells": self._cells, "walls": self._walls, "key": self.key,
            "target": self._beneath["target"], "prediction": self._beneath["prediction"],
            "image": self.layers["image"], "predicted": self.layers["prediction"],
            "scale": _names(shades), "hues": _names(tints(np.arange(256) / 256)),
            "grays": _names(np.repeat(np.arange(256)[:, None], 3, 1)),
            "layers": _names(np.linspace((0, 0, 0), (150, 30, 90), max(1, hidden))),
        }  # fmt: skip

    def stand_alone(self) -> None:
        """Has the page show each window by the cells that it has."""
        code = CustomJS(args={"scene": self.scene, "shades": self._shades}, code=SCENE + RESTORED + SHADE)
        self.scene.js_on_change("window", code)

    def set_points(self, split: Split | None) -> None:
        """The pixels that train and validate."""
        if split is None:
            return
        width, height = self.size
        parts = [(split.training.numpy(), TRAINING), (split.validation.numpy(), VALIDATION)]
        chosen = np.concatenate([indices for indices, _ in parts])
        colours = [colour for indices, colour in parts for _ in range(len(indices))]
        self._points.data = {"x": chosen % width / width, "y": chosen // width / height, "colour": colours}

    def set_epochs(self, epochs: list[int]) -> None:
        """What the slider goes over."""
        self.slider.update(end=max(1, len(epochs) - 1), disabled=len(epochs) < 2)
        self.timeline.data = {"epoch": epochs}

    def show(self, packet: bytes) -> None:
        """A window; of none there is nothing to see."""
        self.scene.packet = packet

    def _controls(self) -> LayoutDOM:
        colour = Select(title="colour", value=COLOURS[0], options=list(COLOURS), width=110, name="colour")
        colour.js_link("value", self.scene, "colour")
        shown = CheckboxButtonGroup(
            labels=list(LAYERS), active=[LAYERS.index(one) for one in SHOWN], name="layers", width=320
        )
        opacity = Slider(start=0, end=1, value=1, step=0.05, title="opacity of cells", width=130, name="opacity")
        layers = {name: one for name, one in self.layers.items() if name != "cells"}
        switch = CustomJS(
            args={"shown": shown, "opacity": opacity, "names": list(LAYERS), "cells": self.layers["cells"], **layers},
            code="""
            const is_on = name => shown.active.includes(names.indexOf(name));
            const layers = {image, prediction, walls, points};
            for (const [name, layer] of Object.entries(layers)) layer.visible = is_on(name);
            const alpha = is_on("cells") ? opacity.value : 0;
            cells.glyph.global_alpha = alpha;
            """,
        )
        shown.js_on_change("active", switch)
        opacity.js_on_change("value", switch)
        hidden = len(self.network.dims) - 2
        of_network = CheckboxButtonGroup(
            labels=[str(layer + 1) for layer in range(hidden)], active=list(range(hidden)), name="network layers"
        )
        of_network.js_link("active", self.scene, "layers")
        words = Div(text="walls of layers", width=90, margin=(12, 5, 5, 5))
        return column(
            row(colour, column(shown, row(words, of_network)), opacity), row(self.play, self.epoch, self.slider)
        )

    def fill(self, document: Document, *above: LayoutDOM) -> None:
        """Puts it into a document, below what else is to be there."""
        heading = Div(
            text=self.title, render_as_text=True, disable_math=True, styles={"font-weight": "bold"}, name="title"
        )
        left = column(self._controls(), self.key, self.picture)
        document.add_root(column(*above, heading, self.said, row(left, self.curves.layout)))
        document.title = "draw-poly: the explorer"
        document.js_on_event("document_ready", self.redraw, self.tell_epoch)


def _names(shades: Any) -> list[str]:
    return ["#{:02x}{:02x}{:02x}".format(*shade) for shade in np.asarray(shades).astype(int).tolist()]
