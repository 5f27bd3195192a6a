"""Films as they are found: whole, cut off by a crash, or on a disk that does not give them."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from draw_poly.engine.record.disk import ReadError


class _File(io.FileIO):
    """A film's file that remembers a failed read, which FFmpeg may take for the film's end."""

    failure: OSError | None = None

    def read(self, size: int | None = -1) -> bytes:
        """See `io.FileIO.read`."""
        try:
            return super().read(size)
        except OSError as error:
            self.failure = error
            raise


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A film's container. Raises ReadError where the file cannot be read, FFmpegError or IndexError for no film."""
    file = None
    try:
        with _File(path) as file, av.open(file) as source:
            yield source
    except (OSError, av.FFmpegError) as error:
        failure = file.failure if file else error
        if not isinstance(failure, OSError):
            raise
        raise ReadError(failure.errno, failure.strerror, str(path)) from error
    if file.failure:
        raise ReadError(file.failure.errno, file.failure.strerror, str(path))


def packets_of(source: Any) -> Iterator[Any]:
    """A film's packets without the empty one that ends it; a cut-off film ends where it was cut."""
    try:
        for packet in source.demux(source.streams.video[0]):
            if packet.is_corrupt:  # cut off in its midst
                return
            if packet.size:
                yield packet
    except av.FFmpegError:
        return


@dataclass(frozen=True)
class Content:
    """What a film holds: how many frames, a digest of them, and whether the first and the last key frame decode."""

    frames: int
    digest: bytes
    decodes: bool


def content_of(path: Path) -> Content:
    """Reads a film; nothing at all where there is none. Raises ReadError where it cannot be read."""
    frames, digest, keys = 0, hashlib.blake2b(), list[Any]()
    try:
        with opened(path) as source:
            for packet in packets_of(source):
                frames += 1
                digest.update(bytes(packet))
                if packet.is_keyframe:
                    keys[1:] = [packet]
            decodes = bool(keys) and all(_shows(source.streams.video[0], packet) for packet in keys)
    except FileNotFoundError:
        return Content(0, b"", False)
    except (IndexError, av.FFmpegError):
        return Content(0, b"", False)
    return Content(frames, digest.digest(), decodes)


def _shows(stream: Any, packet: Any) -> bool:
    try:
        return bool(stream.codec_context.decode(packet) or stream.codec_context.decode(None))
    except av.FFmpegError:
        return False
    finally:
        stream.codec_context.flush_buffers()


def count_frames(path: Path) -> int:
    """Frames in a film, 0 where there is none. Raises ReadError where it cannot be read."""
    return content_of(path).frames


def local(path: Path) -> str:
    """A path as FFmpeg takes it: `run:1/film.mp4` would be a protocol."""
    return f"file:{path}"
