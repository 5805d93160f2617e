"""BMP: the size from whichever of its headers, and rows that are all there."""

from __future__ import annotations

from ..reader import Reader, refuse_damaged, refuse_truncated
from .header import Header

__all__ = ["scan"]

_UNCOMPRESSED = (0, 3, 6)


def scan(reader: Reader) -> Header:
    """Look through a BMP.  Files are cut off where their rows are, since what they say of their size is often wrong."""
    start = int.from_bytes(reader.at(10, 4), "little")
    header_size = int.from_bytes(reader.at(14, 4), "little")
    if header_size == 12:
        header = reader.at(18, 8)
        width, height, bits = (int.from_bytes(header[i : i + 2], "little") for i in (0, 2, 6))
        compression = size = 0
    elif 16 <= header_size <= 1024:
        header = reader.at(18, 20)
        width = int.from_bytes(header[0:4], "little", signed=True)
        # a negative height says that the rows run downwards
        height = abs(int.from_bytes(header[4:8], "little", signed=True))
        bits = int.from_bytes(header[10:12], "little")
        compression, size = int.from_bytes(header[12:16], "little"), int.from_bytes(header[16:20], "little")
    else:
        refuse_damaged(f"a BMP header of {header_size} bytes")
    if width <= 0 or height <= 0:
        refuse_damaged(f"a BMP of {width}×{height} pixels")
    if compression in _UNCOMPRESSED:
        size = (width * bits + 31) // 32 * 4 * height
    if start + size > reader.size:
        refuse_truncated(f"a BMP that needs {start + size:,} bytes, of which {reader.size:,} are there")
    return Header(width, height)
