"""JPEG: the size from the frame header, the orientation from EXIF, and an end after the first scan.

Of the several pictures of an MPO file the first one counts, and its type is JPEG.
"""

from __future__ import annotations

from typing import Final

from ..reader import Reader, refuse_damaged, refuse_truncated
from .exif import orientation_of
from .header import Header

__all__ = ["scan"]

_FRAME_HEADERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH: Final = frozenset({0x01, *range(0xD0, 0xD8)})
_APP1, _SOS, _EOI = 0xE1, 0xDA, 0xD9


def scan(reader: Reader) -> Header:
    """Look through a JPEG: from segment to segment up to the first scan, then for the end, from the back."""
    size: tuple[int, int] | None = None
    orientation = 1
    offset = 2
    while True:
        offset, marker = _next_marker(reader, offset)
        if marker in _WITHOUT_LENGTH:
            continue
        if marker == _EOI:
            refuse_damaged("a JPEG without any picture data")
        length = int.from_bytes(reader.at(offset, 2))
        if length < 2:
            refuse_damaged(f"a JPEG segment of {length} bytes, expected 2 or more")
        if marker == _SOS:
            break
        if marker in _FRAME_HEADERS and size is None:
            frame = reader.at(offset, 7)
            size = int.from_bytes(frame[5:7]), int.from_bytes(frame[3:5])
        elif marker == _APP1 and orientation == 1 and reader.at(offset, min(8, length))[2:] == b"Exif\0\0":
            orientation = orientation_of(reader.at(offset + 8, length - 8))
        offset += length
    if size is None or 0 in size:
        refuse_damaged("a JPEG that does not say its size before its data")
    # Within the data 0xFF is always followed by 0 or a restart, so this is the end of a picture.  Searched from the
    # back, since files often carry something behind it: a film, a second picture, what a camera likes to add.
    if reader.rfind(b"\xff\xd9", offset + length) < 0:
        refuse_truncated("a JPEG without an end marker")
    return Header(*size, orientation)


def _next_marker(reader: Reader, offset: int) -> tuple[int, int]:
    # stray bytes between segments are common enough that every decoder skips them; so many of them are not
    for _ in range(4096):
        first, second = reader.at(offset, 2)
        if first == 0xFF and second not in {0x00, 0xFF}:
            return offset + 2, second
        offset += 1
    refuse_damaged("a JPEG with junk where a segment should be")
