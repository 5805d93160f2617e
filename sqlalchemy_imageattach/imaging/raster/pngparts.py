"""A PNG as its decoder sees it: the chunks that make the picture, and none of those that merely stand beside it.

Texts, profiles and checksums that nobody needs stop Pillow and no browser.  What the chunks say of colours is read
here instead, with a bound on what is inflated.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import Final, NamedTuple

from ..formats.png import Chunk, chunks
from ..reader import Guarded, Reader
from .profiles import PRIMARIES, matrix_profile, profile_of

__all__ = ["Parts", "Png", "PngColours", "PngFrame", "png_parts"]

_LONGEST_PROFILE: Final = 4 * 2**20
_END: Final = b"\0\0\0\0IEND\xae\x42\x60\x82"


class PngColours(NamedTuple):
    """What a PNG says of its colours.

    :param profile: an ICC profile that says the same; ``None`` for sRGB
    :param transparent: the colour or the grey that is none, as Pillow's pixels have it, where it does not find it
    """

    profile: bytes | None
    transparent: tuple[int, int, int] | int | None


class Parts(io.RawIOBase):
    """Several parts of a source and some bytes of our own, as one file.

    :param source: the file
    :param parts: bytes, or the start and the length of a part of the file
    """

    def __init__(self, source: Guarded, parts: list[bytes | tuple[int, int]]) -> None:
        super().__init__()
        self._source, self._parts = source, parts
        self._lengths = [len(part) if isinstance(part, bytes) else part[1] for part in parts]
        self._index = self._within = self._place = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position in the file that the parts make."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move within the file that the parts make."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: sum(self._lengths)}[whence]
        self._place = max(0, base + offset)
        self._index, self._within = 0, self._place
        while self._index < len(self._parts) and self._within >= self._lengths[self._index]:
            self._within -= self._lengths[self._index]
            self._index += 1
        return self._place

    def read(self, size: int | None = -1, /) -> bytes:
        """At most ``size`` bytes."""
        left = sum(self._lengths) if size is None or size < 0 else size
        pieces = []
        while left > 0 and self._index < len(self._parts):
            part, length = self._parts[self._index], self._lengths[self._index]
            wanted = min(left, length - self._within)
            if isinstance(part, bytes):
                piece = part[self._within : self._within + wanted]
            else:
                self._source.seek(part[0] + self._within)
                piece = self._source.read(wanted)
            if not piece and wanted:
                break
            pieces.append(piece)
            left -= len(piece)
            self._place += len(piece)
            self._within += len(piece)
            if self._within >= length:
                self._index, self._within = self._index + 1, 0
        return b"".join(pieces)


class PngFrame(NamedTuple):
    """One frame of a PNG.

    :param parts: a PNG of it alone, beginning with its header; see :class:`Parts`
    :param box: where it is on the canvas: left, top, right, bottom
    :param disposal: what becomes of it when it has been shown: 1 is cleared, 2 is what was before
    :param over: whether it is laid over what is there, and does not replace it
    :param duration: milliseconds; ``None`` for a picture that is no part of the animation
    """

    parts: list[bytes | tuple[int, int]]
    box: tuple[int, int, int, int]
    disposal: int = 0
    over: bool = False
    duration: float | None = None


class Png(NamedTuple):
    """What of a PNG makes its pictures.

    :param frames: one, or those of an animation
    :param plays: how often they are shown, 0 for ever
    :param colours: of all of them
    """

    frames: list[PngFrame]
    plays: int
    colours: PngColours


def png_parts(source: Guarded, *, animated: bool) -> Png:
    """The pictures alone, of a PNG that has been looked through already, and their colours."""
    reader = Reader(source)
    head = reader.at(0, 33)
    width, height = struct.unpack(">II", head[16:24])
    said: dict[bytes, Chunk] = {}
    first, frames, before = PngFrame([], (0, 0, width, height)), list[PngFrame](), list[bytes]()
    for chunk in chunks(reader):
        if chunk.name == b"IDAT":
            if not frames:
                before = _before_data(reader, said)
                frames.append(first)
            if len(frames) == 1:
                _append(frames[0].parts, chunk)
        elif animated and chunk.name == b"fcTL" and chunk.length >= 26:
            control = _controlled(reader.at(chunk.start, 26))
            if frames:
                frames.append(control)
            else:
                first = control
        elif animated and chunk.name == b"fdAT" and len(frames) > 1 and chunk.length >= 4:
            # the same data as in other chunks, behind a number
            frames[-1].parts.append(struct.pack(">I", chunk.length - 4) + b"IDAT")
            frames[-1].parts.append((chunk.start + 4, chunk.length))
        elif not frames:
            said.setdefault(chunk.name, chunk)
    for frame in frames:
        left, top, right, bottom = frame.box
        own = head[12:16] + struct.pack(">II", right - left, bottom - top) + head[24:29]
        frame.parts[:0] = [head[:12] + own + struct.pack(">I", zlib.crc32(own)), *before]
        frame.parts.append(_END)
    plays = int.from_bytes((_data(reader, said, b"acTL", 8) or bytes(8))[4:8])
    return Png(frames, plays, _colours(reader, said, head))


def _controlled(control: bytes) -> PngFrame:
    wide, high, left, top, shown, unit, disposal, blending = struct.unpack(">4IHHBB", control[4:])
    return PngFrame([], (left, top, left + wide, top + high), disposal, blending == 1, 1000 * shown / (unit or 100))


def _append(parts: list[bytes | tuple[int, int]], chunk: Chunk) -> None:
    start, length = chunk.start - 8, chunk.length + 12
    last = parts[-1] if parts else b""
    if isinstance(last, tuple) and sum(last) == start:
        parts[-1] = last[0], last[1] + length
    else:
        parts.append((start, length))


def _before_data(reader: Reader, said: dict[bytes, Chunk]) -> list[bytes]:
    """The palette, and what of it is clear."""
    made = []
    for name, most in ((b"PLTE", 768), (b"tRNS", 256)):
        data = _data(reader, said, name, most)
        if data is not None:
            made.append(_chunk(name, data))
    return made


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _data(reader: Reader, said: dict[bytes, Chunk], name: bytes, most: int) -> bytes | None:
    """What a chunk holds; ``None`` for one that is missing, too long, or whose checksum says that it is damaged."""
    chunk = said.get(name)
    if chunk is None or chunk.length > most:
        return None
    data = reader.at(chunk.start, chunk.length)
    checksum = int.from_bytes(reader.at(chunk.start + chunk.length, 4))
    return data if name in {b"PLTE", b"acTL"} or zlib.crc32(name + data) == checksum else None


def _colours(reader: Reader, said: dict[bytes, Chunk], head: bytes) -> PngColours:
    return PngColours(_profile(reader, said, head[25] not in {0, 4}), _key(reader, said, head[24], head[25]))


def _key(reader: Reader, said: dict[bytes, Chunk], depth: int, colour: int) -> tuple[int, int, int] | int | None:
    key = _data(reader, said, b"tRNS", 256) or b""
    if colour == 2 and depth == 16 and len(key) == 6:
        # of its 8 bits Pillow keeps the upper ones
        return key[0], key[2], key[4]
    if colour == 0 and depth in {2, 4} and len(key) == 2:
        # its levels go up to 255, and the key does not
        most = (1 << depth) - 1
        return (key[1] & most) * int(255 // most)
    return None


def _profile(reader: Reader, said: dict[bytes, Chunk], coloured: bool) -> bytes | None:
    """The first of these that is there counts: code points, a profile, sRGB, gamma and primaries."""
    points = _data(reader, said, b"cICP", 4)
    if points is not None and len(points) == 4 and points[2] == 0:
        return profile_of(points[0], points[1])
    profile = _data(reader, said, b"iCCP", _LONGEST_PROFILE)
    if profile is not None:
        name, _, packed = profile.partition(b"\0")
        try:
            return zlib.decompressobj().decompress(packed[1:], _LONGEST_PROFILE) if len(name) < 80 else None
        except zlib.error:
            return None
    gamma, primaries = _data(reader, said, b"gAMA", 4), _data(reader, said, b"cHRM", 32)
    if b"sRGB" in said or gamma is None or len(gamma) != 4 or not coloured:
        return None
    return _gamma_profile(int.from_bytes(gamma), primaries)


def _gamma_profile(gamma: int, primaries: bytes | None) -> bytes | None:
    if not 1_000 <= gamma <= 1_000_000:
        return None
    corners = PRIMARIES[1]
    if primaries is not None and len(primaries) == 32:
        white, red, green, blue = (
            tuple(value / 100_000 for value in pair) for pair in struct.iter_unpack(">2I", primaries)
        )
        corners = (red, green, blue, white)
    if abs(gamma - 45_455) <= 500 and corners == PRIMARIES[1]:
        return None
    return matrix_profile(corners, lambda level: level ** (100_000 / gamma))
