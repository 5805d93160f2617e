"""JPEG: the size from the frame header, the orientation from EXIF, how many scans there are, and an end after them.

Of the several pictures of an MPO file the first one counts, and its type is JPEG.
"""

from __future__ import annotations

from typing import Final

from ..reader import Reader, refuse_costly, refuse_damaged, refuse_truncated
from . import scans
from .exif import LONGEST, orientation_of
from .header import Header

__all__ = ["has_rare_coding", "scan"]

_FRAME_HEADERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_USUAL: Final = frozenset({0xC0, 0xC1, 0xC2})
_PROGRESSIVE: Final = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_WITHOUT_LENGTH: Final = frozenset({0x01, *range(0xD0, 0xD8)})
_WITHIN_DATA: Final = _WITHOUT_LENGTH | {0x00, 0xFF}
_APP1, _SOS, _EOI = 0xE1, 0xDA, 0xD9
#: Encoders write about ten, the most eager ones thirty.
_MOST_SCANS: Final = 100
#: Decoders join what is said in several blocks one by one, in time that grows with the square of their number.
_MOST_BLOCKS: Final = 100
#: How many finds in a row are one step of the reader.
_FINDS_A_STEP: Final = 4


def scan(reader: Reader) -> Header:
    """Look through a JPEG: from segment to segment up to the first scan, then for the end, from the back."""
    frame = b""
    in_scans = False
    blocks = 0
    orientation: int | None = None
    offset = 2
    while True:
        offset, marker, length = _next_segment(reader, offset)
        if marker == _EOI:
            refuse_damaged("a JPEG without any picture data")
        if length < 2:
            refuse_damaged(f"a JPEG segment of {length} bytes, expected 2 or more")
        if marker == _SOS:
            break
        if marker in _FRAME_HEADERS and not frame:
            frame = reader.at(offset, 8)
            in_scans = marker in _PROGRESSIVE
        elif marker == _APP1 and reader.at(offset, min(8, length))[2:] == b"Exif\0\0":
            # the first block counts, whatever it says
            if orientation is None:
                orientation = orientation_of(reader.at(offset + 8, min(length - 8, LONGEST)))
            blocks += 1
            if blocks > _MOST_BLOCKS:
                refuse_costly(f"a JPEG of more than {_MOST_BLOCKS} blocks of EXIF")
        offset += length
    height, width = int.from_bytes(frame[3:5]), int.from_bytes(frame[5:7])
    if not width or not height:
        refuse_damaged("a JPEG that does not say its size before its data")
    # Within the data 0xFF is always followed by 0 or a restart, so this is the end of a picture.  Searched from the
    # back, since files often carry something behind it: a film, a second picture, what a camera likes to add.
    end = reader.rfind(b"\xff\xd9", offset + length)
    if end < 0:
        refuse_truncated("a JPEG without an end marker")
    # a first scan of fewer components than there are is followed by others
    if in_scans or reader.at(offset + 2, 1)[0] < frame[7]:
        _check_scans(reader, offset, end, width * height)
    return Header(width, height, orientation or 1)


def has_rare_coding(reader: Reader) -> bool:
    """Whether a JPEG that has been looked through is lossless, arithmetic, hierarchical or not of 8 bits."""
    offset = 2
    while True:
        offset, marker, length = _next_segment(reader, offset)
        if marker in _FRAME_HEADERS:
            return marker not in _USUAL or reader.at(offset + 2, 1)[0] != 8
        offset += length


def _next_segment(reader: Reader, offset: int) -> tuple[int, int, int]:
    """Where the content of the next segment starts, its marker, and its length; none has the end of a picture."""
    while True:
        head = reader.at(offset, 4) if offset + 4 <= reader.size else b""
        if head[:1] == b"\xff" and head[1] not in _WITHIN_DATA:
            return offset + 2, head[1], head[2] << 8 | head[3]
        offset, marker = _next_marker(reader, offset)
        if marker == _EOI:
            return offset, marker, 0
        if marker not in _WITHOUT_LENGTH:
            return offset, marker, int.from_bytes(reader.at(offset, 2))


def _next_marker(reader: Reader, offset: int) -> tuple[int, int]:
    # stray bytes between segments are common enough that every decoder skips them; so many of them are not
    for _ in range(4096):
        first, second = reader.at(offset, 2)
        if first == 0xFF and second not in {0x00, 0xFF}:
            return offset + 2, second
        offset += 1
    refuse_damaged("a JPEG with junk where a segment should be")


def _check_scans(reader: Reader, first: int, end: int, pixels: int) -> None:
    """Count the scans: quickly, and if that gives too many, only those of this picture."""
    most = min(_MOST_SCANS, max(10, scans.MOST_PIXELS // pixels))
    # the marker of the first one stands before its content
    found = 1 + reader.occurrences(scans.START, first, end, most)
    if found > most and _scans(reader, first, end, most) > most:
        refuse_costly(f"a JPEG of {pixels:,} pixels in more than {most} scans")


def _scans(reader: Reader, offset: int, end: int, most: int) -> int:
    """The scans up to the end of the picture, or more than ``most``."""
    found, finds = 1, 0
    offset += int.from_bytes(reader.at(offset, 2))
    while found <= most and 0 <= (offset := reader.find(b"\xff", offset)) < end:
        finds += 1
        if finds % _FINDS_A_STEP == 0:
            reader.spend(1)
        marker = reader.byte(offset + 1)
        if marker == _EOI:
            break
        if marker in _WITHIN_DATA:
            offset += 1 if marker == 0xFF else 2
        else:
            found += marker == _SOS
            offset += 2 + int.from_bytes(reader.at(offset + 2, 2))
    return found
