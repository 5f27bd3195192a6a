"""Frames off the training path: composed, written and filmed by threads behind bounded queues."""

import io
import os
import queue
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Generic, TypeVar

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.film import Film
from engine.frame import Caption, Composer, Drawing

Pixels = NDArray[np.uint8]
Item = TypeVar("Item")

# Frames waiting at a stage: one in work, one ready.
WAITING = 1
# FFmpeg refuses pictures of more bytes than this; Pillow does not.
LARGEST_PNG = 2**27


class Stage(Generic[Item]):
    """A thread that works through a bounded queue; once its work fails, `put` and `drain` raise that failure."""

    def __init__(self, name: str, work: Callable[[Item], None]) -> None:
        self._queue: queue.Queue[Item | None] = queue.Queue(WAITING)
        self._work = work
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        """Hands over an item; waits while the queue is full."""
        self._check()
        self._queue.put(item)

    def drain(self) -> None:
        """Waits until all that was handed over is done."""
        self._queue.join()
        self._check()

    def stop(self) -> None:
        """Ends the thread once its queue is empty."""
        self._queue.put(None)
        self._thread.join()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        while True:
            item = self._queue.get()
            try:
                if item is None:
                    return
                if self._failure is None:
                    self._work(item)
            except BaseException as failure:  # handed to the thread that puts
                self._failure = failure
            finally:
                self._queue.task_done()


class FrameWriter:
    """Takes drawings, writes each as a picture file, and appends it to the film if there is one."""

    def __init__(self, composer: Composer, encoder: "PictureEncoder", film: Film | None) -> None:
        self._composer = composer
        self._encoder = encoder
        self._film = film
        self._films: Stage[Pixels] | None = None if film is None else Stage("film", film.append)
        self._pictures: Stage[tuple[Drawing, Caption, Path]] = Stage("pictures", self._picture)

    def put(self, drawing: Drawing, caption: Caption, path: Path) -> None:
        """Hands a frame over; waits while the encoders are behind. Raises OSError for a failed earlier one."""
        self._pictures.put((drawing, caption, path))

    def drain(self) -> None:
        """Waits until every frame is on disk. Raises OSError where one could not be written."""
        self._pictures.drain()
        if self._films:
            self._films.drain()

    def close(self) -> None:
        """Writes what is left and ends the film. Raises OSError where something could not be written."""
        self._pictures.stop()
        if self._films:
            self._films.stop()
        try:
            self.drain()
        finally:
            if self._film:
                self._film.close()

    def _picture(self, item: tuple[Drawing, Caption, Path]) -> None:
        drawing, caption, path = item
        frame = self._composer.compose(drawing, caption)
        if self._films:
            self._films.put(frame)
        write_whole(path, self._encoder.encode(frame))


class PictureEncoder:
    """Pixels (height, width, 3) to the bytes of a `png` or `jpg` file."""

    def __init__(self, format: str, jpeg_quality: int = 90) -> None:
        self._format = format
        self._jpeg_quality = jpeg_quality
        self._png: av.VideoCodecContext | None = None

    def encode(self, pixels: Pixels) -> bytes:
        """The file's content; every call of one encoder must bring pixels of one size."""
        if self._format == "png" and pixels.nbytes <= LARGEST_PNG:
            self._png = self._png or _png_context(pixels.shape[1], pixels.shape[0])
            packets = self._png.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24"))
            return b"".join(bytes(packet) for packet in packets)
        memory = io.BytesIO()
        if self._format == "png":
            Image.fromarray(pixels).save(memory, "PNG", compress_level=1)
        else:
            Image.fromarray(pixels).save(memory, "JPEG", quality=self._jpeg_quality)
        return memory.getvalue()


def _png_context(width: int, height: int) -> av.VideoCodecContext:
    """FFmpeg's encoder with one fixed row filter: a third of Pillow's time to choose one a row, files no larger."""
    context = av.CodecContext.create("png", "w")
    context.width, context.height, context.pix_fmt = width, height, "rgb24"
    context.time_base, context.thread_count = Fraction(1, 1), 1
    context.options = {"pred": "sub", "compression_level": "2"}
    return context


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file under another name and renames it, so that no half file bears this name."""
    part = path.with_name(f".{path.name}.tmp")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)
        raise
