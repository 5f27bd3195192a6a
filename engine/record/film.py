"""Pictures to an mp4 while training goes on: H.264, playable up to its last frame whenever the program is killed."""

import errno
import hashlib
import io
import os
import struct
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

from draw_poly.engine.pictures.frame import film_size
from draw_poly.engine.record import disk
from draw_poly.engine.record.disk import ReadError
from draw_poly.engine.record.film_reader import Content, content_of, count_frames, local, opened, packets_of
from draw_poly.engine.record.fragments import RATE, Fragments, lengths

__all__ = ["Film", "continued", "count_frames"]

Pixels = NDArray[np.uint8]

TIME_BASE = Fraction(1, RATE)
# No frame waits for a later one, so a frame is in the file as soon as it is encoded, and a film can be cut anywhere.
ENCODER = {"crf": "18", "preset": "ultrafast", "tune": "zerolatency"}
# Slices of a frame that are encoded side by side.
SLICES = 2
# How often an old film is read before it counts as unreadable: a network's file system may fail in passing.
ATTEMPTS = 3
INDEX_IN_FRONT = {"movflags": "faststart"}


class Film:
    """An mp4 that grows by a frame at a time, from frames of one size.

    A frame comes as pixels, or is drawn into `planes`: brightness (height, width) and two colour differences of half
    the size, BT.601 in limited range; both sides are even there. `notes` say what was lost of an earlier film.
    """

    def __init__(self, path: Path, width: int, height: int, beside: bool = False) -> None:
        """Begins a film in place of any at `path`, or `beside` it until it `settles`.

        No file is made before its first frame.
        """
        self.path = path
        self.frames = 0
        self.notes: list[str] = []
        self._at = disk.part_of(path) if beside else path
        disk.remove(self._at)
        self._size = film_size(width, height)
        self._canvas = av.VideoFrame(width + width % 2, height + height % 2, "yuv420p")
        self._encoder, self._fragments = _begin(self._size)
        self._file: io.FileIO | None = None
        self._bytes = 0  # of whole frames
        self._digest = hashlib.blake2b()

    @property
    def planes(self) -> tuple[Pixels, Pixels, Pixels]:
        """What `append_planes` encodes."""
        luma, blue, red = (
            np.frombuffer(cast(Any, plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
            for plane in self._canvas.planes
        )
        return luma, blue, red

    def append_planes(self) -> None:
        """Encodes the frame that was drawn into `planes`. Raises OSError where it cannot be written."""
        self._encode(self._canvas)

    def append(self, frame: Pixels) -> None:
        """Encodes a frame (height, width, 3). Raises OSError where it cannot be written."""
        height, width, _ = frame.shape
        wider, taller = self._canvas.width - width, self._canvas.height - height
        if wider >= 0 and taller >= 0:
            frame = np.pad(frame, ((0, taller), (0, wider), (0, 0)), mode="edge")
        self._encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24"))

    def _encode(self, picture: av.VideoFrame) -> None:
        if (picture.width, picture.height, picture.format.name) != (*self._size, "yuv420p"):
            picture = picture.reformat(*self._size, "yuv420p", interpolation=Interpolation.AREA)
        picture.pts, picture.time_base = self.frames, TIME_BASE
        picture.pict_type = av.video.frame.PictureType.NONE
        for packet in self._encoder.encode(picture):
            self._write(lengths(bytes(packet)), packet.is_keyframe)

    def _write(self, sample: bytes, key: bool) -> None:
        """Appends one whole frame to the file, or none, and leaves nothing of it in this program."""
        with disk.named(self.path):
            if self._file is None:
                self._file = io.FileIO(self._at, "wb")
            header = b"" if self._bytes else self._fragments.header
            rest = memoryview(header + self._fragments.fragment(sample, self.frames, key))
            end = self._bytes + len(rest)
            try:
                while rest:
                    rest = rest[self._file.write(rest) :]
            except OSError:
                with suppress(OSError):
                    self._file.truncate(self._bytes)
                    self._file.seek(self._bytes)
                raise
        self._bytes = end
        self._digest.update(sample)
        self.frames += 1

    def take_over(self, earlier: Path, frames: int) -> None:
        """Begins with the first `frames` of another film: copied where its encoder's settings were the same.

        Raises ReadError where they cannot be read.
        """
        with opened(earlier) as source:
            old = source.streams.video[0]
            if bytes(old.codec_context.extradata or b"?") in self._fragments.header:
                for packet in packets_of(source):
                    if self.frames == frames:
                        break
                    self._write(bytes(packet), packet.is_keyframe)
            else:
                for picture in source.decode(old):
                    if self.frames == frames:
                        break
                    self._encode(picture)
        if self.frames < frames:
            raise ReadError(errno.EIO, f"{self.frames} of {frames} pictures are there", str(earlier))

    def settle(self) -> None:
        """Takes the place of the film at `path`, once what was written reads back. Raises OSError."""
        if self._file:
            self.sync()
            self._require_in(self._at)
            with disk.named(self.path):
                os.replace(self._at, self.path)
            disk.sync_folder(self.path.parent)
        else:
            disk.remove(self.path)
        self._at = self.path

    def sync(self) -> None:
        """Makes sure that the frames are on the disk. Raises OSError."""
        if self._file:
            with disk.named(self.path):
                os.fsync(self._file.fileno())

    def close(self) -> None:
        """Ends the film, and rewrites it with its index in front, as players like it best. Raises OSError."""
        if self._file:
            self._file.close()
            disk.write_whole(self.path, self._rewrite)

    def _rewrite(self, target: Path) -> None:
        try:
            with (
                opened(self.path) as source,
                av.open(local(target), "w", format="mp4", options=INDEX_IN_FRONT) as whole,
            ):
                new = cast(VideoStream, whole.add_stream_from_template(source.streams.video[0]))
                for packet in packets_of(source):
                    packet.stream = new
                    whole.mux(packet)
        except av.FFmpegError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self._require_in(target)

    def _require_in(self, path: Path) -> None:
        """Raises OSError where a file does not hold this film's frames."""
        if content_of(path) != Content(self.frames, self._digest.digest(), True):
            raise OSError(errno.EIO, "it does not read back as it was written", str(self.path))


def _begin(size: tuple[int, int]) -> tuple[Any, Fragments]:
    """An encoder of frames of this size (width, height), and the beginning of its file as FFmpeg writes it."""
    memory = io.BytesIO()
    container = av.open(memory, "w", format="mp4", options={"movflags": "empty_moov+default_base_moof"})
    stream = container.add_stream("libx264", rate=RATE, options=ENCODER)
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    encoder = stream.codec_context
    encoder.time_base, encoder.thread_count = TIME_BASE, SLICES
    encoder.color_range, encoder.colorspace = ColorRange.MPEG, Colorspace.SMPTE170M
    container.start_encoding()
    container.close()
    content = memory.getvalue()
    length = sum(struct.unpack_from(">I", content, place)[0] for place in (0, struct.unpack_from(">I", content)[0]))
    return encoder, Fragments(content[:length])


def continued(
    path: Path, size: tuple[int, int], frames: int, pictures: Sequence[Path], source: Path | None = None
) -> Film:
    """A film of frames of this size (width, height) that begins with the first `frames` of the film at `path`.

    Where that is missing or shorter, the frame files `pictures` stand in, as far as they go. `source` is the film to
    begin with where it is another. The old film stays until the new one is whole up to there, and is kept where it is
    not what it should be; the new one's `notes` say so.
    """
    earlier = path.with_name(f"{path.stem}.earlier.mp4")  # where a version before left the old film if it crashed
    if not frames:
        disk.remove(earlier)
        return Film(path, *size)
    film = _taken_over(path, size, source or path, frames)
    if film is None:
        film = _pieced_together(path, size, frames, pictures[:frames], source, earlier)
    film.settle()
    disk.remove(earlier)
    if film.frames < frames:
        film.notes.append(f"{path} lacks {frames - film.frames} of its first {frames} pictures: they were not found")
    return film


def _taken_over(path: Path, size: tuple[int, int], old: Path, frames: int) -> Film | None:
    """A film with all these frames of the old one, which is read once; None where it does not give them all."""
    film = Film(path, *size, beside=True)
    try:
        film.take_over(old, frames)
    except (ReadError, IndexError, av.FFmpegError):
        return None
    return film


def _pieced_together(
    path: Path, size: tuple[int, int], frames: int, pictures: Sequence[Path], source: Path | None, earlier: Path
) -> Film:
    """A film with as many of its first frames as the films there and the frame files `pictures` give."""
    notes: list[str] = []
    found = {old: _readable(old, notes) for old in (source or path, earlier) if old.exists()}
    best = max(found, key=lambda old: found[old], default=path)
    there = min(found.get(best, 0), frames)
    if there < len(pictures) < frames:
        there = 0
    film = Film(path, *size, beside=True)
    if there:
        film.take_over(best, there)
    if there < len(pictures):
        for picture in pictures[there:]:
            _append(film, picture, notes)
    for old, count in found.items():
        if old != source and count < frames and old.stat().st_size:
            kept = disk.kept_aside(old, copied=False)
            notes.append(f"{old} is not the film that was left there: it is kept as {kept}")
    film.notes = notes
    return film


def _readable(path: Path, notes: list[str]) -> int:
    """How many frames of a film can be read."""
    failure: ReadError | None = None
    for _ in range(ATTEMPTS):
        try:
            return count_frames(path)
        except ReadError as error:
            failure = error
    notes.append(f"{path} cannot be read ({failure and failure.strerror})")
    return 0


def _append(film: Film, picture: Path, notes: list[str]) -> None:
    """Appends a frame file, if it can be read."""
    try:
        with Image.open(picture) as image:
            pixels = np.asarray(image.convert("RGB"))
    except Exception as error:  # Pillow raises many kinds for a damaged file
        notes.append(f"{picture} is no picture that can be read, and left out of the film ({error})")
        return
    film.append(pixels)
