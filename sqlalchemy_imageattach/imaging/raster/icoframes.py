"""The picture of an icon: the largest, and of those of one size the one with most colours, as browsers choose it.

Pillow chooses the one with fewest, and believes the directory instead of the pictures how their pixels are stored.
"""

from __future__ import annotations

import io
import struct
from typing import Final, NamedTuple

from PIL import BmpImagePlugin, Image, ImageFile, PngImagePlugin

from ..reader import Guarded

__all__ = ["best_of_icon", "icon"]

_PNG: Final = b"\x89PNG\r\n\x1a\n"


class _Entry(NamedTuple):
    """What the directory says of a picture."""

    width: int
    height: int
    colours: int
    reserved: int
    planes: int
    bits: int
    length: int
    offset: int

    @property
    def size(self) -> tuple[int, int]:
        # 0 stands for 256
        return self.width or 256, self.height or 256

    @property
    def depth(self) -> int:
        # 0 colours stand for 256
        return self.bits or ((self.colours or 256) - 1).bit_length()


def icon(source: Guarded, size: tuple[int, int]) -> Image.Image:
    """The best picture of an icon that its directory says is of this size; not decoded if it is of another one."""
    _, offset = best_of_icon(source, size)
    source.seek(offset)
    data = source.read()
    return PngImagePlugin.PngImageFile(io.BytesIO(data)) if data.startswith(_PNG) else _bitmap(data, size)


def best_of_icon(source: Guarded, size: tuple[int, int]) -> tuple[int, int]:
    """Which of its pictures that is, and where it begins."""
    source.seek(4)
    count = int.from_bytes(source.read(2), "little")
    entries = [_Entry(*struct.unpack("<BBBBHHII", source.read(16))) for _ in range(count)]
    best = max((number for number in range(count) if entries[number].size == size), key=lambda i: entries[i].depth)
    return best, entries[best].offset


def _bitmap(data: bytes, expected: tuple[int, int]) -> Image.Image:
    image = BmpImagePlugin.DibImageFile(io.BytesIO(data))
    # the lower half is the mask
    image._size = width, height = size = image.width, image.height // 2
    if size != expected:
        return image
    codec, _, offset, args = image.tile[0]
    image.tile = [ImageFile._Tile(codec, (0, 0, *size), offset, args)]
    direction = args[-1] if isinstance(args, tuple) else -1
    # behind the header's own length, width, height and planes, of which the oldest has shorter ones
    (bits,) = struct.unpack_from("<H", data, 14 if data[0] > 12 else 10)
    alpha = None
    if image.mode == "RGBA":  # by masks of its own, which say where alpha is
        alpha = image.getchannel("A")
    elif bits == 32:
        levels = data[offset : offset + 4 * width * height][3::4]
        alpha = Image.frombytes("L", size, levels, "raw", "L", 0, direction)
    if alpha is None or alpha.getbbox() is None:
        # nothing would be seen: it was written by who knew of the mask only
        start, row = offset + _row(width * bits) * height, _row(width)
        mask = data[start : start + row * height]
        alpha = Image.frombytes("1", size, mask, "raw", "1;I", row, direction).convert("L")
    made = image.convert("RGBA")
    made.putalpha(alpha)
    return made


def _row(bits: int) -> int:
    """The bytes of a row, which ends with a whole word."""
    return (bits + 31) // 32 * 4
