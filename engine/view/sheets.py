"""A sweep's page: its sheet, and a click on a tile opens the member's page."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bokeh.document import Document
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, CustomJS, Div, HoverTool, LayoutDOM, Range1d, Select, TapTool
from bokeh.plotting import figure
from PIL import Image

from draw_poly.engine.config import Config, ConfigError
from draw_poly.engine.sweep.layout import Layout, lay_out
from draw_poly.engine.sweep.sheet import SHEET
from draw_poly.engine.sweep.values import flag_named, value_of
from draw_poly.engine.sweep.vary import Member
from draw_poly.engine.view.catalogue import MEMBERS, SweepFiles
from draw_poly.engine.view.notice import GO

PERIOD = 2000  # milliseconds between two looks at the files
SIDE = 800  # pixels of the sheet's longer side
MOST_LISTED = 5000
TOLD = ("combined", "validation", "polytopes", "reason")
OPEN = f"const name = source.data.name[source.selected.indices[0]]; {GO}"


class SheetPage:
    """One page of a sweep that someone looks at."""

    def __init__(self, sweep: SweepFiles, document: Document, *above: LayoutDOM) -> None:
        self._sweep, self._stamp = sweep, (0.0, 0.0)
        self._tiles = ColumnDataSource({name: [] for name in ("left", "top", "right", "bottom", "name", "told")})
        self._picture = ColumnDataSource({name: [] for name in ("url", "x", "y", "w", "h")})
        self._said = Div(text="", render_as_text=True, disable_math=True, styles={"color": "#b00020"}, name="said")
        self._list = Select(title="members", name="members", width=700)
        self._list.js_on_change("value", CustomJS(code=f"const name = this.value; {GO}"))
        self._across, self._down = Range1d(0, 1), Range1d(1, 0)
        sheet = self._sheet = figure(
            x_range=self._across, y_range=self._down, tools="pan,wheel_zoom,reset", active_scroll="wheel_zoom",
            frame_width=SIDE, frame_height=SIDE, name="sheet",
        )  # fmt: skip
        sheet.axis.visible = sheet.grid.visible = False
        sheet.image_url(url="url", x="x", y="y", w="w", h="h", source=self._picture)
        tiles = sheet.quad(
            "left", "right", "top", "bottom", source=self._tiles, fill_alpha=0, line_alpha=0, hover_line_alpha=1,
            hover_line_color="#ffd000", hover_fill_alpha=0, nonselection_fill_alpha=0, nonselection_line_alpha=0,
        )  # fmt: skip
        opening = CustomJS(args={"source": self._tiles}, code=OPEN)
        sheet.add_tools(
            HoverTool(renderers=[tiles], tooltips="@told"), TapTool(renderers=[tiles], callback=opening)
        )  # fmt: skip
        self._look()
        document.add_root(column(*above, self._said, self._list, sheet))
        document.title = "draw-poly: the explorer"
        document.add_periodic_callback(self._look, PERIOD)

    def _look(self) -> None:
        """Shows the sheet and the members as they are by now."""
        try:
            stamp = _changed(self._sweep.folder / SHEET), _changed(self._sweep.folder / MEMBERS)
            if stamp == self._stamp:
                return
            self._stamp = stamp
            rows = self._sweep.rows()
            options = [(f"{self._sweep.name}/{row['folder']}", _told(row)) for row in rows[:MOST_LISTED]]
            self._list.options = [("", "open one, also by a click on its tile"), *options]
            self._show(rows)
            self._said.text = ""
        except (OSError, KeyError, ValueError) as error:
            self._said.text = f"The sweep cannot be shown: {getattr(error, 'strerror', None) or error}."

    def _show(self, rows: list[dict[str, str]]) -> None:
        content = (self._sweep.folder / SHEET).read_bytes() if self._stamp[0] else b""
        if not content:
            self._sheet.visible = False
            return
        width, height = Image.open(io.BytesIO(content)).size
        address = "data:image/png;base64," + base64.b64encode(content).decode()
        self._picture.data = {"url": [address], "x": [0], "y": [0], "w": [width], "h": [height]}
        scale = SIDE / max(width, height)
        self._sheet.update(visible=True, frame_width=int(width * scale), frame_height=int(height * scale))
        self._across.update(start=0, end=width, reset_start=0, reset_end=width)
        self._down.update(start=height, end=0, reset_start=height, reset_end=0)
        layout = self._layout(rows)
        if layout is None or layout.size != (width, height):
            return
        by_number = {int(row["member"]): row for row in rows}
        places = [(number, place) for number, place in layout.places.items() if number in by_number]
        self._tiles.data = {
            "left": [left for _, (left, _) in places],
            "top": [top for _, (_, top) in places],
            "right": [left + layout.tile[0] for _, (left, _) in places],
            "bottom": [top + layout.tile[1] for _, (_, top) in places],
            "name": [f"{self._sweep.name}/{by_number[number]['folder']}" for number, _ in places],
            "told": [_told(by_number[number]) for number, _ in places],
        }

    def _layout(self, rows: list[dict[str, str]]) -> Layout | None:
        """Where the tiles stand; None while no member has told how large the image is."""
        size = next(self._sizes(rows), None)
        if size is None or not rows:
            return None
        anyone = Config("image", "[1]", 1)  # a layout asks for what varies alone
        try:
            members = []
            for row in rows:
                named = {flag_named(flag): row[flag] for flag in _flags(row)}
                varied = {name: value_of(name, text) if text else None for name, text in named.items()}
                members.append(Member(int(row["member"]), varied, anyone))
        except ConfigError as error:
            raise ValueError(f"its table is damaged ({error})") from error
        return lay_out(members, *size)

    def _sizes(self, rows: list[dict[str, str]]) -> Iterator[tuple[int, int]]:
        for row in rows:
            run = self._sweep.member(row["folder"])
            image: Any = ((run.settings.get("resolved") or {}).get("image") or {}) if run else {}
            if image.get("width") and image.get("height"):
                yield int(image["width"]), int(image["height"])


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _flags(row: dict[str, str]) -> list[str]:
    """Those that vary."""
    return list(row)[1 : list(row).index("status")]


def _told(row: dict[str, str]) -> str:
    """A member in a line."""
    varied = ", ".join(f"{flag} {row[flag]}" for flag in _flags(row))
    rest = ", ".join(f"{name} {row[name]}" for name in TOLD if row.get(name))
    return f"{row['member']}: {varied}; {row['status']} after {row['epochs']} epochs; {rest}"
