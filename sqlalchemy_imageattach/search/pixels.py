"""The pixels of a picture, small and plain, as extractors take them.

**All pictures that are compared go this way**: through the policy, the engines and the colour management of
:mod:`sqlalchemy_imageattach.imaging`, so one that is stored and one that a stranger uploads to search by are treated
alike, and cost no more than a thumbnail.
"""

from __future__ import annotations

import io
from typing import BinaryIO, Final

from PIL import Image, PngImagePlugin

from ..imaging import ImagePolicy, render
from ..imaging.rendition import PassingRendition

__all__ = ["read_pixels"]

#: The shorter side, in pixels: a little more than extractors want, and no more than the picture has.
_RENDITION: Final = PassingRendition(width=256, height=256, fit="cover", upscale=False, format="png")
_DEFAULT: Final = ImagePolicy()


def read_pixels(source: BinaryIO, policy: ImagePolicy = _DEFAULT) -> Image.Image:
    """The picture in red, green and blue, upright, on white; its shorter side has 256 pixels, or as many as there are.

    :param source: a binary file that can seek
    :param policy: the most pixels, and the engines
    :raises RejectedImageError: it cannot be decoded, or has too many pixels
    """
    (rendered,) = render(source, [_RENDITION], policy)
    # a file of our own making
    picture: Image.Image = PngImagePlugin.PngImageFile(io.BytesIO(rendered.blob))
    if "A" not in picture.getbands():
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    ground = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(ground, picture).convert("RGB")
