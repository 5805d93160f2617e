"""AV1: the size that its sequence headers say, for which a decoder makes room whatever the boxes around say."""

from __future__ import annotations

from typing import Final

from ..reader import Reader, refuse_damaged
from .bits import Bits

__all__ = ["coded_size"]

_SEQUENCE_HEADER: Final = 1
_LONGEST: Final = 256


def coded_size(reader: Reader, start: int, end: int) -> tuple[int, int]:
    """The width and the height that hold every picture between two places of the file; (0, 0) if none says its size."""
    width = height = 0
    while start + 1 < end:
        kind, start, length = _unit(reader, start, end)
        if kind == _SEQUENCE_HEADER:
            wide, high = _size(reader, Bits(reader.at(start, min(length, _LONGEST)), "an AVIF"))
            width, height = max(width, wide), max(height, high)
        start += length
    return width, height


def _unit(reader: Reader, start: int, end: int) -> tuple[int, int, int]:
    """The kind of a unit, where its content begins, and how long that is."""
    head = reader.at(start, min(10, end - start))
    kind, extended, sized = head[0] >> 3 & 15, head[0] >> 2 & 1, head[0] >> 1 & 1
    place = 1 + extended
    if not sized:
        # it would reach to the end, but one decoder goes on behind what it has used of it
        refuse_damaged("an AVIF whose picture data do not say how long their parts are")
    length = shift = 0
    while place < len(head):
        byte = head[place]
        length |= (byte & 0x7F) << shift
        place += 1
        shift += 7
        if byte < 0x80:
            return kind, start + place, min(length, max(0, end - start - place))
    refuse_damaged("an AVIF whose picture data are no units of AV1")


def _size(reader: Reader, bits: Bits) -> tuple[int, int]:
    reader.spend(4)
    bits.take(3 + 1)  # profile, still picture
    if bits.take(1):
        bits.take(5)
    else:
        _skip_operating_points(reader, bits)
    wide, high = bits.take(4) + 1, bits.take(4) + 1
    return bits.take(wide) + 1, bits.take(high) + 1


def _skip_operating_points(reader: Reader, bits: Bits) -> None:
    model = delay = 0
    if bits.take(1):  # timing
        bits.take(64)
        if bits.take(1):
            bits.variable()
        model = bits.take(1)
        if model:
            delay = bits.take(5) + 1
            bits.take(32 + 5 + 5)
    display = bits.take(1)
    points = bits.take(5) + 1
    reader.spend(points)
    for _ in range(points):
        bits.take(12)
        if bits.take(5) > 7:
            bits.take(1)
        if model and bits.take(1):
            bits.take(2 * delay + 1)
        if display and bits.take(1):
            bits.take(4)
