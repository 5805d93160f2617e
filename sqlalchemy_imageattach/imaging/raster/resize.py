"""One size of one picture: by ``cykooz.resizer`` where it is installed, else by Pillow.

Both give the same pixels, within one or two levels of 255, and a few more where white meets black: after JPEG, neither
is 0.05 dB further from an exact Lanczos.  The former takes a seventh of the time.  It is asked for what it does as
Pillow does, which is making pictures smaller by the filters that both have.  All else is Pillow's: larger pictures,
``hamming``, points, and grey with alpha.

It works on the memory of Pillow's pictures, and so has to agree with the Pillow that is installed: that is tried once,
on a small picture, and if it does not give what Pillow gives it is left alone.  Where it fails later, Pillow makes the
picture.  It ends the process where the memory it works with cannot be had, so that is tried before.
"""

from __future__ import annotations

import logging
import math
import mmap
from functools import cache
from typing import Any, Final

from PIL import Image, ImageChops

__all__ = ["Box", "resized"]

Box = tuple[float, float, float, float]

_log: Final = logging.getLogger(__name__)
_Resampling = Image.Resampling
#: The modes that it takes, and the bytes of one of their pixels.
_BYTES: Final = {"L": 1, "RGB": 4, "RGBa": 4, "CMYK": 4}
#: Bytes that lie between source and result at a time, unless it is not much more altogether.
_BAND: Final = 4 * 2**20
#: Below so many bytes an allocation does not fail, or all is lost anyway.
_SMALL: Final = 2**20


def resized(image: Image.Image, size: tuple[int, int], kernel: Image.Resampling, box: Box) -> Image.Image:
    """The part of an image within a box, in another size.

    >>> resized(Image.new("L", (40, 30), 7), (20, 15), Image.Resampling.LANCZOS, (0, 0, 40, 30)).getpixel((0, 0))
    7

    :param image: with pixels that can be averaged: alpha multiplied into the colours
    :param size: width and height in pixels
    :param kernel: how to average
    :param box: left, top, right and bottom in pixels of the image, with fractions
    :raises MemoryError: there is not enough of it
    """
    if size == image.size and box == (0, 0, *size):
        return image.copy()
    shrinks = size[0] <= box[2] - box[0] and size[1] <= box[3] - box[1]
    fast = _fast()
    if fast is not None and shrinks and kernel in fast.kernels and image.mode in _BYTES:
        made = fast.resized(image, size, kernel, box)
        if made is not None:
            return made
    return image.resize(size, kernel, box)


class _Fast:
    """``cykooz.resizer``, with a resizer for each picture: it would keep the memory it worked with.

    :raises ImportError: it is not installed
    """

    def __init__(self) -> None:
        import cykooz_resizer

        self._library: Any = cykooz_resizer
        filters = cykooz_resizer.FilterType
        self.kernels: Final = {
            _Resampling.BOX: filters.box,
            _Resampling.BILINEAR: filters.bilinear,
            _Resampling.BICUBIC: filters.catmull_rom,
            _Resampling.LANCZOS: filters.lanczos3,
        }

    def resized(
        self, image: Image.Image, size: tuple[int, int], kernel: Image.Resampling, box: Box
    ) -> Image.Image | None:
        """The image, or ``None`` if it cannot be made."""
        try:
            return self._in_bands(image, size, self._library.ResizeAlg.convolution(self.kernels[kernel]), box)
        except BaseException as error:
            # what panics in Rust is no Exception
            is_ours = isinstance(error, MemoryError) or not isinstance(error, Exception)
            if is_ours and type(error).__name__ != "PanicException":
                raise
            _log.warning("cykooz.resizer failed, and Pillow takes over for this picture: %s", error)
            return None

    def _in_bands(self, image: Image.Image, size: tuple[int, int], how: Any, box: Box) -> Image.Image:
        # Some rows at a time, which gives the same pixels: what lies between then stays small, and is used again, while
        # memory that is new to the process takes as long to get as the reckoning.
        left, top, right, bottom = box
        library, resizer = self._library, self._library.Resizer()
        step = (bottom - top) / size[1]
        a_row = math.ceil(size[0] * step * _BYTES[image.mode])
        rows = size[1] if a_row * size[1] <= 2 * _BAND else math.ceil(_BAND / a_row)
        # all of their pixels are written
        target = Image.new(image.mode, size, None)
        band = target if rows == size[1] else Image.new(image.mode, (size[0], rows), None)
        # with the rows above and below that the filter reaches
        _check_room(a_row * (rows + 8))
        for start in range(0, size[1], rows):
            if start + rows > size[1]:
                rows = size[1] - start
                band = Image.new(image.mode, (size[0], rows), None)
            upper = top + start * step
            part = library.CropBox(left, upper, right - left, min(rows * step, bottom - upper))
            resizer.resize_pil(image, band, library.ResizeOptions(how, crop_box=part))
            if band is not target:
                target.paste(band, (0, start))
        return target

    def agrees(self) -> bool:
        """Whether it gives what Pillow gives."""
        ground = Image.linear_gradient("L").resize((64, 48))
        for mode in _BYTES:
            image = ground.convert("RGBA").convert(mode) if mode == "RGBa" else ground.convert(mode)
            how = (24, 18), _Resampling.LANCZOS, (1.5, 0.0, 62.5, 47.0)
            made = self.resized(image, *how)
            if made is None or made.size != how[0] or made.mode != mode or _differ(made, image.resize(*how)):
                return False
        return True


def _differ(one: Image.Image, other: Image.Image) -> bool:
    pairs = zip(one.split(), other.split(), strict=True)
    return any(max(ImageChops.difference(*pair).histogram()[3:]) > 0 for pair in pairs)


@cache
def _fast() -> _Fast | None:
    try:
        fast = _Fast()
    except ImportError:
        return None
    if not fast.agrees():
        _log.warning("this cykooz.resizer does not fit this Pillow, which is used alone; upgrade both")
        return None
    return fast


def _check_room(size: int) -> None:
    if size > _SMALL:
        try:
            mmap.mmap(-1, size).close()
        except (OSError, OverflowError, ValueError) as error:
            raise MemoryError from error
