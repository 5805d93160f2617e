"""HEVC: the size that its parameter sets say, for which a decoder makes room whatever the boxes around say."""

from __future__ import annotations

from typing import Final

from ..reader import Reader, refuse_damaged
from .bits import Bits

__all__ = ["BLOCK", "coded_size"]

#: What is coded may be larger than what is shown by as much as fills its last blocks, in pixels.
BLOCK: Final = 64
_SEQUENCE_PARAMETERS: Final = 33
#: Where the arrays of parameter sets begin.
_ARRAYS: Final = 22
#: What precedes the size takes less, with all of its layers.
_LONGEST: Final = 128
#: The bits of a profile and of a level, of the whole and of each layer.
_PROFILE, _LEVEL = 88, 8
#: What it costs to read one, in steps.
_READ: Final = 8


def coded_size(reader: Reader, start: int, end: int) -> tuple[int, int]:
    """The width and the height that hold what each parameter set within an ``hvcC`` box says; (0, 0) without any."""
    width = height = 0
    if start + _ARRAYS >= end:
        refuse_damaged("a HEIF that does not say how it is coded")
    arrays, place = reader.at(start + _ARRAYS, 1)[0], start + _ARRAYS + 1
    for _ in range(arrays):
        head = reader.at(place, 3)
        place += 3
        for _ in range(int.from_bytes(head[1:])):
            length = int.from_bytes(reader.at(place, 2))
            place += 2
            if place + length > end:
                refuse_damaged("a HEIF whose parameter sets are cut off")
            if head[0] & 63 == _SEQUENCE_PARAMETERS:
                reader.spend(_READ)
                wide, high = _size(reader.at(place, min(length, _LONGEST)))
                width, height = max(width, wide), max(height, high)
            place += length
    return width, height


def _size(unit: bytes) -> tuple[int, int]:
    # two bytes of header; and what would look like the start of a unit has a 3 put into it
    bits = Bits(unit[2:].replace(b"\0\0\3", b"\0\0"), "a HEIF")
    bits.take(4)
    layers = bits.take(3)
    bits.take(1)
    bits.take(_PROFILE + _LEVEL)
    said = [(bits.take(1), bits.take(1)) for _ in range(layers)]
    bits.take(2 * (8 - layers) if layers else 0)
    for profile, level in said:
        bits.take(_PROFILE * profile + _LEVEL * level)
    bits.variable()  # its number
    if bits.variable() == 3:
        bits.take(1)
    return bits.variable(), bits.variable()
