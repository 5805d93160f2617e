"""PNG: one walk over the chunks tells size, frames and orientation, and that the last chunk is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..reader import Reader, refuse_damaged, refuse_truncated
from .exif import LONGEST, orientation_of
from .header import Header

__all__ = ["Chunk", "chunks", "scan"]

_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


class Chunk(NamedTuple):
    """A chunk: its name, where its data begin, and how many bytes they are."""

    name: bytes
    start: int
    length: int


def scan(reader: Reader) -> Header:
    """Look through a PNG.  Its frames are counted, not believed: an animation without animation control has one."""
    width, height = _size(reader)
    orientation: int | None = None
    controls, default_frame = 0, 1
    seen_data = promised = False
    for chunk in chunks(reader):
        if chunk.name == b"IDAT":
            seen_data = True
        elif chunk.name == b"acTL":
            promised = promised or not seen_data
        elif chunk.name == b"fcTL" and chunk.length >= 26:
            controls += 1
            reader.count(width, height, controls)
            _check_frame(reader.at(chunk.start, 20), width, height)
            if not seen_data:
                default_frame = 0
        elif chunk.name == b"eXIf" and orientation is None:
            orientation = orientation_of(reader.at(chunk.start, min(chunk.length, LONGEST)))
    if not seen_data:
        refuse_damaged("a PNG without any picture data")
    return Header(width, height, orientation or 1, max(1, controls + default_frame) if promised else 1)


def chunks(reader: Reader) -> Iterator[Chunk]:
    """The chunks between the header and the end.

    :raises UnreadableImageError: the file is cut off before its end
    """
    offset = 33
    while True:
        if offset + 8 > reader.size:
            refuse_truncated("a PNG without its end chunk")
        head = reader.at(offset, 8)
        length, name = int.from_bytes(head[:4]), head[4:]
        # all that the end has to tell is its name
        if name == b"IEND":
            return
        if offset + 12 + length > reader.size:
            refuse_truncated(f"a PNG chunk of {length:,} bytes that are not all there")
        yield Chunk(name, offset + 8, length)
        offset += 12 + length


def _check_frame(control: bytes, width: int, height: int) -> None:
    wide, high, left, top = (int.from_bytes(control[i : i + 4]) for i in (4, 8, 12, 16))
    if not wide or not high or left + wide > width or top + high > height:
        refuse_damaged(f"a frame of {wide}×{high} pixels at {left}, {top} in a PNG of {width}×{height}")


def _size(reader: Reader) -> tuple[int, int]:
    header = reader.at(8, 25)
    if header[:8] != b"\0\0\0\x0dIHDR":
        refuse_damaged("a PNG that does not begin with its header")
    width, height = int.from_bytes(header[8:12]), int.from_bytes(header[12:16])
    depth, colour = header[16], header[17]
    if not 0 < width < 2**31 or not 0 < height < 2**31:
        refuse_damaged(f"a PNG of {width}×{height} pixels")
    if depth not in _DEPTHS.get(colour, ()):
        refuse_damaged(f"a PNG with colour type {colour} of {depth} bits")
    return width, height
