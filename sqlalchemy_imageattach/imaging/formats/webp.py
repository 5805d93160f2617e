"""WebP: the chunks of a RIFF file."""

from __future__ import annotations

from ..reader import Reader, refuse_damaged, refuse_truncated
from .exif import LONGEST, orientation_of
from .header import Header

__all__ = ["scan"]


def scan(reader: Reader) -> Header:
    """Look through a WebP: still ones, lossless ones and animations.  What follows the RIFF chunk is left alone."""
    end = 8 + int.from_bytes(reader.at(4, 4), "little")
    if end > reader.size:
        refuse_truncated(f"a WebP of {end:,} bytes, of which {reader.size:,} are there")
    size: tuple[int, int] | None = None
    still = frames = right = bottom = 0
    orientation: int | None = None
    offset = 12
    # a last chunk may lack its padding byte
    while offset + 8 <= end:
        chunk = reader.at(offset, 8)
        name, length = chunk[:4], int.from_bytes(chunk[4:], "little")
        if offset + 8 + length > end:
            refuse_truncated(f"a WebP chunk of {length:,} bytes that are not all there")
        if name == b"VP8X":
            flags = reader.at(offset + 8, 10)
            size = 1 + int.from_bytes(flags[4:7], "little"), 1 + int.from_bytes(flags[7:10], "little")
        elif name in {b"VP8 ", b"VP8L"}:
            size = size or _bitstream_size(name, reader.at(offset + 8, min(length, 10)))
            still += 1
        elif name == b"ANMF":
            frames += 1
            reader.count(*(size or (0, 0)), frames)
            # what a frame holds is as large as it says, or the decoder refuses it
            corner = _corner(reader.at(offset + 8, 12)) if length >= 12 else (0, 0)
            right, bottom = max(right, corner[0]), max(bottom, corner[1])
        elif name == b"EXIF" and orientation is None:
            orientation = orientation_of(reader.at(offset + 8, min(length, LONGEST)))
        offset += 8 + length + length % 2
    if size is None or not still + frames:
        refuse_damaged("a WebP without any picture")
    if right > size[0] or bottom > size[1]:
        refuse_damaged(f"a WebP of {size[0]}×{size[1]} pixels with a frame that ends at {right}, {bottom}")
    return Header(*size, orientation or 1, max(1, frames))


def _corner(frame: bytes) -> tuple[int, int]:
    left, top, width, height = (int.from_bytes(frame[i : i + 3], "little") for i in (0, 3, 6, 9))
    return 2 * left + width + 1, 2 * top + height + 1


def _bitstream_size(name: bytes, data: bytes) -> tuple[int, int]:
    if name == b"VP8 " and len(data) == 10 and data[3:6] == b"\x9d\x01\x2a":
        size = int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF
        if 0 not in size:
            return size
    elif name == b"VP8L" and len(data) >= 5 and data[0] == 0x2F:
        bits = int.from_bytes(data[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    refuse_damaged("a WebP whose picture data have no header")
