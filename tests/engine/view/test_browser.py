"""The explorer in a real browser: zoom, hover, slider, a run that goes on, a sweep, a file opened from disk."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from draw_poly.engine.view import standalone
from draw_poly.engine.view.options import ExportOptions
from draw_poly.kernels.cpu.regions import Regions
from draw_poly.kernels.spec.subdivision import Subdivision
from tests.engine.view.conftest import EPOCHS, explored
from tests.engine.view.test_pages import hostile
from tests.engine.view.test_server import served
from tests.processes import begun

pytestmark = pytest.mark.browser
PROMISE = "DRAW_POLY_BROWSER"
NAMES = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 40.0
PLAYED = "window.Bokeh?.documents[0]?.get_model_by_name"
SET = "Bokeh.documents[0].get_model_by_name"
CELLS = f"{PLAYED}('picture')?.renderers.find(one => one.glyph.type == 'Patches').data_source.data.xs.length"
# The samples of a layer: 0 the image's, 1 the prediction's, 2 the cells'.
SHADES = f"{SET}('picture').renderers[2].data_source.data"
PAINTED = f"{SET}('picture').renderers[{{}}].data_source.data.image[0]"
Open = Callable[[str], AbstractContextManager[Any]]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser; where there is none, tests are left out unless the surroundings promise one."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path = None
    if path is None:
        if os.environ.get(PROMISE):
            pytest.fail(f"{PROMISE} promises a browser, and there is none")
        pytest.skip("no Chromium")
    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium: Any) -> Open:
    """Opens an address; a script's error, a dialog, or a look elsewhere fails the test."""

    @contextmanager
    def open_page(address: str) -> Iterator[Any]:
        page = chromium.new_page(viewport={"width": 1250, "height": 950})
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.on("dialog", lambda dialog: dialog.dismiss())
        page.on("console", lambda one: wrong.append(one.text) if one.type == "error" else None)
        here = re.match(r"file://|http://127\.0\.0\.1:\d+/", address)
        assert here
        page.on("request", lambda one: wrong.append(one.url) if not is_own(one.url, here[0]) else None)
        page.set_default_timeout(1000 * SECONDS)
        page.goto(address)
        page.wait_for_function("window.Bokeh && Bokeh.documents.length && Bokeh.documents[0].is_idle")
        yield page
        page.close()
        assert wrong == []

    return open_page


def is_own(address: str, here: str) -> bool:
    return address.startswith((here, "data:", "blob:"))


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    """The address at which a folder is served."""
    begun_ones = []

    def start(folder: Path) -> str:
        begun_ones.append(begun(["view", str(folder)]))
        return f"http://127.0.0.1:{served(begun_ones[-1])}/"

    yield start
    for one in begun_ones:
        one.terminate()
        assert one.wait(SECONDS) == 0
        one.communicate()


def subdivision(folder: Path, epoch: int, window: tuple[float, ...] = (0, 0, 1, 1)) -> Subdivision:
    state = explored(folder).history.state(epoch)
    return Regions(state.network).subdivide(state.parameters, window)  # type: ignore[arg-type]


def has_cells(page: Any, count: int) -> None:
    """Waits until so many are drawn."""
    page.wait_for_function(f"{CELLS} === {count}")


def seen(page: Any) -> tuple[float, ...]:
    """The window that the picture shows."""
    found = page.evaluate(
        f"(() => {{ const {{x_range: x, y_range: y}} = {PLAYED}('picture');"
        "return [x.start, y.end, x.end, y.start]; })()"
    )
    return tuple(found)


def point_at(page: Any, x: float, y: float) -> str:
    """Has the pointer rest on a place of the picture; returns what is told."""
    box = page.evaluate("""() => {
      const views = []; const walk = view => { views.push(view); for (const one of view.child_views ?? []) walk(one); };
      for (const root of Object.values(Bokeh.index.roots ?? Bokeh.index)) walk(root);
      const view = views.find(one => one.model?.name === "picture");
      const around = view.el.getBoundingClientRect(), frame = view.frame.bbox;
      return [around.left + frame.left, around.top + frame.top, frame.width, frame.height];
    }""")
    left, low, right, high = seen(page)
    page.mouse.move(1, 1)
    page.mouse.move(box[0] + box[2] * (x - left) / (right - left), box[1] + box[3] * (y - low) / (high - low), steps=3)
    tip = page.locator(".bk-Tooltip", has_text="pattern")
    for _ in range(100):  # it comes, and follows
        tip.wait_for()
        page.wait_for_timeout(100)
        if text := tip.evaluate("one => one.shadowRoot.querySelector('.bk-tooltip-content')?.innerText"):
            return str(text)
    raise AssertionError("nothing is told")


def expected_words(found: Subdivision, cell: int, age: str) -> list[str]:
    """What is told of a cell."""
    digits = [
        f"{word:0{-(-width // 4)}x}" for word, width in zip(found.patterns[cell].tolist(), found.widths, strict=True)
    ]
    lines: dict[int, list[int]] = {}
    begins, halves = found.rings
    for label in sorted(set(found.label[halves[begins[cell] : begins[cell + 1]]].tolist())):
        if label >= 0:
            layer, neuron = found.neuron(label)
            lines.setdefault(layer + 1, []).append(neuron)
    neurons = "; ".join(f"layer {layer}: {', '.join(map(str, ones))}" for layer, ones in lines.items())
    return [" ".join(digits), str(found.sides[cell]), age, neurons]


def check_told(text: str, found: Subdivision, cell: int, age: str) -> None:
    for words in expected_words(found, cell, age):
        assert words in text
    told = {name: float(value) for name, value in re.findall(r"(area):\s*([-+.e\d]+)", text)}
    assert told["area"] == pytest.approx(found.areas[cell], rel=1e-3)
    found_map = re.search(r"map:\s*(\S+) x ([+-]) (\S+) y ([+-]) (\S+)", text)
    assert found_map
    one, *others = found_map.groups()
    numbers = [float(one), *(float(f"{sign}{value}") for sign, value in zip(others[::2], others[1::2], strict=True))]
    assert numbers == pytest.approx(found.maps[cell, 0].tolist(), rel=1e-3, abs=1e-6)


def largest(found: Subdivision) -> int:
    return int(found.areas.argmax())


def check_shades(page: Any, found: Subdivision) -> None:
    """The cells that have a pixel around their centre are as gray there as the network at their centre."""
    page.evaluate(f"{SET}('colour').value = 'output'")
    left, top, right, bottom = seen(page)
    page.wait_for_function(f"{SHADES}.x[0] === {left} && {SHADES}.dw[0] === {right - left}")
    rows, columns = page.evaluate(f"{PAINTED.format(2)}.shape")
    pixels = np.array(page.evaluate(f"[...{PAINTED.format(2)}]"), np.uint32).reshape(rows, columns)
    checked = 0
    for (x, y), (along_x, along_y, constant), cell in zip(
        found.centres, found.maps[:, 0], range(found.cells), strict=True
    ):
        column, row = (x - left) / (right - left) * columns, (y - top) / (bottom - top) * rows
        around = found.polygon(cell) - (x, y)
        walls = np.roll(around, -1, 0) - around
        inner = np.abs(around[:, 0] * walls[:, 1] - around[:, 1] * walls[:, 0]) / np.hypot(*walls.T)
        if not (0 <= column < columns and 0 <= row < rows) or inner.min() < 2 * (right - left) / min(rows, columns):
            continue
        level = min(max(int(255 * (along_x * x + along_y * y + constant)), 0), 255)
        assert abs(int(pixels[int(row), int(column)]) % 256 - level) <= 1
        checked += 1
    assert checked


def test_zoom_hover_and_slider(trained: Path, opened: Open, serve: Callable[[Path], str]) -> None:
    with opened(serve(trained)) as page:
        whole = subdivision(trained, 6)
        has_cells(page, whole.cells)
        cell = largest(whole)
        x, y = whole.centres[cell]
        born = explored(trained).ages.born(6, whole)[cell]
        check_told(point_at(page, x, y), whole, cell, f"{6 - born} epochs, since {born}")
        for _ in range(4):
            page.mouse.wheel(0, -300)
        page.wait_for_function(f"{PLAYED}('picture').x_range.end - {PLAYED}('picture').x_range.start < 0.3")
        page.wait_for_timeout(500)
        window = seen(page)
        assert window[0] <= x <= window[2]
        part = subdivision(trained, 6, window)
        has_cells(page, part.cells)
        check_shades(page, part)
        page.evaluate(f"{SET}('epoch').value = 1")
        found = subdivision(trained, EPOCHS[1], window)
        has_cells(page, found.cells)
        assert page.evaluate(f"{PLAYED}('at').text") == f"epoch {EPOCHS[1]}"
        for colour in ("age", "area", "gradient", "output", "error", "pattern"):
            page.evaluate(f"{SET}('colour').value = '{colour}'")
            shades = page.evaluate(f"[...new Set({PAINTED.format(2)})]")
            assert all(shade >> 24 == 255 for shade in shades)
            assert len(shades) > 1 or found.cells == 1 or colour == "age"
            assert len(shades) <= found.cells
        page.evaluate(f"{SET}('layers').active = [0, 1, 2, 3, 4]")
        for place in (0, 1):  # image and prediction
            page.wait_for_function(f"{PAINTED.format(place)}.every(one => one >>> 24 === 255)")  # of none, all are 0
        page.evaluate(f"{SET}('play').active = true")
        page.wait_for_function(f"{PLAYED}('at').text === 'epoch {EPOCHS[-1]}'")


def test_cells_are_exact_in_the_smallest_window(trained: Path, opened: Open, serve: Callable[[Path], str]) -> None:
    whole = subdivision(trained, 6)
    inner = (abs(whole.places - 0.5) < 0.45).all(1)
    x, y = whole.places[inner][0]  # about a corner, so that there is something to see
    with opened(serve(trained)) as page:
        has_cells(page, whole.cells)
        page.evaluate(
            f"(() => {{ const {{x_range, y_range}} = {PLAYED}('picture');"
            f"x_range.setv({{start: {x - 5e-13}, end: {x + 5e-13}}});"
            f"y_range.setv({{start: {y + 5e-13}, end: {y - 5e-13}}}); }})()"
        )
        window = seen(page)
        part = subdivision(trained, 6, window)
        assert part.cells >= 3
        has_cells(page, part.cells)
        cell = largest(part)
        text = point_at(page, *part.centres[cell])
        check_told(text, part, cell, "epochs, since")


def test_a_page_follows_a_run(copied: Path, opened: Open, serve: Callable[[Path], str]) -> None:
    (run,) = (path for path in copied.iterdir() if path.is_dir())
    for path in copied.glob("*.pt"):
        path.unlink()
    whole, table = (run / "networks.bin").read_bytes(), (run / "metrics.csv").read_text()
    counts = {epoch: subdivision(copied, epoch).cells for epoch in (2, 6)}
    (run / "networks.bin").unlink()
    (run / "metrics.csv").write_text("".join(table.splitlines(keepends=True)[:2]))
    with opened(serve(copied)) as page:
        page.wait_for_function(f"{PLAYED}('said')?.text.includes('no network of this run yet')")
        (run / "networks.bin").write_bytes(whole[: len(whole) // 2])
        page.wait_for_function(f"{PLAYED}('at')?.text === 'epoch 2'")
        has_cells(page, counts[2])
        (run / "networks.bin").write_bytes(whole)
        (run / "metrics.csv").write_text(table)
        page.wait_for_function(f"{PLAYED}('at').text === 'epoch 6'")
        has_cells(page, counts[6])
        page.wait_for_function(f"{PLAYED}('losses').renderers[0].data_source.data.epoch.length === 6")


def test_a_click_on_a_sweeps_tile_opens_the_member(swept: Path, opened: Open, serve: Callable[[Path], str]) -> None:
    with opened(serve(swept)) as page:
        page.wait_for_function(f"{PLAYED}('sheet').renderers.length === 2")
        page.wait_for_timeout(1000)
        tile = page.evaluate(f"""() => {{
          const sheet = {PLAYED}('sheet'), data = sheet.renderers[1].data_source.data;
          return [data.left[2] + 5, data.top[2] + 5, sheet.x_range.end, sheet.y_range.start, data.name[2]];
        }}""")
        box = page.locator(".bk-Figure").bounding_box()
        canvas = page.evaluate("""() => {
          const views = []; const walk = one => { views.push(one); for (const c of one.child_views ?? []) walk(c); };
          for (const root of Object.values(Bokeh.index.roots ?? Bokeh.index)) walk(root);
          const frame = views.find(one => one.model?.name === "sheet").frame.bbox;
          return [frame.left, frame.top, frame.width, frame.height];
        }""")
        page.mouse.click(
            box["x"] + canvas[0] + canvas[2] * tile[0] / tile[2], box["y"] + canvas[1] + canvas[3] * tile[1] / tile[3]
        )
        page.wait_for_url(re.compile("show="))
        page.wait_for_function(f"{PLAYED}('title')?.text === {tile[4]!r}")
        page.wait_for_function(f"{CELLS} > 0")


def test_a_file_opens_from_disk(trained: Path, tmp_path: Path, opened: Open) -> None:
    path = tmp_path / "run.html"
    assert standalone.run(ExportOptions(str(trained), output=str(path))) == 0
    with opened(path.as_uri()) as page:
        for place, epoch in ((len(EPOCHS) - 1, 6), (0, 0), (2, 3)):
            page.evaluate(f"{SET}('epoch').value = {place}")
            page.wait_for_function(f"{PLAYED}('at').text === 'epoch {epoch}'")
            found = subdivision(trained, epoch)
            has_cells(page, found.cells)
            page.wait_for_timeout(200)
            cell = largest(found)
            born = explored(trained).ages.born(epoch, found)[cell]
            check_told(point_at(page, *found.centres[cell]), found, cell, f"{epoch - born} epochs, since {born}")
        before = seen(page)
        page.mouse.wheel(0, -300)
        page.wait_for_function(
            f"{PLAYED}('picture').x_range.end < {before[2]} || {PLAYED}('picture').x_range.start > 0"
        )
        page.wait_for_timeout(200)
        check_shades(page, found)
        page.evaluate(f"{SET}('layers').active = [0, 1, 2, 3, 4]")
        page.evaluate(f"{SET}('colour').value = 'error'")
        page.wait_for_function(f"{PLAYED}('key').text.startsWith('error, mean: dark ')")


def test_names_are_never_script(copied: Path, tmp_path: Path, opened: Open, serve: Callable[[Path], str]) -> None:
    folder, path = hostile(copied), tmp_path / "run.html"
    assert standalone.run(ExportOptions(str(folder), output=str(path))) == 0
    for address in (serve(folder), path.as_uri()):
        with opened(address) as page:
            page.wait_for_function(f"{CELLS} > 0")
            assert "<img src=x onerror=alert(1)>" in page.evaluate(f"{PLAYED}('title').text")
            page.wait_for_timeout(500)
