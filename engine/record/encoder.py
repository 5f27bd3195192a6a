"""Frames off the training path: composed, written and filmed by threads behind bounded queues."""

import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from draw_poly.engine.pictures.caption import Caption
from draw_poly.engine.pictures.drawing import Drawing
from draw_poly.engine.pictures.frame import FilmComposer, Panels, PictureComposer
from draw_poly.engine.record import disk
from draw_poly.engine.record.ledger import Due, Ledger
from draw_poly.engine.record.picture_file import PictureWriter

if TYPE_CHECKING:
    from draw_poly.engine.record.film import Film

Item = TypeVar("Item")

# Threads that write pictures. The film has one, since its frames have an order.
WRITERS = 2


class Stage(Generic[Item]):
    """Threads that work through one bounded queue; once some work fails, `put` and `drain` raise that failure.

    Each thread has a worker of its own. As many items wait as there are threads: one in work for each, one ready.
    """

    def __init__(self, name: str, workers: Sequence[Callable[[Item], None]]) -> None:
        self._queue: queue.Queue[Item | None] = queue.Queue(len(workers))
        self._failure: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._run, args=(worker,), name=f"{name} {index}", daemon=True)
            for index, worker in enumerate(workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def full(self) -> bool:
        """Whether `put` would wait."""
        return self._queue.full()

    def put(self, item: Item) -> None:
        """Hands over an item; waits while the queue is full."""
        self._check()
        self._queue.put(item)

    def wait(self) -> None:
        """Waits until all that was handed over is done, or was given up after a failure."""
        self._queue.join()

    def drain(self) -> None:
        """Waits until all that was handed over is done."""
        self.wait()
        self._check()

    def stop(self) -> None:
        """Ends the threads once the queue is empty."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _run(self, worker: Callable[[Item], None]) -> None:
        while True:
            item = self._queue.get()
            try:
                if item is None:
                    return
                if self._failure is None:
                    worker(item)
            except BaseException as failure:  # handed to the thread that puts
                self._failure = failure
            finally:
                self._queue.task_done()


@dataclass(frozen=True)
class Frame:
    """A frame to be written: what was drawn, what it says, its file, and what a checkpoint keeps of it until then."""

    drawing: Drawing
    caption: Caption
    path: Path
    due: Due


class FrameWriter:
    """Takes frames, writes each as a picture file, and appends it to the film; either may be left out.

    Each thread composes its frames itself, on panels that it keeps: a drawing is a fifth of a frame. The `ledger` tells
    which frames are not written; `frames` of the schedule were before. `check` is called before a picture file is
    written; what it raises is such a failure.
    """

    def __init__(
        self,
        shared: Panels,
        format: str,
        jpeg_quality: int,
        film: "Film | None",
        frames: int = 0,
        check: Callable[[], object] = lambda: None,
    ) -> None:
        self._film = film
        self._pictures: Stage[Frame] | None = None
        self._films: Stage[Frame] | None = None
        self._unsynced: list[Path] = []
        if format != "none":
            writers = [self._picture_writer(shared, format, jpeg_quality, check) for _ in range(WRITERS)]
            self._pictures = Stage("pictures", writers)
        if film:
            self._films = Stage("film", [_film_writer(shared, film)])
        self.ledger = Ledger(self._pictures is not None, self._films is not None, frames)

    @property
    def _stages(self) -> list[Stage[Frame]]:
        return [stage for stage in (self._pictures, self._films) if stage]

    @property
    def behind(self) -> bool:
        """Whether `put` would wait."""
        return any(stage.full for stage in self._stages)

    def put(self, frame: Frame) -> None:
        """Hands over a frame that is in the ledger; waits while the encoders are behind.

        Raises OSError where an earlier one could not be written.
        """
        if self._pictures and not frame.due.pictured:
            self._pictures.put(frame)
        if self._films and not frame.due.filmed:
            self._films.put(frame)

    def drain(self) -> None:
        """Waits until every frame is written. Raises OSError where one could not be."""
        for stage in self._stages:
            stage.wait()
        for stage in self._stages:
            stage.drain()

    def sync(self) -> None:
        """Makes sure that the frames that were written are on the disk. Raises OSError."""
        folders = {path.parent for path in self._unsynced}
        while self._unsynced:
            with suppress(FileNotFoundError):  # somebody tidied up
                disk.sync(self._unsynced.pop())
        for folder in folders:
            disk.sync_folder(folder)
        if self._film:
            self._film.sync()

    def stop(self) -> None:
        """Ends the threads; the film stays as it is."""
        for stage in self._stages:
            stage.stop()

    def close(self) -> None:
        """Writes what is left and ends the film. Raises OSError where something could not be written."""
        self.stop()
        try:
            self.drain()
        finally:
            if self._film:
                self._film.close()

    def _picture_writer(
        self, shared: Panels, format: str, jpeg_quality: int, check: Callable[[], object]
    ) -> Callable[[Frame], None]:
        composer, writer = PictureComposer(shared), PictureWriter(format, jpeg_quality)

        def write(frame: Frame) -> None:
            frame.drawing.arrive()
            pixels = composer.compose(frame.drawing, frame.caption)
            check()
            # On the disk before a checkpoint counts it, and not now: a disk may take longer for that than a frame does.
            writer.write(frame.path, pixels, synced=False)
            self._unsynced.append(frame.path)
            frame.due.pictured = True

        return write


def _film_writer(shared: Panels, film: "Film") -> Callable[[Frame], None]:
    composer = FilmComposer(shared, film.planes)

    def append(frame: Frame) -> None:
        frame.drawing.arrive()
        composer.compose(frame.drawing, frame.caption)
        film.append_planes()
        frame.due.filmed = True

    return append
