"""TIFF and BigTIFF: the directories, and whether the strips or tiles of each picture are all there."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import chain, repeat
from operator import add
from typing import Final, NamedTuple

from ..reader import Reader, refuse_costly, refuse_damaged, refuse_truncated
from . import scans
from .exif import ORIENTATION
from .header import Header

__all__ = ["Layout", "has_rare_coding", "layout", "scan"]

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _COLOURS, _SAMPLES = 0x0100, 0x0101, 0x0102, 0x0103, 0x0106, 0x0115
_SAMPLE_FORMAT = 0x0153
#: None, those of fax, LZW, JPEG, Deflate by either number, and PackBits; 0 where it is not said.
_USUAL: Final = frozenset({0, 1, 2, 3, 4, 5, 7, 8, 32773, 32946})
#: The tags of offsets and lengths: of strips, and of tiles.
_PARTS: Final = ((0x0111, 0x0117), (0x0144, 0x0145))
#: How wide and how high each of them is.
_SIDES: Final = ((0, 0x0116), (0x0142, 0x0143))
_JPEG: Final = frozenset({6, 7})
_BYTES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
#: The kinds that offsets and lengths have, as :mod:`struct` calls them.
_INTEGERS: Final = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}
_MOST_PARTS = 1_000_000
_CHUNK = 4096
#: How many offsets are looked at in one step of the reader.
_VALUES_A_STEP = 32


class _Tag(NamedTuple):
    kind: int
    number: int
    offset: int


def scan(reader: Reader) -> Header:
    """Look through a TIFF: all of its pages, of which the first one counts."""
    return _Tiff(reader).scan()


def has_rare_coding(reader: Reader) -> bool:
    """Whether the first page of a TIFF that has been looked through is compressed in a way that is not usual."""
    return layout(reader).compression not in _USUAL


class Layout(NamedTuple):
    """How the first page of a TIFF keeps its pixels, by the numbers of the format; 0 for what is not said.

    :param colours: what they are, so 0 for grey whose white is 0, 6 for YCbCr, 8 for Lab
    :param bits: of the first of its samples
    :param samples: how many numbers a pixel has
    :param compression: how they are packed, so 7 for JPEG
    :param kind: what numbers they are, so 2 for those below 0 too, and 3 for floats
    """

    colours: int
    bits: int
    samples: int
    compression: int
    kind: int


def layout(reader: Reader) -> Layout:
    """How a TIFF that has been looked through keeps its pixels."""
    return Layout(*_Tiff(reader).first(_COLOURS, _BITS, _SAMPLES, _COMPRESSION, _SAMPLE_FORMAT))


class _Tiff:
    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.order = "<" if reader.at(0, 2) == b"II" else ">"
        (version,) = self._unpack("H", 2)
        self.big = version == 43
        #: as struct calls them: an offset, an entry of a directory, and the number of entries
        self.word, self.entry, self.count = ("Q", "HHQ", "Q") if self.big else ("I", "HHI", "H")
        self.word_size = 8 if self.big else 4

    def scan(self) -> Header:
        (offset,) = self._unpack(self.word, 8 if self.big else 4)
        first: dict[int, _Tag] | None = None
        sizes: list[tuple[int, int]] = []
        seen: set[int] = set()
        while offset:
            if offset in seen:
                refuse_damaged("a TIFF with a circle of pages")
            seen.add(offset)
            tags, offset = self._directory(offset)
            self._check_parts(tags)
            sizes.append((self._single(tags, _WIDTH), self._single(tags, _HEIGHT)))
            if first is None:
                first = tags
                self._check_scans(tags, *sizes[0])
        width, height = sizes[0] if sizes else (0, 0)
        if not width or not height:
            refuse_damaged(f"a TIFF of {width}×{height} pixels")
        orientation = self._single(first or {}, ORIENTATION)
        largest = max(sizes, key=lambda size: size[0] * size[1])
        return Header(
            width,
            height,
            orientation if 1 <= orientation <= 8 else 1,
            pages=len(sizes),
            largest=largest if largest[0] * largest[1] > width * height else None,
        )

    def first(self, *names: int) -> Iterator[int]:
        """What the first page says by each tag: the first of its numbers, 0 without one."""
        (offset,) = self._unpack(self.word, 8 if self.big else 4)
        tags, _ = self._directory(offset)
        return (self._single(tags, name) for name in names)

    def _directory(self, offset: int) -> tuple[dict[int, _Tag], int]:
        (entries,) = self._unpack(self.count, offset)
        if entries > 65_535:
            refuse_damaged(f"a TIFF directory of {entries:,} entries")
        tags, all_of_them = {}, 0
        position = offset + (8 if self.big else 2)
        for _ in range(entries):
            tag, kind, number = self._unpack(self.entry, position)
            size = _BYTES.get(kind, 1) * number
            value = position + 4 + self.word_size
            position = value + self.word_size
            if size > self.word_size:
                (value,) = self._unpack(self.word, value)
                if value + size > self.reader.size:
                    refuse_truncated(f"a TIFF whose tag 0x{tag:04x} is not all there")
                # a decoder reads them all, though many may be the same bytes
                all_of_them += size
                if all_of_them > self.reader.size:
                    refuse_damaged(f"a TIFF whose tags have more than its {self.reader.size:,} bytes")
            tags[tag] = _Tag(kind, number, value)
        return tags, self._unpack(self.word, position)[0]

    def _check_parts(self, tags: dict[int, _Tag]) -> None:
        for offsets, lengths in _PARTS:
            if offsets in tags:
                end = self._end_of_parts(tags, offsets, lengths)
                if end > self.reader.size:
                    refuse_truncated(f"a TIFF that needs {end:,} bytes, of which {self.reader.size:,} are there")
                return
        refuse_damaged("a TIFF without any picture data")

    def _check_scans(self, tags: dict[int, _Tag], width: int, height: int) -> None:
        """Of strips and tiles that are JPEG, each has scans of its own."""
        if self._single(tags, _COMPRESSION) not in _JPEG:
            return
        left = scans.MOST_PIXELS
        for (offsets, lengths), (across, down) in zip(_PARTS, _SIDES, strict=True):
            if offsets in tags and lengths in tags:
                area = max(1, (self._single(tags, across) or width) * min(self._single(tags, down) or height, height))
                for start, size in zip(self._values(tags, offsets), self._values(tags, lengths), strict=False):
                    most = left // area
                    found = self.reader.occurrences(scans.START, start, min(start + size, self.reader.size), most)
                    if found > most:
                        refuse_costly(f"a TIFF of {width * height:,} pixels in more scans than any has")
                    left -= found * area
                return

    def _end_of_parts(self, tags: dict[int, _Tag], offsets: int, lengths: int) -> int:
        """Where the last of the strips or tiles ends, each of which has one byte at the least."""
        starts = self._values(tags, offsets)
        sizes = chain(self._values(tags, lengths) if lengths in tags else (), repeat(1))
        return max(map(add, starts, sizes), default=0)

    def _values(self, tags: dict[int, _Tag], name: int) -> Iterator[int]:
        tag = tags[name]
        if tag.kind not in _INTEGERS or not 0 < tag.number <= _MOST_PARTS:
            refuse_damaged(f"a TIFF whose tag 0x{name:04x} holds no offsets")
        # before any of them is read: pages may share one array, and each of them names it anew
        self.reader.spend(tag.number // _VALUES_A_STEP)
        size = _BYTES[tag.kind]
        end = tag.offset + tag.number * size
        for start in range(tag.offset, end, _CHUNK):
            data = self.reader.at(start, min(_CHUNK, end - start))
            yield from struct.unpack(f"{self.order}{len(data) // size}{_INTEGERS[tag.kind]}", data)

    def _single(self, tags: dict[int, _Tag], name: int) -> int:
        tag = tags.get(name)
        if tag is None or tag.kind not in _INTEGERS or not tag.number:
            return 0
        value: int = self._unpack(_INTEGERS[tag.kind], tag.offset)[0]
        return value

    def _unpack(self, form: str, offset: int) -> tuple[int, ...]:
        form = self.order + form
        return struct.unpack(form, self.reader.at(offset, struct.calcsize(form)))
