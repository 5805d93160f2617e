"""The one thing that is read from EXIF: how the picture has to be turned."""

from __future__ import annotations

import struct

__all__ = ["ORIENTATION", "orientation_of"]

#: The tag of the orientation.
ORIENTATION = 0x0112
_SHORT = 3


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
        for index in range(entries):
            tag, kind, _, value = struct.unpack_from(byte_order + "HHIH", exif, directory + 2 + 12 * index)
            if tag == ORIENTATION:
                return value if kind == _SHORT and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
