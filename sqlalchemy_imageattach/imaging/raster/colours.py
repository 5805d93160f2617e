"""One kind of pixels out of many: 8 bits, grey or sRGB, with or without alpha.

What comes in            What it becomes
=======================  ========================================================================================
palette, 1 bit           RGB or grey, with alpha where it has transparent entries or a transparent colour
16 and 32 bits, float    8 bits: 16 bits are scaled by their whole range; 32 bits and floats beyond it by their own
CMYK, YCCK, Lab, HSV     sRGB: by the profile if there is one, else by the plain formula
an ICC profile           converted to sRGB; one that is broken, belongs to another kind of pixels, or is more than a
                         matrix or tables, is taken for sRGB
=======================  ========================================================================================
"""

from __future__ import annotations

import io
import math
from functools import cached_property
from typing import Final

from PIL import Image, ImageChops, ImageCms

from .profiles import is_plain

__all__ = ["Colours", "flattened", "resizable"]

_WHITE: Final = 255
#: Greys, and colours of each hue: what is like this in two colour spaces makes them alike.
_PATCHES: Final = bytes(
    level
    for step in range(0, 256, 15)
    for level in (step, step, step, step, 0, 0, 0, step, 0, 0, 0, step, 255, step, 90)
)
#: What a profile has to be for, so that it says something about pixels of each mode.
_SPACES: Final = {"RGB": "RGB ", "CMYK": "CMYK", "L": "GRAY"}


def resizable(image: Image.Image) -> Image.Image:
    """The image in a mode whose pixels can be averaged: ``L``, ``RGB`` or ``CMYK``, or ``La`` or ``RGBa``.

    Alpha comes multiplied into the colours, since a colour that cannot be seen must not run into its neighbours.
    """
    mode = image.mode
    if mode.startswith("I") or mode == "F":
        image = _to_8_bits(image)
    elif mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif mode in {"1", "L", "RGB"} and "transparency" in image.info:
        image = image.convert("RGBA" if mode == "RGB" else "LA")
    elif mode == "LAB":
        image = _from_lab(image)
    elif mode not in {"L", "LA", "La", "RGB", "RGBA", "RGBa", "CMYK"}:
        image = image.convert({"1": "L", "PA": "RGBA"}.get(mode, "RGB"))
    return image.convert({"LA": "La", "RGBA": "RGBa"}[image.mode]) if image.mode in {"LA", "RGBA"} else image


def _to_8_bits(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        key = image.info.get("transparency")
        wide = image.convert("I")
        grey = _scaled(wide, 0, 65_535)
        if isinstance(key, int):
            grey.putalpha(wide.point([0 if level == key else 255 for level in range(65_536)], "L"))
        return grey
    low, high = (float(extreme) for extreme in image.getextrema())  # type: ignore[arg-type]
    if not (math.isfinite(low) and math.isfinite(high)):
        low, high = 0.0, 1.0
    usual = 1 if image.mode == "F" else 255 if high <= 255 else 65_535
    return _scaled(image, 0, usual) if low >= 0 and high <= usual else _scaled(image, low, high)


def _scaled(image: Image.Image, low: float, high: float) -> Image.Image:
    scale = 255 / (high - low) if high > low else 0.0
    # as floats, since the conversion of integers would cut off instead of rounding
    return image.convert("F").point(lambda level: level * scale + (0.5 - low * scale)).convert("L")


def _from_lab(image: Image.Image) -> Image.Image:
    transform = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None
    return converted


class Colours:
    """Turns finished pixels of one source into ``L``, ``LA``, ``RGB`` or ``RGBA`` that are sRGB.

    :param profile: the source's ICC profile, if it has one
    :param mode: of the pixels, as :func:`resizable` leaves them
    """

    def __init__(self, profile: bytes | None, mode: str) -> None:
        self._profile = profile
        self._mode = {"La": "L", "LA": "L", "RGBa": "RGB", "RGBA": "RGB"}.get(mode, mode)

    def finished(self, image: Image.Image) -> Image.Image:
        """The image in sRGB, or in grey if it was, without any metadata."""
        if image.mode in {"La", "RGBa"}:
            image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
        alpha = image.getchannel("A") if image.mode in {"LA", "RGBA"} else None
        if self._transform is not None:
            image = self._converted(image if alpha is None else image.convert(self._mode), self._transform)
            if alpha is not None:
                image.putalpha(alpha)
        elif image.mode == "CMYK":
            image = image.convert("RGB")
        # the encoders would write what is left in here into the file
        image.info = {}
        return image

    def _converted(self, image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
        if image.mode == "L" and transform.input_mode == "RGB":
            image = image.convert("RGB")
        converted = ImageCms.applyTransform(image, transform)
        assert converted is not None
        return converted.getchannel("G") if self._mode == "L" else converted

    @cached_property
    def _transform(self) -> ImageCms.ImageCmsTransform | None:
        if not self._profile or not is_plain(self._profile):
            return None
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(self._profile))
            space = profile.profile.xcolor_space
            if self._mode == "L" and space == "RGB ":
                mode = "RGB"
            elif space == _SPACES.get(self._mode):
                mode = self._mode
            else:
                return None
            transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")
            return None if mode == "RGB" and _changes_nothing(transform) else transform
        except Exception:  # a profile is a stranger's file of its own, and a picture without it is still a picture
            return None


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether the profile is sRGB: its name does not tell, since those of other kinds begin like that too."""
    patches = Image.frombytes("RGB", (len(_PATCHES) // 3, 1), _PATCHES)
    converted = ImageCms.applyTransform(patches, transform)
    assert converted is not None
    return max(high for _, high in ImageChops.difference(patches, converted).getextrema()) <= 2  # type: ignore[misc]


def flattened(image: Image.Image) -> Image.Image:
    """The image without alpha: on white."""
    if image.mode not in {"LA", "RGBA"}:
        return image
    ground = Image.new("L" if image.mode == "LA" else "RGB", image.size, _WHITE if image.mode == "LA" else (255,) * 3)
    ground.paste(image.convert(ground.mode), mask=image.getchannel("A"))
    return ground
