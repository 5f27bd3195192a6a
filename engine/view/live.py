"""A run's page as a server keeps it: drawn anew for what one zooms to, and followed while the run trains."""

from bokeh.document import Document

from draw_poly.engine.view.curves import LOSSES, REGIONS
from draw_poly.engine.view.explored import Explored
from draw_poly.engine.view.history import Unreadable
from draw_poly.engine.view.page import Page

PERIOD = 1000  # milliseconds between two looks at the files


class LivePage:
    """One page that someone looks at."""

    def __init__(self, run: Explored, document: Document, page: Page) -> None:
        self._run, self._document, self._page = run, document, page
        self._waiting = False
        self._aged = 0
        self._said: dict[str, str] = {}  # sentences by what they are about
        page.scene.on_change("window", lambda attr, old, new: self._redraw_soon())
        page.slider.on_change("value", lambda attr, old, new: self._redraw_soon())
        self._set_epochs()
        self._set_curves(everything=True)
        page.set_points(run.history.split)
        run.ages.follow(run.history)
        self._redraw()
        document.add_periodic_callback(self._look, PERIOD)

    @property
    def _epoch(self) -> int | None:
        epochs = self._page.timeline.data["epoch"]  # as it is shown: pages that share a run look at different times
        return epochs[min(int(self._page.slider.value), len(epochs) - 1)] if epochs else None

    def _redraw_soon(self) -> None:
        """Once, for however many changes that came together."""
        if not self._waiting:
            self._waiting = True
            self._document.add_next_tick_callback(self._redraw)

    def _redraw(self) -> None:
        self._waiting = False
        epoch = self._epoch
        if epoch is None:
            return
        try:
            self._page.show(self._run.packet(epoch, tuple(self._page.scene.window)))
            self._say("picture", "")
        except Unreadable as error:
            self._page.show(b"")
            self._say("picture", str(error))
        self._aged = self._run.ages.reached

    def _look(self) -> None:
        """What the run has left since the last time."""
        at_end = self._page.slider.value >= len(self._page.timeline.data["epoch"]) - 1
        before = self._epoch
        self._run.refresh()
        if self._run.history.epochs != self._page.timeline.data["epoch"]:
            self._set_epochs(follow=at_end)
            self._page.set_points(self._run.history.split)
            self._run.ages.follow(self._run.history)
        self._set_curves()
        aged = self._run.ages.reached
        if self._epoch != before or (self._aged < aged and self._aged < (self._epoch or 0)):
            self._redraw_soon()

    def _set_epochs(self, follow: bool = True) -> None:
        epochs = list(self._run.history.epochs)
        self._page.set_epochs(epochs)
        if follow and epochs:
            self._page.slider.value = len(epochs) - 1

    def _set_curves(self, everything: bool = False) -> None:
        """Tables that have grown; those of a page that is new, however they are."""
        for name, table, columns in (("losses", self._run.metrics, LOSSES), ("regions", self._run.regions, REGIONS)):
            try:
                table.refresh()
                self._say(name, "")
            except Unreadable as error:
                self._say(name, str(error))
                continue
            self._page.curves.update(name, table.columns("epoch", *columns), everything)

    def _say(self, about: str, sentence: str) -> None:
        """Shows a sentence, in the place of an earlier one on the same."""
        self._said[about] = sentence
        text = " ".join(one for one in (*self._run.notes, *self._said.values()) if one)
        if text != self._page.said.text:
            self._page.said.text = text
