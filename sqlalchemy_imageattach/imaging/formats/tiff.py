"""TIFF and BigTIFF: the directories, and whether the strips or tiles of the first picture are all there."""

from __future__ import annotations

from typing import Final

from ..reader import Reader, refuse_damaged, refuse_truncated
from .exif import ORIENTATION
from .header import Header

__all__ = ["scan"]

_WIDTH, _HEIGHT = 0x0100, 0x0101
#: The tags of offsets and lengths: of strips, and of tiles.
_PARTS: Final = ((0x0111, 0x0117), (0x0144, 0x0145))
_BYTES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_INTEGERS: Final = frozenset({1, 3, 4, 13, 16})
_MOST_PAGES = 10_000
_MOST_PARTS = 1_000_000
_CHUNK = 4096


def scan(reader: Reader) -> Header:
    """Look through a TIFF: frames are its pages."""
    return _Tiff(reader).scan()


class _Tiff:
    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.order: str = "little" if reader.at(0, 2) == b"II" else "big"
        self.big = self._int(2, 2) == 43
        #: bytes of an offset, of an entry of a directory, and of the number of entries
        self.word, self.entry, self.count = (8, 20, 8) if self.big else (4, 12, 2)

    def scan(self) -> Header:
        offset = self._int(8 if self.big else 4, self.word)
        first: dict[int, tuple[int, int, int]] | None = None
        seen: set[int] = set()
        while offset:
            if offset in seen or len(seen) >= _MOST_PAGES:
                refuse_damaged("a TIFF with a circle of pages, or more than it can have")
            seen.add(offset)
            tags, offset = self._directory(offset)
            self._check_parts(tags)
            first = first or tags
        width, height = (self._single(first or {}, tag) for tag in (_WIDTH, _HEIGHT))
        if not width or not height:
            refuse_damaged(f"a TIFF of {width}×{height} pixels")
        orientation = self._single(first or {}, ORIENTATION)
        return Header(width, height, orientation if 1 <= orientation <= 8 else 1, len(seen))

    def _directory(self, offset: int) -> tuple[dict[int, tuple[int, int, int]], int]:
        entries = self._int(offset, self.count)
        if entries > 65_535:
            refuse_damaged(f"a TIFF directory of {entries:,} entries")
        tags = {}
        position = offset + self.count
        for _ in range(entries):
            tag, kind, number = self._int(position, 2), self._int(position + 2, 2), self._int(position + 4, self.word)
            size = _BYTES.get(kind, 1) * number
            value = position + 4 + self.word
            if size > self.word:
                value = self._int(value, self.word)
                if value + size > self.reader.size:
                    refuse_truncated(f"a TIFF whose tag 0x{tag:04x} is not all there")
            tags[tag] = kind, number, value
            position += self.entry
        return tags, self._int(position, self.word)

    def _check_parts(self, tags: dict[int, tuple[int, int, int]]) -> None:
        for offsets, lengths in _PARTS:
            if offsets in tags:
                starts, sizes = self._values(tags, offsets), self._values(tags, lengths) if lengths in tags else []
                end = max((start + (sizes[i] if i < len(sizes) else 1) for i, start in enumerate(starts)), default=0)
                if end > self.reader.size:
                    refuse_truncated(f"a TIFF that needs {end:,} bytes, of which {self.reader.size:,} are there")
                return
        refuse_damaged("a TIFF without any picture data")

    def _values(self, tags: dict[int, tuple[int, int, int]], tag: int) -> list[int]:
        kind, number, offset = tags[tag]
        if kind not in _INTEGERS or not 0 < number <= _MOST_PARTS:
            refuse_damaged(f"a TIFF whose tag 0x{tag:04x} holds no offsets")
        size = _BYTES[kind]
        values = []
        for start in range(offset, offset + number * size, _CHUNK):
            data = self.reader.at(start, min(_CHUNK, offset + number * size - start))
            values += [int.from_bytes(data[i : i + size], self.order) for i in range(0, len(data), size)]  # type: ignore[arg-type]
        return values

    def _single(self, tags: dict[int, tuple[int, int, int]], tag: int) -> int:
        kind, number, offset = tags.get(tag, (0, 0, 0))
        return self._int(offset, _BYTES[kind]) if kind in _INTEGERS and number else 0

    def _int(self, offset: int, size: int) -> int:
        return int.from_bytes(self.reader.at(offset, size), self.order)  # type: ignore[arg-type]
