"""Pictures to an mp4 while training goes on: H.264, playable up to the last frame but one if the program is killed."""

import os
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.container import Flags, OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

RATE = 24
TIME_BASE = Fraction(1, RATE)
# No frame waits for a later one, so a frame is in the file once the next begins, and a film can be cut anywhere.
ENCODER = {"crf": "18", "preset": "superfast", "tune": "zerolatency", "bf": "0"}
FRAGMENTS = {"movflags": "frag_every_frame+empty_moov+default_base_moof"}
# What common players accept: level 5.1 is 9 437 184 pixels.
LARGEST = 9_437_184
LARGEST_SIDE = 4096


def film_size(width: int, height: int) -> tuple[int, int]:
    """Size of the film of frames of this size: even, and scaled down to what players accept."""
    scale = min(1.0, LARGEST_SIDE / max(width, height), (LARGEST / (width * height)) ** 0.5)
    if scale == 1.0:
        return width + width % 2, height + height % 2
    return max(2, int(width * scale) // 2 * 2), max(2, int(height * scale) // 2 * 2)


class Film:
    """An mp4 that grows by a frame at a time; every frame has the same size, (height, width, 3)."""

    def __init__(self, path: Path, width: int, height: int) -> None:
        """Begins a film in place of any at `path`. Raises OSError where the file cannot be written."""
        path.unlink(missing_ok=True)
        self.path = path
        self.frames = 0
        self._width, self._height = film_size(width, height)
        self._container: OutputContainer = av.open(_local(path), "w", format="mp4", options=FRAGMENTS)
        self._container.flags |= cast(Any, Flags.flush_packets.value)
        self._stream: VideoStream = self._container.add_stream("libx264", rate=RATE, options=ENCODER)
        self._stream.width, self._stream.height = self._width, self._height
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = TIME_BASE
        self._stream.codec_context.thread_count = 1

    def append(self, frame: Pixels) -> None:
        """Encodes one frame."""
        height, width, _ = frame.shape
        if width <= self._width and height <= self._height:
            wider, taller = self._width - width, self._height - height
            if wider or taller:
                frame = np.pad(frame, ((0, taller), (0, wider), (0, 0)), mode="edge")
        self._encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24"))

    def _encode(self, picture: av.VideoFrame) -> None:
        picture = picture.reformat(self._width, self._height, "yuv420p")
        picture.pts, picture.time_base = self.frames, TIME_BASE
        picture.pict_type = av.video.frame.PictureType.NONE
        for packet in self._stream.encode(picture):
            self._container.mux(packet)
        self.frames += 1

    def take_over(self, earlier: Path, frames: int) -> None:
        """Begins with the first `frames` of another film: copied where its encoder's settings were the same."""
        if not frames:
            return
        with av.open(_local(earlier)) as source:
            old = source.streams.video[0]
            self._stream.codec_context.open(strict=False)
            if self._as_encoded_here(earlier):
                for packet in _marked_packets(source, old):
                    packet.stream = self._stream
                    packet.pts = packet.dts = self.frames
                    packet.time_base = TIME_BASE
                    packet.duration = 1
                    self._container.mux(packet)
                    self.frames += 1
                    if self.frames == frames:
                        break
            else:
                for picture in source.decode(old):
                    self._encode(picture)
                    if self.frames == frames:
                        break

    def _as_encoded_here(self, earlier: Path) -> bool:
        """Whether a film has this one's size and settings: its first packet holds the same header."""
        header = self._stream.codec_context.extradata
        with av.open(_local(earlier)) as source:
            old = source.streams.video[0]
            first = next(iter(_marked_packets(source, old)), None)
            same_size = (old.width, old.height) == (self._width, self._height)
            return same_size and first is not None and header is not None and header in bytes(first)

    def close(self) -> None:
        """Ends the film, and rewrites it with its index in front, as players like it best."""
        if not self.frames:  # no file was begun
            self._container.close()
            return
        for packet in self._stream.encode(None):
            self._container.mux(packet)
        self._container.close()
        _rewrite(self.path)


def continued(path: Path, size: tuple[int, int], frames: int, pictures: Sequence[Path]) -> Film:
    """A film of frames of this size (width, height) that begins with the first `frames` of the film at `path`.

    Where that film is missing or shorter, the frame files `pictures` take its place, as far as they go. Until the
    beginning is complete the old film stays beside it, so that a crash loses neither.
    """
    earlier = path.with_name(f"{path.stem}.earlier.mp4")
    if path.exists() and frames and not earlier.exists():
        os.replace(path, earlier)
    film = Film(path, *size)
    if frames:
        there = count_frames(earlier)
        if there >= min(frames, len(pictures)):
            film.take_over(earlier, min(frames, there))
        else:
            for picture in pictures:
                with Image.open(picture) as image:
                    film.append(np.asarray(image.convert("RGB")))
    earlier.unlink(missing_ok=True)
    return film


def count_frames(path: Path) -> int:
    """Frames in a film, 0 where there is none that can be read."""
    try:
        with av.open(_local(path)) as source:
            return sum(1 for _ in _packets(source, source.streams.video[0]))
    except (OSError, IndexError, av.FFmpegError):
        return 0


def _packets(source: Any, stream: VideoStream) -> Iterable[Any]:
    """The packets of a stream without the empty one that ends it; a cut-off film ends where it was cut."""
    try:
        for packet in source.demux(stream):
            if packet.size:
                yield packet
    except av.FFmpegError:
        return


def _marked_packets(source: Any, stream: VideoStream) -> Iterable[Any]:
    """Packets as an encoder makes them and the muxer expects: with start codes, where an mp4 holds lengths."""
    marked = BitStreamFilterContext("h264_mp4toannexb", stream)
    for packet in _packets(source, stream):
        yield from marked.filter(packet)


def _rewrite(path: Path) -> None:
    whole = path.with_name(f".{path.name}.tmp")
    try:
        with av.open(_local(path)) as source:
            old = source.streams.video[0]
            with av.open(_local(whole), "w", format="mp4", options={"movflags": "faststart"}) as target:
                new = cast(VideoStream, target.add_stream_from_template(old))
                for packet in _packets(source, old):
                    packet.stream = new
                    target.mux(packet)
        os.replace(whole, path)
    finally:
        whole.unlink(missing_ok=True)


def _local(path: Path) -> str:
    """A path as FFmpeg takes it: `run:1/film.mp4` would be a protocol."""
    return f"file:{path}"
