"""PDF: the size of the first page, found by following the references from the catalogue to it.

This is no PDF reader: it believes the file's own table of objects where that leads to objects, looks for them wherever
they stand where it does not, and refuses what cannot be found so.  The size it finds *bounds* the renderer, which is
told to fit the page into it; so a file that lies to this module gets an ugly thumbnail, not an endless one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NoReturn

from ...errors import UnreadableImageError
from ..reader import Reader, refuse_damaged, refuse_truncated
from .header import Header
from .pdfxref import Sections, dictionary_at, inflated

__all__ = ["scan"]

# Every repetition is bounded: these run over what a stranger wrote.  None runs over more than _MOST_BYTES_OF_OBJECT.
_ROOT: Final = re.compile(rb"/Root\s{0,8}([0-9]{1,10})\s{1,8}[0-9]{1,5}\s{1,8}R\b")
_HEAD: Final = re.compile(rb"[0-9]{1,5}\s{1,8}obj\b")
_BEFORE_OBJECT: Final = re.compile(rb"[0-9]{1,10}\s{1,8}[0-9]{1,5}\s{1,8}\Z")
_KIDS: Final = re.compile(rb"/Kids\b")
_FIRST_KID: Final = re.compile(rb"/Kids\s{0,8}\[\s{0,8}([0-9]{1,10})\s{1,8}[0-9]{1,5}\s{1,8}R\b")
_FIRST_NUMBER: Final = re.compile(rb"\s{0,8}\[?\s{0,8}([0-9]{1,10})\s")
_REFERENCE: Final = re.compile(rb"\s{0,8}([0-9]{1,10})\s{1,8}[0-9]{1,5}\s{1,8}R\b")
_BOX: Final = re.compile(rb"\s{0,8}\[([^\]]{0,200})\]")
_NUMBER: Final = re.compile(rb"[+-]?(?:[0-9]{1,12}(?:\.[0-9]{0,12})?|\.[0-9]{1,12})")
_MOST_BYTES_OF_OBJECT: Final = 64 * 1024
_DEEPEST: Final = 64
_LARGEST_PAGE: Final = 10_000_000
#: How much of the end is searched for the mark of the end.
_END: Final = 2**20
#: How many bytes are searched in one step of the reader.
_SEARCHED_A_STEP: Final = 3072
#: How many bytes of the list of its objects, in a stream of them, are read in one step.
_LISTED_A_STEP: Final = 8
_PAIR: Final = re.compile(rb"([0-9]{1,10})\s{1,8}([0-9]{1,10})(?:\s|\Z)")


def scan(reader: Reader) -> Header:
    """Look through a PDF, which is read as a whole.  Its pixels are points: 72 to an inch."""
    if reader.rfind(b"%%EOF", max(0, reader.size - _END)) < 0:
        refuse_truncated("a PDF without its end")
    return _Pdf(reader, reader.everything()).first_page()


class _Pdf:
    def __init__(self, reader: Reader, data: bytes) -> None:
        self.reader, self.data = reader, data
        self.sections = Sections(reader, data)
        #: what was looked for without the table: for objects in streams, where the stream's object begins
        self.packed: dict[int, int] | None = None
        #: what a stream of objects holds, and where each of them begins in it, by where the stream's object begins
        self.streams: dict[int, tuple[bytes, dict[int, int]]] = {}

    def first_page(self) -> Header:
        node = self._object(self._reference(self._object(self._root()), b"Pages"))
        inherited: dict[bytes, bytes] = {}
        for _ in range(_DEEPEST):
            for key in (b"MediaBox", b"CropBox", b"Rotate", b"UserUnit"):
                value = self._value(node, key)
                if value is not None:
                    inherited[key] = value
            if _KIDS.search(node) is None:
                return _header(inherited)
            node = self._object(self._first_kid(node))
        refuse_damaged("a PDF with a circle of pages")

    def _root(self) -> int:
        if self.sections.root is not None:
            return self.sections.root
        place = len(self.data)
        while (place := self._rfind(b"/Root", place)) >= 0:
            match = _ROOT.match(self.data, place)
            if match:
                return int(match[1])
        refuse_damaged("a PDF without a catalogue")

    def _first_kid(self, node: bytes) -> int:
        match = _FIRST_KID.search(node) or _FIRST_NUMBER.match(self._value(node, b"Kids") or b"")
        if match is None:
            refuse_damaged("a PDF without pages")
        return int(match[1])

    def _value(self, node: bytes, key: bytes) -> bytes | None:
        value = _after(self.reader, node, key)
        reference = _REFERENCE.match(value or b"")
        return self._object(int(reference[1]))[:200] if reference else value

    def _reference(self, node: bytes, key: bytes) -> int:
        match = _REFERENCE.match(_after(self.reader, node, key) or b"")
        if match is None:
            self._refuse_lost(key.decode())
        return int(match[1])

    def _object(self, number: int) -> bytes:
        """The text of an object, without the stream that may follow it."""
        text = self._in_sections(number)
        if text is None:
            start = self._searched(number)
            text = dictionary_at(self.reader, self.data, start) if start is not None else self._in_streams(number)
        if text is None:
            self._refuse_lost(f"object {number}")
        return text

    def _refuse_lost(self, what: str) -> NoReturn:
        if self._rfind(b"/Encrypt", len(self.data)) >= 0:
            msg = "the PDF is encrypted, so that its first page cannot be found; give one that has no password"
            raise UnreadableImageError(msg, code="unsupported", mimetype="application/pdf")
        refuse_damaged(f"a PDF whose {what} cannot be found")

    def _in_sections(self, number: int) -> bytes | None:
        """The object where the file's table says that it is."""
        place = self.sections.place(number)
        if place is None:
            return None
        if place.stream is None:
            start = self._head(number, place.offset)
            return None if start is None else dictionary_at(self.reader, self.data, start)
        outer = self.sections.place(place.stream)
        start = None if outer is None or outer.stream is not None else self._head(place.stream, outer.offset)
        return None if start is None else self._packed_in(start, number)

    def _head(self, number: int, offset: int) -> int | None:
        """Where the content of an object begins that should be at ``offset``."""
        word = b"%d " % number
        if self.data[offset : offset + len(word)] != word:
            return None
        match = _HEAD.match(self.data, offset + len(word))
        return match.end() if match else None

    def _searched(self, number: int) -> int | None:
        """Where the content of the last object of this number begins."""
        word, place = b"%d " % number, len(self.data)
        while (place := self._rfind(word, place)) >= 0:
            if not self.data[max(0, place - 1) : place].isdigit() and (start := self._head(number, place)) is not None:
                return start
        return None

    def _in_streams(self, number: int) -> bytes | None:
        """The object in one of the object streams, wherever they stand."""
        if self.packed is None:
            self.packed = {}
            place = len(self.data)
            found: set[int] = set()
            while (place := self._rfind(b"/ObjStm", place)) >= 0:
                start = self._start_before(place)
                if start is not None and start not in found:
                    found.add(start)
                    for inner in self._listed(start):
                        self.packed.setdefault(inner, start)
        outer = self.packed.get(number)
        return None if outer is None else self._packed_in(outer, number)

    def _start_before(self, place: int) -> int | None:
        """Where the object begins within which this place is."""
        lowest = max(0, place - _MOST_BYTES_OF_OBJECT)
        while True:
            start = self.data.rfind(b"obj", lowest, place)
            self.reader.spend(1 + (place - max(start, lowest)) // _SEARCHED_A_STEP)
            if start < 0 or _BEFORE_OBJECT.search(self.data[max(0, start - 24) : start]):
                return None if start < 0 else start + 3
            place = start

    def _packed_in(self, start: int, number: int) -> bytes | None:
        """An object in the stream of the object that begins there."""
        place = self._listed(start).get(number)
        return None if place is None else self.streams[start][0][place : place + _MOST_BYTES_OF_OBJECT]

    def _listed(self, start: int) -> dict[int, int]:
        """Where each object begins in the stream of the object that begins there."""
        if start not in self.streams:
            first = _integer(self.reader, dictionary_at(self.reader, self.data, start), b"First")
            content = inflated(self.reader, self.data, start) if first is not None else b""
            self.streams[start] = content, dict(self._pairs(content, first or 0))
        return self.streams[start][1]

    def _pairs(self, content: bytes, first: int) -> Iterator[tuple[int, int]]:
        end = min(first, len(content))
        self.reader.spend(end // _LISTED_A_STEP)
        for match in _PAIR.finditer(content, 0, end):
            yield int(match[1]), first + int(match[2])

    def _rfind(self, word: bytes, end: int) -> int:
        place = self.data.rfind(word, 0, end)
        self.reader.spend(1 + (end - max(place, 0)) // _SEARCHED_A_STEP)
        return place


def _after(reader: Reader, node: bytes, key: bytes) -> bytes | None:
    """What follows a key."""
    word, place = b"/" + key, -1
    while (place := node.find(word, place + 1)) >= 0:
        reader.spend(1)
        end = place + len(word)
        if not node[end : end + 1].isalnum():
            return node[end : end + 200]
    return None


def _integer(reader: Reader, node: bytes, key: bytes) -> int | None:
    match = _NUMBER.match((_after(reader, node, key) or b"").lstrip())
    return int(float(match[0])) if match else None


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
    inside = _BOX.match(value or b"")
    numbers = [float(number) for number in _NUMBER.findall(inside[1])] if inside else []
    if len(numbers) != 4:
        return None
    (left, right), (bottom, top) = sorted(numbers[0::2]), sorted(numbers[1::2])
    return left, bottom, right, top


def _first_number(value: bytes | None, default: float) -> float:
    match = _NUMBER.match((value or b"").lstrip())
    return float(match[0]) if match else default
