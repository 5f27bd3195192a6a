"""`draw-poly view`: the explorer of a folder, served until Ctrl-C."""

import logging
import threading
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import torch
from bokeh.document import Document

from draw_poly.engine.failure import explain
from draw_poly.engine.flags import ConfigError
from draw_poly.engine.record.log_file import say_plainly
from draw_poly.engine.view.catalogue import Catalogue, SweepFiles
from draw_poly.engine.view.explored import Explored
from draw_poly.engine.view.history import Unreadable
from draw_poly.engine.view.live import LivePage
from draw_poly.engine.view.notice import choice, notice
from draw_poly.engine.view.options import LOCAL, ViewOptions
from draw_poly.engine.view.page import Page
from draw_poly.engine.view.server import Serving, log
from draw_poly.engine.view.sheets import SheetPage

DONE = 0


def run(options: ViewOptions, show: str = "", parent: BinaryIO | None = None) -> int:
    """Serves until it is ended, or until what its `parent` writes has its end; returns the exit status.

    `show` is the name that its first address has. Raises ConfigError for what cannot be served.
    """
    say_plainly(log)
    for name in ("bokeh", "tornado"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    serving = Serving(options, Explorer(Path(options.folder)).fill)
    torch.set_num_threads(1)
    address = f"{serving.url}?show={quote(show, safe='')}" if show else serving.url
    log.info("The explorer of %s: %s%s", options.folder, address, "" if parent else "  (Ctrl-C ends it)")
    if options.host not in LOCAL:
        log.warning("Whoever reaches %s sees all that is in this folder, without a password", options.host)
    if parent:
        threading.Thread(target=_end_with, args=(parent, serving), daemon=True).start()
    serving.serve()
    return DONE


def _end_with(parent: BinaryIO, serving: Serving) -> None:
    parent.read()
    serving.end()


class Explorer:
    """Fills pages with what is in a folder. Raises ConfigError where there is no such folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs: dict[str, Explored] = {}
        Catalogue.of(folder)

    def fill(self, document: Document, arguments: dict[str, list[bytes]]) -> None:
        """The page of what its address asks for by `show`."""
        name = arguments.get("show", [b""])[0].decode(errors="replace")
        try:
            self._fill(document, name)
        except ConfigError as error:
            notice(document, f"{error}.")
        except Exception as error:
            log.exception("A page of %r failed", name)
            notice(document, f"This cannot be shown: {explain(error)}.")

    def _fill(self, document: Document, name: str) -> None:
        catalogue = Catalogue.of(self._folder)
        found = catalogue.find(name)
        if found is None:
            sentence = f"There is no {name!r} in this folder." if name else "There is no run in this folder yet."
            above = [choice(catalogue.names, "")] if catalogue.names else []
            notice(document, sentence, *above, again=lambda: Catalogue.of(self._folder).find(name) is not None)
            return
        sweep = found.name.partition("/")[0]
        names = catalogue.names if sweep == found.name else [sweep, *catalogue.names]
        above = [choice(list(dict.fromkeys(names)), found.name)] if len(names) > 1 else []
        if isinstance(found, SweepFiles):
            SheetPage(found, document, *above)
            return
        run = self._runs.get(found.name)
        if run is None or run.files != found:
            run = self._runs[found.name] = Explored(found)
        run.refresh()
        try:
            page = Page(run.network, run.size, found.name)
        except Unreadable as error:
            notice(document, str(error), *above, again=run.has_begun)
            return
        LivePage(run, document, page)
        page.fill(document, *above)
