"""Where the objects of a PDF are, as its own tables say: the old kind of plain text, and the new one in streams."""

from __future__ import annotations

import re
import zlib
from typing import Final, NamedTuple

from ..reader import Reader

__all__ = ["Place", "Sections", "dictionary_at", "inflated"]

_START: Final = re.compile(rb"startxref\s{1,8}([0-9]{1,10})\b")
_RANGE: Final = re.compile(rb"\s{0,8}([0-9]{1,10}) {1,8}([0-9]{1,10})\s{1,8}")
_NUMBER_OF_OBJECT: Final = re.compile(rb"\s{0,8}[0-9]{1,10}\s{1,8}[0-9]{1,5}\s{1,8}obj\b")
_ROOT: Final = re.compile(rb"/Root\s{0,8}([0-9]{1,10})\s{1,8}[0-9]{1,5}\s{1,8}R\b")
_PREVIOUS: Final = re.compile(rb"/Prev\s{0,8}([0-9]{1,10})\b")
_HYBRID: Final = re.compile(rb"/XRefStm\s{0,8}([0-9]{1,10})\b")
_WIDTHS: Final = re.compile(rb"/W\s{0,8}\[\s{0,8}([0-9])\s{1,8}([0-9])\s{1,8}([0-9])\s{0,8}\]")
_INDEX: Final = re.compile(rb"/Index\s{0,8}\[([0-9\s]{1,4096})\]")
_SIZE: Final = re.compile(rb"/Size\s{0,8}([0-9]{1,10})\b")
_PREDICTOR: Final = re.compile(rb"/Predictor\s{0,8}([0-9]{1,2})\b")
_END_OF_TEXT: Final = re.compile(rb"\b(?:endobj|stream)\b")
_MOST_SECTIONS: Final = 100
_MOST_RANGES: Final = 1000
_ENTRY: Final = 20
_MOST_BYTES_OF_OBJECT: Final = 64 * 1024
_MOST_BYTES_OF_STREAM: Final = 8 * 2**20
#: How many bytes are inflated in one step of the reader.
_INFLATED_A_STEP: Final = 1024
_READ_A_STEP: Final = 4096
_PIECE: Final = 16 * 1024


class Place(NamedTuple):
    """Where an object is: in the file, or in the stream of another object."""

    offset: int
    stream: int | None = None


class _Table(NamedTuple):
    """Entries of plain text: for each range its first object, how many there are, and where the entries begin."""

    data: bytes
    ranges: list[tuple[int, int, int]]

    def place(self, number: int) -> Place | None:
        for first, count, start in self.ranges:
            if first <= number < first + count:
                entry = self.data[start + _ENTRY * (number - first) :][:18]
                if entry[17:18] == b"n" and entry[:10].isdigit():
                    return Place(int(entry[:10]))
        return None


class _Stream(NamedTuple):
    """Entries in a stream, of three numbers each; ``summed`` if each row is only what it differs by from the last."""

    content: bytes
    widths: tuple[int, int, int]
    ranges: list[tuple[int, int]]
    summed: bool

    def place(self, number: int) -> Place | None:
        row = 0
        for first, count in self.ranges:
            if first <= number < first + count:
                kind, offset, _ = self._row(row + number - first)
                return Place(offset) if kind == 1 else Place(0, offset) if kind == 2 else None
            row += count
        return None

    def _row(self, row: int) -> list[int]:
        width = sum(self.widths)
        if self.summed:
            step = width + 1
            end = step * (row + 1)
            data = bytes(sum(self.content[1 + column : end : step]) & 0xFF for column in range(width))
        else:
            data = self.content[width * row : width * (row + 1)]
        numbers, place = [], 0
        for size in self.widths:
            numbers.append(int.from_bytes(data[place : place + size]))
            place += size
        # the first number may be left out, and means 1 then
        return numbers if self.widths[0] else [1, *numbers[1:]]


class Sections:
    """The tables of a file, the latest first.

    :param reader: for its budget
    :param data: the file
    """

    def __init__(self, reader: Reader, data: bytes) -> None:
        self._reader, self._data = reader, data
        #: the number of the catalogue
        self.root: int | None = None
        self._sections: list[_Table | _Stream] = []
        starts = _START.findall(data[-2048:])
        waiting, seen = [int(starts[-1])] if starts else [], set[int]()
        while waiting and len(seen) < _MOST_SECTIONS:
            offset = waiting.pop()
            if offset not in seen and offset < len(data):
                seen.add(offset)
                waiting += self._read(offset)

    def place(self, number: int) -> Place | None:
        """Where the object is; ``None`` if no table says it."""
        for section in self._sections:
            self._reader.spend(1)
            place = section.place(number)
            if place is not None:
                return place
        return None

    def _read(self, offset: int) -> list[int]:
        """Read the section that begins there; the next ones, the last one of them first."""
        self._reader.spend(10)
        if self._data.startswith(b"xref", offset):
            ranges, end = self._ranges(offset + 4)
            self._sections.append(_Table(self._data, ranges))
            text = self._data[end : end + 4096]
        else:
            head = _NUMBER_OF_OBJECT.match(self._data, offset)
            if head is None:
                return []
            text = dictionary_at(self._reader, self._data, head.end())
            self._read_stream(text, head.end())
        root = _ROOT.search(text)
        if self.root is None and root:
            self.root = int(root[1])
        return [int(match[1]) for pattern in (_PREVIOUS, _HYBRID) if (match := pattern.search(text))]

    def _ranges(self, position: int) -> tuple[list[tuple[int, int, int]], int]:
        ranges: list[tuple[int, int, int]] = []
        while len(ranges) < _MOST_RANGES and (match := _RANGE.match(self._data, position)):
            self._reader.spend(1)
            first, count = int(match[1]), int(match[2])
            ranges.append((first, count, match.end()))
            position = match.end() + _ENTRY * count
        return ranges, position

    def _read_stream(self, text: bytes, start: int) -> None:
        widths, size = _WIDTHS.search(text), _SIZE.search(text)
        if widths is None or size is None:
            return
        index = _INDEX.search(text)
        numbers = [int(word) for word in index[1].split() if len(word) < 11] if index else [0, int(size[1])]
        predictor = _PREDICTOR.search(text)
        content = inflated(self._reader, self._data, start)
        sizes = int(widths[1]), int(widths[2]), int(widths[3])
        summed = predictor is not None and int(predictor[1]) >= 10
        if summed and set(content[:: sum(sizes) + 1]) - {2}:
            return  # rows that are predicted in another way
        ranges = list(zip(numbers[::2], numbers[1::2], strict=False))
        self._sections.append(_Stream(content, sizes, ranges, summed))


def dictionary_at(reader: Reader, data: bytes, start: int) -> bytes:
    """The text of the object that begins there, without the stream that may follow it."""
    most = start + _MOST_BYTES_OF_OBJECT
    found = _END_OF_TEXT.search(data, start, most)
    end = found.start() if found else min(most, len(data))
    reader.spend((end - start) // _READ_A_STEP)
    return data[start:end]


def inflated(reader: Reader, data: bytes, start: int) -> bytes:
    """What the stream of the object holds that begins there; nothing if it is packed in another way."""
    begin = data.find(b"stream", start, start + _MOST_BYTES_OF_OBJECT)
    reader.spend(((begin if begin >= 0 else start + _MOST_BYTES_OF_OBJECT) - start) // _READ_A_STEP)
    if begin < 0 or b"/FlateDecode" not in data[start:begin]:
        return b""
    begin += 8 if data[begin + 6 : begin + 8] == b"\r\n" else 7
    stream, content = zlib.decompressobj(), bytearray()
    end = min(begin + _MOST_BYTES_OF_STREAM, len(data))
    try:
        # piece by piece, as nobody knows where it ends
        while begin < end and not stream.eof and len(content) < _MOST_BYTES_OF_STREAM:
            made = stream.decompress(data[begin : min(begin + _PIECE, end)], _MOST_BYTES_OF_STREAM - len(content))
            reader.spend(1 + len(made) // _INFLATED_A_STEP)
            content += made
            begin += _PIECE
    except zlib.error:
        return b""
    return bytes(content)
