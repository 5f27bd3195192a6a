"""The bytes of a fragmented mp4: a file that is whole up to its last frame, wherever it is cut off."""

import struct

RATE = 24


class Fragments:
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


def lengths(packet: bytes) -> bytes:
    """A packet with the length before each of its units, as mp4 holds it, in place of a start code."""
    parts, start = [], packet.index(b"\0\0\1") + 3
    while start:
        end = packet.find(b"\0\0\1", start)
        unit = packet[start : end if end >= 0 else None].rstrip(b"\0") if end >= 0 else packet[start:]
        parts.append(struct.pack(">I", len(unit)) + unit)
        start = end + 3 if end >= 0 else 0
    return b"".join(parts)
