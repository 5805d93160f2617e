"""PDF: the size of the first page, found by following the references from the catalogue to it.

This is no PDF reader: it looks for objects wherever they stand, the last one of each number counts, and what cannot be
found so is refused.  The size it finds *bounds* the renderer, which is told to fit the page into it; so a file that
lies to this module gets an ugly thumbnail, not an endless one.
"""

from __future__ import annotations

import re
import zlib
from bisect import bisect_right
from typing import Final

from ..reader import Reader, refuse_damaged, refuse_truncated
from .header import Header

__all__ = ["scan"]

# Every repetition is bounded: these run over megabytes that a stranger wrote.
_OBJECT: Final = re.compile(rb"(?<![0-9])([0-9]{1,10})\s{1,8}[0-9]{1,5}\s{1,8}obj\b")
_ROOT: Final = re.compile(rb"/Root\s{0,8}([0-9]{1,10})\s{1,8}[0-9]{1,5}\s{1,8}R\b")
_OBJECT_STREAM: Final = re.compile(rb"/Type\s{0,8}/ObjStm\b")
_NUMBER: Final = re.compile(rb"[+-]?(?:[0-9]{1,12}(?:\.[0-9]{0,12})?|\.[0-9]{1,12})")
_MOST_BYTES_OF_OBJECT = 64 * 1024
_MOST_STREAMS = 10_000
_MOST_BYTES_OF_STREAM = 8 * 2**20
_DEEPEST = 64
_LARGEST_PAGE = 10_000_000


def scan(reader: Reader) -> Header:
    """Look through a PDF, which is read as a whole.  Its pixels are points: 72 to an inch."""
    if reader.rfind(b"%%EOF") < 0:
        refuse_truncated("a PDF without its end")
    return _Pdf(reader.everything()).first_page()


class _Pdf:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.starts: list[int] = []
        self.objects: dict[int, int] = {}
        for match in _OBJECT.finditer(data):
            self.starts.append(match.end())
            self.objects[int(match[1])] = match.end()
        #: for each object within a stream: where the stream's object is, and the place of the object in it
        self.packed: dict[int, tuple[int, int]] = {}

    def first_page(self) -> Header:
        self._index_streams()
        roots = _ROOT.findall(self.data)
        if not roots:
            refuse_damaged("a PDF without a catalogue")
        node = self._object(self._reference(self._object(int(roots[-1])), b"Pages"))
        inherited: dict[bytes, bytes] = {}
        for _ in range(_DEEPEST):
            for key in (b"MediaBox", b"CropBox", b"Rotate", b"UserUnit"):
                value = self._value(node, key)
                if value is not None:
                    inherited[key] = value
            if re.search(rb"/Kids\b", node) is None:
                return _header(inherited)
            node = self._object(self._first_kid(node))
        refuse_damaged("a PDF with a circle of pages")

    def _first_kid(self, node: bytes) -> int:
        match = re.search(rb"/Kids\s{0,8}\[\s{0,8}([0-9]{1,10})\s{1,8}[0-9]{1,5}\s{1,8}R\b", node)
        if match is None:
            match = re.match(rb"\s{0,8}\[?\s{0,8}([0-9]{1,10})\s", self._value(node, b"Kids") or b"")
        if match is None:
            refuse_damaged("a PDF without pages")
        return int(match[1])

    def _value(self, node: bytes, key: bytes) -> bytes | None:
        match = re.search(rb"/%s\b\s{0,8}" % key, node)
        if match is None:
            return None
        value = node[match.end() : match.end() + 200]
        reference = re.match(rb"([0-9]{1,10})\s{1,8}[0-9]{1,5}\s{1,8}R\b", value)
        return self._object(int(reference[1]))[:200] if reference else value

    def _reference(self, node: bytes, key: bytes) -> int:
        match = re.search(rb"/%s\s{0,8}([0-9]{1,10})\s{1,8}[0-9]{1,5}\s{1,8}R\b" % key, node)
        if match is None:
            refuse_damaged(f"a PDF whose {key.decode()} cannot be found (it may be encrypted)")
        return int(match[1])

    def _object(self, number: int) -> bytes:
        """The text of an object, without the stream that may follow it."""
        if number in self.objects:
            return self._text_at(self.objects[number])
        if number in self.packed:
            stream, place = self.packed[number]
            return self._inflated(stream, _MOST_BYTES_OF_STREAM)[place : place + _MOST_BYTES_OF_OBJECT]
        refuse_damaged(f"a PDF whose object {number} cannot be found (it may be encrypted)")

    def _text_at(self, start: int) -> bytes:
        text = self.data[start : start + _MOST_BYTES_OF_OBJECT]
        end = re.search(rb"\b(?:endobj|stream)\b", text)
        return text[: end.start()] if end else text

    def _index_streams(self) -> None:
        for count, match in enumerate(_OBJECT_STREAM.finditer(self.data)):
            if count >= _MOST_STREAMS:
                refuse_damaged(f"a PDF with more than {_MOST_STREAMS:,} object streams")
            index = bisect_right(self.starts, match.start()) - 1
            if index >= 0:
                self._index_stream(self.starts[index])

    def _index_stream(self, start: int) -> None:
        first = self._number(start, b"First")
        if first is None or first > _MOST_BYTES_OF_STREAM:
            return
        numbers = [
            int(word) for word in self._inflated(start, first)[:first].split() if word.isdigit() and len(word) < 11
        ]
        for number, place in zip(numbers[::2], numbers[1::2], strict=False):
            self.packed[number] = start, first + place

    def _number(self, start: int, key: bytes) -> int | None:
        match = re.search(rb"/%s\s{0,8}([0-9]{1,10})\b" % key, self._text_at(start))
        return int(match[1]) if match else None

    def _inflated(self, start: int, length: int) -> bytes:
        begin = self.data.find(b"stream", start, start + _MOST_BYTES_OF_OBJECT)
        if begin < 0 or b"/FlateDecode" not in self.data[start:begin]:
            return b""
        begin += 8 if self.data[begin + 6 : begin + 8] == b"\r\n" else 7
        try:
            return zlib.decompressobj().decompress(self.data[begin : begin + _MOST_BYTES_OF_STREAM], length)
        except zlib.error:
            return b""


def _header(page: dict[bytes, bytes]) -> Header:
    media = _box(page.get(b"MediaBox"))
    if media is None:
        refuse_damaged("a PDF whose first page has no size")
    left, bottom, right, top = media
    crop = _box(page.get(b"CropBox"))
    if crop is not None:
        overlap = max(left, crop[0]), max(bottom, crop[1]), min(right, crop[2]), min(top, crop[3])
        if overlap[0] < overlap[2] and overlap[1] < overlap[3]:
            left, bottom, right, top = overlap
    unit = _first_number(page.get(b"UserUnit"), 1.0)
    width, height = (right - left) * unit, (top - bottom) * unit
    if _first_number(page.get(b"Rotate"), 0.0) % 180:
        width, height = height, width
    if not (0 < width <= _LARGEST_PAGE and 0 < height <= _LARGEST_PAGE):
        refuse_damaged(f"a PDF whose first page is {width:g}×{height:g} points")
    return Header(max(1, int(width + 0.5)), max(1, int(height + 0.5)))


def _box(value: bytes | None) -> tuple[float, float, float, float] | None:
    inside = re.match(rb"\s*\[([^\]]*)\]", value or b"")
    numbers = [float(number) for number in _NUMBER.findall(inside[1])] if inside else []
    if len(numbers) != 4:
        return None
    (left, right), (bottom, top) = sorted(numbers[0::2]), sorted(numbers[1::2])
    return left, bottom, right, top


def _first_number(value: bytes | None, default: float) -> float:
    match = _NUMBER.match(value or b"")
    return float(match[0]) if match else default
