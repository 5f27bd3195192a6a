"""A run's frames and film: drawn, handed to the encoders, and caught up with where an earlier process could not."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from draw_poly.engine import files
from draw_poly.engine.backends.base import Backend
from draw_poly.engine.pictures.caption import LossCurves, caption
from draw_poly.engine.pictures.drawing import Drawing
from draw_poly.engine.pictures.frame import Panels, film_canvas, frame_size
from draw_poly.engine.pictures.scores import scorer
from draw_poly.engine.pictures.select import drawn_exactly, rasterizer_for, shared_regions
from draw_poly.engine.prepare.prepare import Prepared
from draw_poly.engine.record.encoder import Frame, FrameWriter
from draw_poly.engine.record.journal import log
from draw_poly.engine.record.ledger import Due, Ledger
from draw_poly.engine.record.measures import CURVES, Columns, Row, of_frame
from draw_poly.engine.record.metrics import Metrics
from draw_poly.engine.record.table import ranges

if TYPE_CHECKING:
    from draw_poly.engine.record.film import Film


class Gallery:
    """The frames of a run, drawn of a backend's network as it is; writes nothing before `open`."""

    # What `open` makes.
    writer: FrameWriter
    ledger: Ledger
    _metrics: Metrics

    def __init__(self, prepared: Prepared, backend: Backend) -> None:
        config = self._config = prepared.config
        self._prepared = prepared
        self._parameters = backend.state.main.parameters[0]
        self._reached = prepared.state.epoch
        self.size = size = frame_size(prepared.picture.width, prepared.picture.height, config.frame_size)
        pixels = rasterizer_for(backend, *size, config.chunk_size, config.colour_regions == "pattern")
        self.regions = shared_regions(config)
        lives = prepared.checkpoint.lives
        self._rasterizer = drawn_exactly(pixels, backend, size, config.colour_regions, self.regions, lives)
        self._panels = Panels.of(prepared.picture, prepared.split, size, config.colour_regions, config.learnt)
        self._scored = scorer(config, backend, prepared.picture, prepared.split, size)
        self._curves = LossCurves(size[0], config)

    def draw(self) -> Drawing:
        """Draws the network as it is, with what its task measures of it."""
        drawing = self._rasterizer.draw()
        return replace(drawing, scores=self._scored(drawing)) if self._scored else drawing

    def try_out(self, drawing: Drawing) -> None:
        """Makes a frame of every kind that the run will make, of which nothing is left."""
        with TemporaryDirectory(dir=self._prepared.files.folder, prefix=files.TRIAL) as folder:
            writer = self._writer(None if self._config.no_film else self._film(Path(folder) / "film.mp4"))
            text = caption(self._config, {"epoch": 0}, self._curves)
            writer.put(Frame(drawing, text, Path(folder) / "frame", Due(0, self._parameters.cpu())))
            writer.close()

    def open(self, metrics: Metrics, check: Callable[[], object]) -> None:
        """Begins the film, with what there is of the run's earlier frames; `check` is that of `FrameWriter`."""
        self._metrics = metrics
        self.writer = self._writer(self._continued(), self._prepared.checkpoint.film_frames, check)
        self.ledger = self.writer.ledger
        self._warn_of_lost_frames()

    def _writer(self, film: "Film | None", frames: int = 0, check: Callable[[], object] = lambda: None) -> FrameWriter:
        config = self._config
        return FrameWriter(self._panels, config.snapshot_format, config.jpeg_quality, film, frames, check)

    def add(self, columns: Columns) -> None:
        """The values of epochs, for the curves of the frames from here on."""
        self._curves.add_all(zip(columns["epoch"], *(columns[name] for name, _ in CURVES), strict=True))

    def write(self, due: Due, drawing: Drawing) -> None:
        """Hands a frame over. Raises OSError where an earlier one could not be written."""
        text = caption(self._config, {**due.values, **of_frame(drawing), "epoch": due.epoch}, self._curves)
        self.writer.put(Frame(drawing, text, self._prepared.files.frame(due.epoch), due))

    def catch_up(self) -> None:
        """Draws the frames that an earlier process could not write, each with the curves up to its epoch."""
        late = self._prepared.checkpoint.unwritten + self._last_frame()
        for due in late:
            self.ledger.add(due)
        rows, shown = self._metrics.earlier.values(("epoch", *(name for name, _ in CURVES))), 0
        drawn: dict[int, Row] = {}
        now = self._parameters.clone()
        try:
            for due in late:
                log.info("Drawing the frame of epoch %d, which was not written", due.epoch)
                until = int(np.searchsorted(rows[:, 0], due.epoch, "right"))
                self._curves.extend(rows[shown:until])
                shown = until
                self._parameters.copy_(due.parameters)
                drawing = self.draw()
                drawn[due.epoch] = of_frame(drawing)
                self.write(due, drawing)
        finally:
            self._parameters.copy_(now)
        self._curves.extend(rows[shown:])
        if drawn:
            self._metrics.see(drawn)

    def _last_frame(self) -> list[Due]:
        """The frame of a run that has reached its last epoch, if the film or the folder lacks it."""
        number, config = self._reached, self._config
        scheduled = number in config.frames
        there = config.snapshot_format == "none" or number in self._prepared.files.frames()
        waits = any(due.epoch == number for due in self._prepared.checkpoint.unwritten)
        if number < config.epochs or (scheduled and there) or waits:
            return []
        values = self._metrics.earlier.last()
        known = values if values.get("epoch") == number else {}
        return [Due(number, self._parameters.cpu().clone(), known, scheduled, filmed=scheduled)]

    def _frames_until_now(self) -> dict[int, Path]:
        """The run's frame files of earlier processes, by epoch."""
        place, origin = self._prepared.files, self._prepared.origin
        frames = (origin.frames() if origin else {}) | place.frames()
        return {epoch: path for epoch, path in sorted(frames.items()) if epoch <= self._reached}

    def _continued(self) -> "Film | None":
        """The film, with what it has of the run's earlier frames; None where none is wanted."""
        if self._config.no_film:
            return None
        path, origin, schedule = self._prepared.files.film, self._prepared.origin, self._config.frames
        source = origin.film if origin and not path.exists() else None
        pictures = [picture for epoch, picture in self._frames_until_now().items() if epoch in schedule]
        film = self._film(path, self._prepared.checkpoint.film_frames, pictures, source)
        for note in film.notes:
            log.warning("%s", note)
        return film

    def _warn_of_lost_frames(self) -> None:
        """Says which frame files of earlier processes are not there."""
        if self._config.snapshot_format == "none" or not self._reached:
            return
        place, origin = self._prepared.files, self._prepared.origin
        late = {due.epoch for due in self._prepared.checkpoint.unwritten}
        if lost := sorted({0, *self._metrics.drawn} - late - place.frames().keys()):
            where = f": they are in {origin.snapshot_dir}" if origin and origin.frames().keys() >= set(lost) else ""
            log.warning("%s lacks the frames of %s%s", place.snapshot_dir, ranges(lost), where)

    def _film(self, path: Path, frames: int = 0, pictures: Sequence[Path] = (), source: Path | None = None) -> "Film":
        from draw_poly.engine.record.film import continued  # loads FFmpeg, which a run without a film can do without

        return continued(path, film_canvas(*self.size, self._config.learnt.grid), frames, pictures, source)
