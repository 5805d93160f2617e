"""PNG: one walk over the chunks tells size, frames and orientation, and that the last chunk is there."""

from __future__ import annotations

from ..reader import Reader, refuse_damaged, refuse_truncated
from .exif import orientation_of
from .header import Header

__all__ = ["scan"]

_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


def scan(reader: Reader) -> Header:
    """Look through a PNG.  Its frames are counted, not believed: an animation without animation control has one."""
    size = _size(reader)
    offset = 33
    orientation, frames, default_frame = 1, 0, 1
    animated = seen_data = False
    while True:
        if offset + 8 > reader.size:
            refuse_truncated("a PNG without its end chunk")
        chunk = reader.at(offset, 8)
        length, name = int.from_bytes(chunk[:4]), chunk[4:]
        if offset + 12 + length > reader.size:
            refuse_truncated(f"a PNG chunk of {length:,} bytes that are not all there")
        if name == b"IEND":
            break
        if name == b"IDAT":
            seen_data = True
        elif name == b"acTL":
            animated = animated or not seen_data
        elif name == b"fcTL":
            frames += 1
            if not seen_data:
                default_frame = 0
        elif name == b"eXIf":
            orientation = orientation_of(reader.at(offset + 8, length))
        offset += 12 + length
    if not seen_data:
        refuse_damaged("a PNG without any picture data")
    return Header(*size, orientation, max(1, frames + default_frame) if animated else 1)


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
