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
    :param frames: how many pictures a film shows, one after the other
    :param pages: how many pictures there are that are no film; only the one that counts is ever decoded
    :param largest: the sides that hold every picture of the file, where those of the one that counts do not
    """

    width: int
    height: int
    orientation: int = 1
    frames: int = 1
    pages: int = 1
    largest: tuple[int, int] | None = None
