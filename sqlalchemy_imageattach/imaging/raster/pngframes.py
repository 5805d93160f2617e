"""The frames of a PNG as browsers show them.  Pillow decodes each by itself, and lays none over another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from PIL import Image, PngImagePlugin

from ..info import ImageInfo
from ..reader import Guarded
from .colours import resizable
from .decoding import decoding
from .frames import Frame
from .pngparts import Parts, Png, PngFrame, png_parts

__all__ = ["png_frames"]

#: What becomes of a frame when it has been shown.
_CLEARED, _RESTORED = 1, 2
_STRAIGHT: Final = {"La": "LA", "RGBa": "RGBA"}


def png_frames(source: Guarded, info: ImageInfo) -> Iterator[Frame]:
    """The frames, each decoded when it is asked for.

    :raises UnreadableImageError: the picture is damaged
    """
    with decoding(source, info.mimetype):
        png = png_parts(source, animated=info.frames > 1)
    canvas: Image.Image | None = None
    for part in png.frames:
        with decoding(source, info.mimetype):
            image = _decoded(source, part, png)
            if info.frames > 1 and part.duration is not None:
                canvas = canvas or Image.new("RGBA", info.stored_size)
                before = canvas.copy() if part.disposal == _RESTORED else None
                _lay(_straight(image), part, canvas)
                image = canvas.copy()
                if before is not None:
                    canvas = before
                elif part.disposal == _CLEARED:
                    canvas.paste((0, 0, 0, 0), part.box)
            frame = Frame(
                _opaque(image),
                info.stored_size,
                (1.0, 1.0),
                info.orientation,
                png.colours.profile,
                part.duration,
                png.plays,
            )
        yield frame


def _decoded(source: Guarded, part: PngFrame, png: Png) -> Image.Image:
    file: Any = Parts(source, part.parts)
    image = PngImagePlugin.PngImageFile(file)
    image.load()
    key = png.colours.transparent
    # where Pillow does not find the colour that is none
    if key is not None and image.mode == ("L" if isinstance(key, int) else "RGB"):
        image.info["transparency"] = key
    return image


def _straight(image: Image.Image) -> Image.Image:
    """The image as RGBA, whose colours are not multiplied by its alpha."""
    if image.mode in {"P", "RGBA"}:
        return image.convert("RGBA")
    made = resizable(image)
    return made.convert(_STRAIGHT.get(made.mode, made.mode)).convert("RGBA")


def _lay(image: Image.Image, part: PngFrame, canvas: Image.Image) -> None:
    if part.over:
        canvas.alpha_composite(image, part.box[:2])
    else:
        canvas.paste(image, part.box[:2])


def _opaque(image: Image.Image) -> Image.Image:
    """An RGBA image that hides nothing is RGB."""
    if image.mode == "RGBA" and image.getchannel("A").getextrema() == (255, 255):
        return image.convert("RGB")
    return image
