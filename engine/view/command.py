"""`draw-poly view`: the explorer of a folder, served until Ctrl-C."""

import logging
import os
from contextlib import suppress
from pathlib import Path

import torch
from bokeh.document import Document

from draw_poly.engine.view.catalogue import Catalogue, RunFiles
from draw_poly.engine.view.explored import Explored
from draw_poly.engine.view.history import Unreadable
from draw_poly.engine.view.live import LivePage
from draw_poly.engine.view.options import ADDRESS, ViewOptions
from draw_poly.engine.view.page import Page
from draw_poly.engine.view.server import Serving, log

DONE = 0
NICENESS = 19  # whatever else computes goes first


def run(options: ViewOptions) -> int:
    """Serves until it is ended; returns the exit status. Raises ConfigError for what cannot be served."""
    if not log.hasHandlers():
        logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name in ("bokeh", "tornado"):
        logging.getLogger(name).setLevel(logging.ERROR)
    explorer = Explorer(Path(options.folder))
    serving = Serving(options, explorer.fill)
    with suppress(OSError):
        os.nice(NICENESS)
    torch.set_num_threads(1)
    log.info("The explorer of %s: %s  (Ctrl-C ends it)", options.folder, serving.url)
    if options.host != ADDRESS:
        log.warning("Whoever reaches %s sees all that is in this folder", options.host)
    serving.serve()
    return DONE


class Explorer:
    """Fills pages with what is in a folder. Raises ConfigError where there is no such folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs: dict[str, Explored] = {}
        Catalogue.of(folder)

    def fill(self, document: Document, arguments: dict[str, list[bytes]]) -> None:
        """The page of what its address asks for by `show`."""
        name = arguments.get("show", [b""])[0].decode(errors="replace")
        found = Catalogue.of(self._folder).find(name)
        if isinstance(found, RunFiles):
            self._run(document, found)

    def _run(self, document: Document, files: RunFiles) -> None:
        run = self._runs.get(files.name)
        if run is None or run.files != files:
            run = self._runs[files.name] = Explored(files)
        try:
            page = Page(run.network, run.size, files.name)
        except Unreadable as error:
            raise NotImplementedError from error
        LivePage(run, document, page)
        page.fill(document)
