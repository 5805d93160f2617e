"""TIFFs as they are meant, where Pillow takes them for something else: it shows a wrong picture, and says nothing."""

from __future__ import annotations

from typing import Any, Final

from PIL import Image, ImageChops, TiffImagePlugin

from .colours import resizable

__all__ = ["tiff_image", "tiff_pixels"]

_WHITE_IS_ZERO, _PLANES, _UNSIGNED, _SIGNED = 0, 2, 1, 2
#: What libtiff gives has the order of the machine already: how Pillow calls that.
_NATIVE: Final = {"F;32BF": "F;32NF", "I;16BS": "I;16NS", "I;32BS": "I;32NS"}


def tiff_image(source: Any) -> TiffImagePlugin.TiffImageFile:
    """A TIFF that is not decoded yet.

    :raises NotImplementedError: Pillow would take it for another one
    """
    image = TiffImagePlugin.TiffImageFile(source)
    bits = image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,))
    if image.tag_v2.get(TiffImagePlugin.PLANAR_CONFIGURATION) == _PLANES and len(bits) > 1 and max(bits) > 8:
        msg = "planes of more than 8 bits"
        raise NotImplementedError(msg)
    if max(bits) <= 8 and _SIGNED in image.tag_v2.get(TiffImagePlugin.SAMPLEFORMAT, ()):
        msg = "bytes below 0, which it takes for the brightest"
        raise NotImplementedError(msg)
    if 12 in bits:
        msg = "12 bits, which it shows as a sixteenth of their brightness"
        raise NotImplementedError(msg)
    image.tile = [
        tile._replace(args=(_NATIVE.get(tile.args[0], tile.args[0]), *tile.args[1:]))
        if tile.codec_name == "libtiff" and isinstance(tile.args, tuple)
        else tile
        for tile in image.tile
    ]
    return image


def tiff_pixels(image: Any) -> Image.Image:
    """The pixels of an image of :func:`tiff_image` that is decoded.

    :raises NotImplementedError: they are larger than Pillow's integers
    """
    pixels: Image.Image = image
    if image.mode not in {"I", "F"} and not image.mode.startswith("I;16"):
        return pixels
    unsigned = _UNSIGNED in image.tag_v2.get(TiffImagePlugin.SAMPLEFORMAT, (_UNSIGNED,))
    if image.mode == "I" and unsigned and image.getextrema()[0] < 0:
        msg = "integers of more than 31 bits"
        raise NotImplementedError(msg)
    if image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO:
        return ImageChops.invert(resizable(pixels))
    return pixels
