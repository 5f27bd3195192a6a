"""Frames off the training path: composed, written and filmed by threads behind bounded queues."""

import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from engine.caption import Caption
from engine.drawing import Drawing
from engine.frame import FilmComposer, Panels, PictureComposer
from engine.picture_file import PictureWriter

if TYPE_CHECKING:
    from engine.film import Film

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

    def drain(self) -> None:
        """Waits until all that was handed over is done."""
        self._queue.join()
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


class FrameWriter:
    """Takes drawings, writes each as a picture file, and appends it to the film; either may be left out.

    Each thread composes its frames itself, on panels that it keeps: a drawing is a fifth of a frame. `check` is called
    before a picture file is written; what it raises is such a failure.
    """

    def __init__(
        self,
        shared: Panels,
        format: str,
        jpeg_quality: int,
        film: "Film | None",
        check: Callable[[], object] = lambda: None,
    ) -> None:
        self._film = film
        self._pictures: Stage[tuple[Drawing, Caption, Path]] | None = None
        self._films: Stage[tuple[Drawing, Caption]] | None = None
        if format != "none":
            writers = [_picture_writer(shared, format, jpeg_quality, check) for _ in range(WRITERS)]
            self._pictures = Stage("pictures", writers)
        if film:
            self._films = Stage("film", [_film_writer(shared, film)])

    @property
    def _stages(self) -> list[Stage]:  # type: ignore[type-arg]
        return [stage for stage in (self._pictures, self._films) if stage]

    @property
    def behind(self) -> bool:
        """Whether `put` would wait."""
        return any(stage.full for stage in self._stages)

    def put(self, drawing: Drawing, caption: Caption, path: Path) -> None:
        """Hands a frame over; waits while the encoders are behind. Raises OSError for a failed earlier one."""
        if self._pictures:
            self._pictures.put((drawing, caption, path))
        if self._films:
            self._films.put((drawing, caption))

    def drain(self) -> None:
        """Waits until every frame is on disk. Raises OSError where one could not be written."""
        for stage in self._stages:
            stage.drain()

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
    shared: Panels, format: str, jpeg_quality: int, check: Callable[[], object]
) -> Callable[[tuple[Drawing, Caption, Path]], None]:
    composer, writer = PictureComposer(shared), PictureWriter(format, jpeg_quality)

    def write(item: tuple[Drawing, Caption, Path]) -> None:
        drawing, caption, path = item
        drawing.arrive()
        pixels = composer.compose(drawing, caption)
        check()
        writer.write(path, pixels)

    return write


def _film_writer(shared: Panels, film: "Film") -> Callable[[tuple[Drawing, Caption]], None]:
    composer = FilmComposer(shared, film.planes)

    def append(item: tuple[Drawing, Caption]) -> None:
        drawing, caption = item
        drawing.arrive()
        composer.compose(drawing, caption)
        film.append_planes()

    return append
