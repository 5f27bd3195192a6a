"""The explorer: what a picture, a zoom, a file and a run that is followed cost: `python -m benches.view`.

Networks at random of about 3000 cells, and 200 epochs of about 2000; a browser is measured where there is one.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benches.regions import Numbers, drawn
from draw_poly.engine.record.networks import Networks
from draw_poly.engine.schedule import Schedule
from draw_poly.engine.view.catalogue import Catalogue
from draw_poly.engine.view.explored import Explored
from draw_poly.engine.view.standalone import exported
from draw_poly.kernels.cpu.regions import Regions
from draw_poly.kernels.spec import Network
from draw_poly.kernels.spec.window import UNIT_SQUARE

WIDTHS, EPOCHS, TURNS = (12,) * 8, 200, 30
THREE_THOUSAND, TWO_THOUSAND = (0.3, 11), (0.6, 2)  # spreads and seeds of networks that have so many cells
DRIFT = 1e-3  # of parameters from epoch to epoch
IMAGE = Path(__file__).parent / "images" / "moon.png"
PICTURE = "Bokeh.documents[0].get_model_by_name('picture')"
# Seconds from a change of the window to the frame that shows the cells of the new one.
ZOOM = f"""end => new Promise(done => {{
  const picture = {PICTURE}, cells = picture.renderers.find(one => one.glyph.type == 'Patches').data_source;
  const began = performance.now();
  const drawn = () => {{
    cells.properties.data.change.disconnect(drawn);
    requestAnimationFrame(() => setTimeout(() => done([performance.now() - began, cells.data.xs.length]), 0));
  }};
  cells.properties.data.change.connect(drawn);
  picture.x_range.setv({{start: 0, end}});
}})"""


def network_of(spread: float, seed: int) -> tuple[Network, Numbers]:
    """A network at random whose first lines all cross the square."""
    network, parameters = drawn(WIDTHS, spread, seed)
    width = WIDTHS[0]
    places = np.random.default_rng(seed).random((width, 2))
    parameters[2 * width : 3 * width] = -(parameters[: 2 * width].reshape(width, 2) * places).sum(1)
    return network, parameters


def folder_of(place: Path, network: Network, epochs: list[Numbers]) -> Path:
    """Results of a run that left these networks."""
    run = place / "run"
    run.mkdir(parents=True)
    settings = {"input": str(IMAGE), "shape": str(list(network.dims[1:-1])), "epochs": len(epochs)}
    (run / "config.json").write_text(json.dumps({"settings": settings, "resolved": {"image": {}}}))
    networks = Networks(run / "networks.bin", network.size)
    networks.open(0, Schedule(1))
    for epoch, parameters in enumerate(epochs):
        networks.add(epoch, parameters)
    return place


def wandering(parameters: Numbers, count: int) -> list[Numbers]:
    """So many networks, each a little further."""
    generator = np.random.default_rng(1)
    steps = generator.normal(size=(count, len(parameters))) * DRIFT
    return list(parameters + np.cumsum(steps, 0))


def timed(do: Callable[[], object]) -> tuple[float, float]:
    """The least and the median milliseconds."""
    taken = []
    for _ in range(TURNS):
        began = time.perf_counter()
        do()
        taken.append(1e3 * (time.perf_counter() - began))
    return min(taken), float(np.median(taken))


def served(folder: Path) -> tuple["subprocess.Popen[str]", str]:
    """A server of a folder, and its address."""
    words = [sys.executable, "-m", "draw_poly.cli", "view", str(folder)]
    running = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    assert running.stderr
    line = next(line for line in running.stderr if "http://" in line)
    return running, next(word for word in line.split() if word.startswith("http://"))


def spent(number: int) -> float:
    """Seconds of a core that a process has taken."""
    fields = Path(f"/proc/{number}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def in_browser(folder: Path, networks: list[Numbers], network: Network) -> None:
    """First picture, zoom, and what following costs."""
    path = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path = None
    if path is None:
        print("no browser: zoom and live are not measured")
        return
    running, address = served(folder)
    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1250, "height": 950})
        page.goto(address)  # has kernels loaded
        page.wait_for_function("window.Bokeh?.documents[0]?.is_idle")
        began = time.perf_counter()
        page.goto(address)
        page.wait_for_function("window.Bokeh?.documents[0]?.is_idle")
        print(f"first picture of a page: {time.perf_counter() - began:.2f} s")
        zooms: list[Any] = [page.evaluate(ZOOM, 1 - 1e-4 * (turn + 1)) for turn in range(TURNS)]
        times = [taken for taken, _ in zooms]
        print(
            f"zoom, to the frame of {zooms[0][1]} cells: ms, least (median) {min(times):.0f} ({np.median(times):.0f})"
        )
        writing = Networks(folder / "run" / "networks.bin", network.size)
        writing.open(len(networks), Schedule(1))
        before, began = spent(running.pid), time.perf_counter()
        for epoch, parameters in enumerate(wandering(networks[-1], 20), len(networks)):
            writing.add(epoch, parameters)
            time.sleep(1)
        share = (spent(running.pid) - before) / (time.perf_counter() - began)
        print(f"live, a new network each second: {100 * share:.1f} % of one core, of {os.cpu_count()}")
        browser.close()
    running.terminate()
    running.wait()


def main() -> None:
    """Prints a line a figure."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as place:
        network, parameters = network_of(*THREE_THOUSAND)
        folder = folder_of(Path(place) / "many", network, [parameters])
        run = Explored(next(iter(Catalogue.of(folder).runs.values())))
        cells = Regions(network).subdivide(parameters).cells
        least, middle = timed(lambda: run.packet(0, UNIT_SQUARE))
        print(f"a window of {cells} cells as a packet: ms, least (median) {least:.1f} ({middle:.1f})")
        in_browser(folder, [parameters], network)
        network, parameters = network_of(*TWO_THOUSAND)
        networks = wandering(parameters, EPOCHS)
        counts = [Regions(network).subdivide(one).cells for one in networks]
        files = next(iter(Catalogue.of(folder_of(Path(place) / "long", network, networks)).runs.values()))
        began = time.perf_counter()
        size = len(exported(files, EPOCHS))
        taken = time.perf_counter() - began
        print(
            f"a file of {EPOCHS} epochs of {np.mean(counts):.0f} cells: {size / 2**20:.2f} MiB, made in {taken:.0f} s"
        )


if __name__ == "__main__":
    main()
