"""The frames of a GIF as browsers show them: what no frame covers is clear, whatever its palettes look like.

Pillow unpacks the codes of each frame, and nothing else: it takes a palette of greys for a grey picture, and fills what
is not covered with a colour of the palette.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from PIL import Image, ImageFile

from ..formats.gif import Film, Picture, film
from ..reader import Guarded, Reader

__all__ = ["gif_frames"]

#: What becomes of a frame when it has been shown.
_CLEARED, _RESTORED = 2, 3


def gif_frames(source: Guarded) -> Iterator[tuple[Image.Image, float, int]]:
    """Each frame, how long it shows in milliseconds, and how often all of them are shown, 0 for ever."""
    reader = Reader(source)
    pictures = film(reader)
    plays = 1 if pictures.loop is None else pictures.loop and pictures.loop + 1
    canvas = Image.new("RGBA", pictures.size)
    for picture in pictures.pictures:
        before = canvas.copy() if picture.disposal == _RESTORED else None
        colours, mask = _decoded(reader, source, pictures, picture)
        canvas.paste(colours, picture.box[:2], mask)
        covered = canvas.getchannel("A").getextrema() == (255, 255)
        yield canvas.convert("RGB") if covered else canvas.copy(), picture.duration, plays
        if before is not None:
            canvas = before
        elif picture.disposal == _CLEARED:
            canvas.paste((0, 0, 0, 0), picture.box)


class _Codes(ImageFile.ImageFile):
    """The codes of one frame, as a picture of levels."""

    def __init__(self, source: Any, picture: Picture, bits: int) -> None:
        self._picture, self._bits = picture, bits
        super().__init__(source)

    def _open(self) -> None:
        left, top, right, bottom = self._picture.box
        self._mode, self._size = "L", (right - left, bottom - top)
        arguments = (self._bits, int(self._picture.interlaced), -1)
        self.tile = [ImageFile._Tile("gif", (0, 0, *self._size), self._picture.data + 1, arguments)]


def _decoded(
    reader: Reader, source: Guarded, pictures: Film, picture: Picture
) -> tuple[Image.Image, Image.Image | None]:
    """The colours of a frame, and where it is not transparent."""
    source.seek(0)
    codes = _Codes(source, picture, reader.at(picture.data, 1)[0])
    codes.load()
    start, length = picture.palette if picture.palette[1] else pictures.palette
    palette = reader.at(start, length) if length else bytes(v for level in range(256) for v in (level,) * 3)
    mask = None
    if 0 <= picture.transparent < 256:
        mask = codes.point([0 if level == picture.transparent else 255 for level in range(256)])
    # a paletted picture of all 256 colours: what is beyond the palette is black
    indexed = Image.frombytes("P", codes.size, codes.tobytes())
    indexed.putpalette(palette.ljust(768, b"\0"))
    return indexed.convert("RGB"), mask
