"""What a look at the headers of an image tells."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ImageInfo"]


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What an image is, found out from its own bytes.

    :param mimetype: e.g. ``"image/jpeg"``; an animated PNG is ``"image/png"``
    :param width: pixels, of the upright picture: its orientation is taken into account already
    :param height: pixels, of the upright picture
    :param orientation: how the stored picture has to be turned to stand upright, 1 to 8 as in EXIF; 1 is not at all
    :param frames: how many pictures the file shows one after the other: 1 unless it moves
    :param byte_size: of the file
    :param pages: how many pictures it holds that are no film, as a TIFF does; one of them counts
    :param largest: width and height that hold every frame or page, where some exceed the picture that counts
    """

    mimetype: str
    width: int
    height: int
    orientation: int = 1
    frames: int = 1
    byte_size: int = 0
    pages: int = 1
    largest: tuple[int, int] | None = None

    @property
    def stored_size(self) -> tuple[int, int]:
        """Width and height as they are in the file, before the orientation is applied."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)
