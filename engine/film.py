"""Pictures to an mp4 while training goes on: H.264, playable up to its last frame whenever the program is killed."""

import io
import os
import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, cast

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

from engine.frame import film_size

Pixels = NDArray[np.uint8]

RATE = 24
TIME_BASE = Fraction(1, RATE)
# No frame waits for a later one, so a frame is in the file as soon as it is encoded, and a film can be cut anywhere.
ENCODER = {"crf": "18", "preset": "ultrafast", "tune": "zerolatency"}
# Slices of a frame that are encoded side by side.
SLICES = 2


class Film:
    """An mp4 that grows by a frame at a time, from frames of one size.

    A frame comes as pixels, or is drawn into `planes`: brightness (height, width) and two colour differences of half
    the size, BT.601 in limited range; both sides are even there.
    """

    def __init__(self, path: Path, width: int, height: int) -> None:
        """Begins a film in place of any at `path`; no file is made before its first frame."""
        path.unlink(missing_ok=True)
        self.path = path
        self.frames = 0
        self._size = film_size(width, height)
        self._canvas = av.VideoFrame(width + width % 2, height + height % 2, "yuv420p")
        self._encoder, self._fragments = _begin(self._size)
        self._file: BinaryIO | None = None

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
            self._write(_lengths(bytes(packet)), packet.is_keyframe)

    def _write(self, sample: bytes, key: bool) -> None:
        """Appends one frame to the file, and leaves nothing of it in this program."""
        try:
            if self._file is None:
                self._file = self.path.open("wb")
                self._file.write(self._fragments.header)
            self._file.write(self._fragments.fragment(sample, self.frames, key))
            self._file.flush()
        except OSError as error:
            error.filename = str(self.path)
            raise
        self.frames += 1

    def take_over(self, earlier: Path, frames: int) -> None:
        """Begins with the first `frames` of another film: copied where its encoder's settings were the same."""
        with av.open(_local(earlier)) as source:
            old = source.streams.video[0]
            if bytes(old.codec_context.extradata or b"?") in self._fragments.header:
                for packet in _packets(source, old):
                    if self.frames == frames:
                        break
                    self._write(bytes(packet), packet.is_keyframe)
            else:
                for picture in source.decode(old):
                    if self.frames == frames:
                        break
                    self._encode(picture)

    def close(self) -> None:
        """Ends the film, and rewrites it with its index in front, as players like it best."""
        if self._file:
            self._file.close()
            _rewrite(self.path)


class _Fragments:
    """The boxes of a fragmented mp4 of one track. Source: ISO/IEC 14496-12, sections 8.8 and 8.16."""

    def __init__(self, header: bytes) -> None:
        self.header = header
        # Time units a second, in the media header's fifth field.
        (timescale,) = struct.unpack_from(">I", header, header.index(b"mdhd") + 16)
        self._duration = timescale // RATE

    def fragment(self, sample: bytes, number: int, key: bool) -> bytes:
        """The fragment of one frame, its `number` counted from 0."""
        flags = 0x02000000 if key else 0x01010000  # depends on no other frame; depends on some, no place to begin
        start = struct.pack(">Q", number * self._duration)
        track = _box(b"tfhd", 0x020000, struct.pack(">I", 1)) + _box(b"tfdt", 0x01000000, start)
        offset = 8 + 16 + 8 + len(track) + 32 + 8  # moof, mfhd, traf, trun, mdat's header
        run = struct.pack(">IiIII", 1, offset, self._duration, len(sample), flags)
        track += _box(b"trun", 0x000701, run)
        moof = _box(b"mfhd", 0, struct.pack(">I", number + 1)) + _box(b"traf", None, track)
        return _box(b"moof", None, moof) + _box(b"mdat", None, sample)


def _box(kind: bytes, version_and_flags: int | None, content: bytes) -> bytes:
    if version_and_flags is not None:
        content = struct.pack(">I", version_and_flags) + content
    return struct.pack(">I", 8 + len(content)) + kind + content


def _begin(size: tuple[int, int]) -> tuple[Any, _Fragments]:
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
    return encoder, _Fragments(content[:length])


def _lengths(packet: bytes) -> bytes:
    """A packet with the length before each of its units, as mp4 holds it, in place of a start code."""
    parts, start = [], packet.index(b"\0\0\1") + 3
    while start:
        end = packet.find(b"\0\0\1", start)
        unit = packet[start : end if end >= 0 else None].rstrip(b"\0") if end >= 0 else packet[start:]
        parts.append(struct.pack(">I", len(unit)) + unit)
        start = end + 3 if end >= 0 else 0
    return b"".join(parts)


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
            if there:
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
            if packet.is_corrupt:  # cut off in its midst
                return
            if packet.size:
                yield packet
    except av.FFmpegError:
        return


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
