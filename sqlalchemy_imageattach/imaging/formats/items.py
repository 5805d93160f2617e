"""What the tables of an AVIF or a HEIF say of its items: where their data are, and which properties they have."""

from __future__ import annotations

from collections.abc import Iterator

from ..reader import Reader, refuse_damaged

__all__ = ["associations", "places"]


def places(reader: Reader, data: bytes, idat: int) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """The items, and where the data of each are: from which byte on, and how many of them.

    :param data: of the ``iloc`` box
    :param idat: where that box begins, 0 for none
    """
    numbers = _Numbers(data)
    version = numbers.take(1)
    numbers.take(3)
    sizes = numbers.take(2)
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version else 0
    for _ in range(numbers.take(4 if version == 2 else 2)):
        item = numbers.take(4 if version == 2 else 2)
        within = numbers.take(2) & 15 if version else 0
        numbers.take(2)
        base = numbers.take(base_size) + (idat if within == 1 else 0)
        extents = []
        for _ in range(numbers.take(2)):
            reader.spend(1)
            numbers.take(index_size)
            start, length = base + numbers.take(offset_size), numbers.take(length_size)
            if within < 2 and start < reader.size:
                extents.append((start, min(length or reader.size, reader.size - start)))
        reader.spend(1)
        yield item, extents


class _Numbers:
    """Numbers of some bytes each, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    def take(self, size: int) -> int:
        self._place += size
        if self._place > len(self._data):
            refuse_damaged("an AVIF or HEIF that does not say where its pictures are")
        return int.from_bytes(self._data[self._place - size : self._place])


def associations(reader: Reader, data: bytes) -> Iterator[tuple[int, list[int]]]:
    """The items, and the numbers of the properties of each in their order.

    :param data: of an ``ipma`` box
    """
    wide_items, wide_numbers = data[:1] != b"\0", bool(data[3:4] and data[3] & 1)
    size, mask = (2, 0x7FFF) if wide_numbers else (1, 0x7F)
    position = 8
    for _ in range(int.from_bytes(data[4:8])):
        item = int.from_bytes(data[position : position + (4 if wide_items else 2)])
        position += 4 if wide_items else 2
        if position >= len(data):
            return
        count = data[position]
        position += 1
        reader.spend(1 + count // 4)
        end = min(position + size * count, len(data))
        # the highest bit says that the property is essential
        yield item, [int.from_bytes(data[i : i + size]) & mask for i in range(position, end, size)]
        position += size * count
