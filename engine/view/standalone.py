"""`draw-poly export`: a run's explorer as one HTML file, which needs no server and no network."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from bokeh.core.properties import Any as AnyValue
from bokeh.core.properties import List
from bokeh.document import Document
from bokeh.embed import file_html
from bokeh.model import DataModel
from bokeh.models import CustomJS
from bokeh.resources import INLINE

from draw_poly.engine.flags import ConfigError
from draw_poly.engine.record.disk import write_whole
from draw_poly.engine.record.log_file import say_plainly
from draw_poly.engine.view.catalogue import Catalogue, RunFiles
from draw_poly.engine.view.compact import compact, compressed
from draw_poly.engine.view.curves import LOSSES, REGIONS
from draw_poly.engine.view.explored import Explored
from draw_poly.engine.view.history import Unreadable
from draw_poly.engine.view.options import ExportOptions
from draw_poly.engine.view.page import RESTORED, SCENE, Page
from draw_poly.kernels.cpu.regions import Regions
from draw_poly.kernels.spec.subdivision import TooManyRegions
from draw_poly.kernels.spec.window import UNIT_SQUARE

DONE, FAILED = 0, 3
FEW = 2  # networks, below which there is nothing to slide over
TURN = """
const chosen = slider.value;
inflated(reel.packets[chosen]).then(packet => { if (slider.value === chosen) scene.packet = packet; });
"""
log = logging.getLogger("polytope_nn.view")


class Reel(DataModel):
    """The compressed packet of each epoch that is in the file."""

    __view_module__ = "bokeh"  # see `page.Scene`
    __qualified_model__ = "draw_poly.Reel"

    packets = List(AnyValue, default=[])


def run(options: ExportOptions) -> int:
    """Writes the file; returns the exit status. Raises ConfigError for what cannot be shown."""
    say_plainly(log)
    path = Path(options.output).expanduser()
    try:
        content = exported(chosen(options), options.frames)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except Unreadable as error:
        raise ConfigError(str(error).rstrip(".")) from error
    except OSError as error:
        log.error("%s: %s", error.filename or path, error.strerror)  # noqa: TRY400
        return FAILED
    log.info("%s, %.1f MiB", path, len(content) / 2**20)
    return DONE


def chosen(options: ExportOptions) -> RunFiles:
    """The run that is meant. Raises ConfigError where there is none."""
    catalogue = Catalogue.of(Path(options.folder).expanduser())
    found = catalogue.find(options.run) if options.run else None
    if options.run is None and catalogue.runs:
        found = catalogue.runs[next(name for name in catalogue.names if name in catalogue.runs)]
    if not isinstance(found, RunFiles):
        what = f"--run {options.run}" if options.run else "a run"
        hint = f": it holds {', '.join(catalogue.names[:5])}" if catalogue.names else ""
        raise ConfigError(f"{options.folder}: {what} was not found there{hint}")
    return found


def exported(files: RunFiles, frames: int) -> bytes:
    """A page with so many epochs at most, evenly chosen. Raises Unreadable where there is no network."""
    run = Explored(files)
    page = Page(run.network, run.size, files.name)
    run.ages.follow(run.history)
    run.ages.wait()
    epochs, packets = [], []
    for epoch, packet in _packets(run, _evenly(run.history.epochs, frames)):
        epochs.append(epoch)
        packets.append(packet)
    if not packets:
        raise Unreadable("None of this run's networks has regions that can be shown.")
    if len(packets) < FEW:
        log.warning(
            "There is one network of this run, so there is nothing to slide over: a run keeps one with each frame, "
            "unless --regions is off, and with each --checkpoint-interval"
        )
    for name, table, columns in (("losses", run.metrics, LOSSES), ("regions", run.regions, REGIONS)):
        table.refresh()
        page.curves.update(name, table.columns("epoch", *columns))
    page.set_epochs(epochs)
    page.slider.value = len(epochs) - 1
    page.set_points(run.history.split)
    page.said.text = " ".join(run.notes)
    if run.target:
        page.scene.target = run.target.sampled(UNIT_SQUARE).tobytes()
    return _html(page, packets)


def _packets(run: Explored, epochs: list[int]) -> Iterator[tuple[int, bytes]]:
    builder = Regions(run.network)
    for epoch in epochs:
        try:
            state = run.history.state(epoch)
            found = builder.subdivide(state.parameters)
        except (Unreadable, ValueError, TooManyRegions) as error:
            log.warning("Epoch %d is left out: %s", epoch, error)
            continue
        yield epoch, compressed(compact(found, state, run.ages.born(epoch, found)))


def _evenly(epochs: list[int], most: int) -> list[int]:
    if len(epochs) <= most:
        return epochs
    places = np.unique(np.linspace(0, len(epochs) - 1, most).round().astype(int)) if most > 1 else [-1]
    return [epochs[place] for place in places]


def _html(page: Page, packets: list[bytes]) -> bytes:
    document = Document()
    arguments = {"reel": Reel(packets=packets), "scene": page.scene, "slider": page.slider}
    turn = CustomJS(args=arguments, code=SCENE + RESTORED + TURN)
    page.slider.js_on_change("value", turn)
    page.stand_alone()
    page.fill(document)
    document.js_on_event("document_ready", turn)
    content: str = file_html(document, INLINE, title=document.title)
    return content.encode()
