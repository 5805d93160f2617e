"""ICO: the largest picture of an icon."""

from __future__ import annotations

from ..reader import Reader, refuse_damaged, refuse_truncated
from .header import Header

__all__ = ["scan"]


def scan(reader: Reader) -> Header:
    """Look through the directory of an icon."""
    count = int.from_bytes(reader.at(4, 2), "little")
    if count == 0:
        refuse_damaged("an icon without any picture")
    largest = (0, 0)
    for index in range(count):
        entry = reader.at(6 + 16 * index, 16)
        length, offset = int.from_bytes(entry[8:12], "little"), int.from_bytes(entry[12:16], "little")
        if offset + length > reader.size:
            refuse_truncated("an icon with a picture that is not there")
        # 0 stands for 256
        largest = max(largest, (entry[0] or 256, entry[1] or 256), key=lambda size: size[0] * size[1])
    return Header(*largest)
