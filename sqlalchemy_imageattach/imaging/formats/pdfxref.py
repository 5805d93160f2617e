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
_MOST_SECTIONS: Final = 100
_MOST_RANGES: Final = 1000
_ENTRY: Final = 20
_MOST_BYTES_OF_OBJECT: Final = 64 * 1024
#: How much of its text is searched for what a section says of itself.
_MOST_BYTES_OF_SECTION: Final = 8 * 1024
_MOST_BYTES_OF_STREAM: Final = 4 * 2**20
#: How many bytes are inflated, searched and summed in one step of the reader.  What was inflated is kept.
_INFLATED_A_STEP: Final = 320
_SEARCHED_A_STEP: Final = 512
_SUMMED_A_STEP: Final = 128
#: How many ranges of a table are looked through in one step.
_RANGES_A_STEP: Final = 16
#: What it costs to begin to inflate, in steps.
_BEGINNING: Final = 30
#: How many rows are summed at once.
_ROWS: Final = 1024
_PIECE: Final = 16 * 1024


class Place(NamedTuple):
    """Where an object is: in the file, or in the stream of another object."""

    offset: int
    stream: int | None = None


class _Table:
    """Entries of plain text: for each range its first object, how many there are, and where the entries begin."""

    def __init__(self, data: bytes, ranges: list[tuple[int, int, int]]) -> None:
        self._data, self._ranges = data, ranges

    def place(self, number: int, reader: Reader) -> Place | None:
        reader.spend(len(self._ranges) // _RANGES_A_STEP)
        for first, count, start in self._ranges:
            if first <= number < first + count:
                place = start + _ENTRY * (number - first)
                entry = self._data[place : place + 18]
                if entry[17:18] == b"n" and entry[:10].isdigit():
                    return Place(int(entry[:10]))
        return None


class _Stream:
    """Entries in a stream, of three numbers each; ``summed`` if each row is only what it differs by from the last."""

    def __init__(
        self, content: bytes, widths: tuple[int, int, int], ranges: list[tuple[int, int]], *, summed: bool
    ) -> None:
        self._content, self._widths, self._ranges, self._summed = content, widths, ranges, summed
        #: for each column, its sums before the first row, the 1,024th and so on, as far as they were needed
        self._sums = [[0] for _ in range(sum(widths))]

    def place(self, number: int, reader: Reader) -> Place | None:
        reader.spend(len(self._ranges) // _RANGES_A_STEP)
        row = 0
        for first, count in self._ranges:
            if first <= number < first + count:
                kind, offset, _ = self._row(row + number - first, reader)
                return Place(offset) if kind == 1 else Place(0, offset) if kind == 2 else None
            row += count
        return None

    def _row(self, row: int, reader: Reader) -> list[int]:
        width = sum(self._widths)
        data = self._summed_row(row, reader) if self._summed else self._content[width * row : width * (row + 1)]
        numbers, place = [], 0
        for size in self._widths:
            numbers.append(int.from_bytes(data[place : place + size]))
            place += size
        # the first number may be left out, and means 1 then
        return numbers if self._widths[0] else [1, *numbers[1:]]

    def _summed_row(self, row: int, reader: Reader) -> bytes:
        row = min(row, len(self._content) // (len(self._sums) + 1))
        data = bytearray()
        for column, sums in enumerate(self._sums):
            while len(sums) <= row // _ROWS:
                sums.append(sums[-1] + self._sum(column, _ROWS * (len(sums) - 1), _ROWS * len(sums), reader))
            data.append(sums[row // _ROWS] + self._sum(column, row // _ROWS * _ROWS, row + 1, reader) & 0xFF)
        return bytes(data)

    def _sum(self, column: int, first: int, end: int, reader: Reader) -> int:
        """What a column of some rows comes to, of which each has a byte more in front."""
        step = len(self._sums) + 1
        reader.spend(1 + (end - first) // _SUMMED_A_STEP)
        return sum(self._content[step * first + 1 + column : step * end : step]) & 0xFF


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
            place = section.place(number, self._reader)
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
            text = dictionary_at(self._reader, self._data, head.end())[:_MOST_BYTES_OF_SECTION]
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
        kinds = content[:: sum(sizes) + 1]
        if summed and kinds.count(2) != len(kinds):
            return  # rows that are predicted in another way
        ranges = list(zip(numbers[::2], numbers[1::2], strict=False))
        self._sections.append(_Stream(content, sizes, ranges, summed=summed))


def dictionary_at(reader: Reader, data: bytes, start: int) -> bytes:
    """The text of the object that begins there, without the stream that may follow it."""
    most = min(start + _MOST_BYTES_OF_OBJECT, len(data))
    end = _word(reader, data, b"stream", start, _word(reader, data, b"endobj", start, most))
    reader.spend((end - start) // _SEARCHED_A_STEP)
    return data[start:end]


def _word(reader: Reader, data: bytes, word: bytes, start: int, end: int) -> int:
    """Where a word stands that is no part of a longer one; ``end`` if it does not."""
    place = start
    while (place := data.find(word, place, end)) >= 0:
        reader.spend(1)
        after = place + len(word)
        if not data[max(0, place - 1) : place].isalnum() and not data[after : after + 1].isalnum():
            return place
        place = after
    return end


def inflated(reader: Reader, data: bytes, start: int) -> bytes:
    """What the stream of the object holds that begins there; nothing if it is packed in another way."""
    begin = data.find(b"stream", start, start + _MOST_BYTES_OF_OBJECT)
    reader.spend(_BEGINNING + ((begin if begin >= 0 else start + _MOST_BYTES_OF_OBJECT) - start) // _SEARCHED_A_STEP)
    if begin < 0 or b"/FlateDecode" not in data[start:begin]:
        return b""
    begin += 8 if data[begin + 6 : begin + 8] == b"\r\n" else 7
    stream, pieces, size = zlib.decompressobj(), [], 0
    end = min(begin + _MOST_BYTES_OF_STREAM, len(data))
    try:
        # piece by piece, as nobody knows where it ends
        while begin < end and not stream.eof and size < _MOST_BYTES_OF_STREAM:
            made = stream.decompress(data[begin : min(begin + _PIECE, end)], _MOST_BYTES_OF_STREAM - size)
            reader.spend(1 + len(made) // _INFLATED_A_STEP)
            pieces.append(made)
            size += len(made)
            begin += _PIECE
    except zlib.error:
        return b""
    return b"".join(pieces)
