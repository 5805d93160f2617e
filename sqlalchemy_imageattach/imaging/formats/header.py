"""What the scanners of all formats share."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Header"]


@dataclass(frozen=True, slots=True)
class Header:
    """What the structure of a file says.

    :param width: pixels, as stored: the orientation is not applied
    :param height: pixels, as stored
    :param orientation: 1 to 8, as in EXIF
    :param frames: how many pictures there are to look at, one after the other
    """

    width: int
    height: int
    orientation: int = 1
    frames: int = 1
