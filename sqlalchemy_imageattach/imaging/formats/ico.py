"""ICO: the largest picture of an icon."""

from __future__ import annotations

from ..reader import Reader, refuse_damaged, refuse_truncated
from .header import Header

__all__ = ["scan"]

_PNG = b"\x89PNG\r\n\x1a\n"


def scan(reader: Reader) -> Header:
    """Look through the directory of an icon, and into the headers of its pictures, which decoders believe instead."""
    count = int.from_bytes(reader.at(4, 2), "little")
    if count == 0:
        refuse_damaged("an icon without any picture")
    sizes, embedded = [], [(0, 0)]
    for index in range(count):
        entry = reader.at(6 + 16 * index, 16)
        length, offset = int.from_bytes(entry[8:12], "little"), int.from_bytes(entry[12:16], "little")
        if offset + length > reader.size:
            refuse_truncated("an icon with a picture that is not there")
        # 0 stands for 256
        sizes.append((entry[0] or 256, entry[1] or 256))
        embedded.append(_embedded_size(reader, offset, length))
    width, height = max(sizes, key=_area)
    largest = max(embedded, key=_area)
    return Header(width, height, pages=count, largest=largest if _area(largest) > width * height else None)


def _embedded_size(reader: Reader, offset: int, length: int) -> tuple[int, int]:
    if length < 40:
        return 0, 0
    header = reader.at(offset, 24)
    if header[:8] == _PNG:
        return int.from_bytes(header[16:20]), int.from_bytes(header[20:24])
    # of a bitmap, half of the height is its mask; the oldest header has shorter ones
    if int.from_bytes(header[:4], "little") == 12:
        return int.from_bytes(header[4:6], "little"), int.from_bytes(header[6:8], "little") // 2
    width, height = (int.from_bytes(header[i : i + 4], "little", signed=True) for i in (4, 8))
    return abs(width), abs(height) // 2


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]
