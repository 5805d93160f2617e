"""The one thing that is read from EXIF: how the picture has to be turned."""

from __future__ import annotations

import struct
from typing import Final

__all__ = ["LONGEST", "ORIENTATION", "orientation_of"]

#: How many bytes of a block are worth looking at: the orientation stands in its first directory.
LONGEST: Final = 64 * 1024

#: The tag of the orientation.
ORIENTATION = 0x0112
_SHORT = 3
_MOST_ENTRIES = 1000


def orientation_of(exif: bytes) -> int:
    """The orientation, 1 to 8, that a block of EXIF says; 1 when it says nothing that makes sense.

    Broken EXIF is common in good pictures, so it is never an error.

    :param exif: from its TIFF header on, with or without ``Exif\\0\\0`` before it
    """
    exif = exif.removeprefix(b"Exif\0\0")
    byte_order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if byte_order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(byte_order + "I", exif, 4)
        (entries,) = struct.unpack_from(byte_order + "H", exif, directory)
        for index in range(min(entries, _MOST_ENTRIES)):
            tag, kind, _, value = struct.unpack_from(byte_order + "HHIH", exif, directory + 2 + 12 * index)
            if tag == ORIENTATION:
                return value if kind == _SHORT and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
