"""GIF: a walk over all blocks, since nothing else tells how many frames there are or whether the file is whole."""

from __future__ import annotations

from ..reader import Reader, refuse_damaged, refuse_truncated
from .header import Header

__all__ = ["scan"]

_IMAGE, _EXTENSION, _TRAILER = 0x2C, 0x21, 0x3B


def scan(reader: Reader) -> Header:
    """Look through a GIF up to its trailer; what follows that is left alone."""
    screen = reader.at(6, 7)
    width, height = int.from_bytes(screen[:2], "little"), int.from_bytes(screen[2:4], "little")
    offset = 13 + _palette_size(screen[4])
    frames = 0
    while (kind := reader.at(offset, 1)[0]) != _TRAILER:
        if kind == _IMAGE:
            image = reader.at(offset + 1, 9)
            if frames == 0:
                # a first frame larger than its screen widens it, in browsers and engines alike
                left, top, wide, high = (int.from_bytes(image[i : i + 2], "little") for i in (0, 2, 4, 6))
                width, height = max(width, left + wide), max(height, top + high)
            frames += 1
            # one byte after the palette says how wide the codes are
            offset = _skip_blocks(reader, offset + 10 + _palette_size(image[8]) + 1)
        elif kind == _EXTENSION:
            offset = _skip_blocks(reader, offset + 2)
        else:
            refuse_damaged(f"a GIF with an unknown block 0x{kind:02x}")
    if frames == 0:
        refuse_damaged("a GIF without any picture")
    if width == 0 or height == 0:
        refuse_damaged(f"a GIF of {width}×{height} pixels")
    return Header(width, height, 1, frames)


def _palette_size(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _skip_blocks(reader: Reader, offset: int) -> int:
    """Where the chain of sub-blocks that begins at ``offset`` ends."""
    base = offset
    for chunk in reader.chunks(offset):
        end = base + len(chunk)
        while offset < end:
            length = chunk[offset - base]
            offset += 1 + length
            if length == 0:
                return offset
        base = end
    refuse_truncated("a GIF that ends within a block")
