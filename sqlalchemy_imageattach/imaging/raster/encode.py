"""Files out of pixels: the settings of each format, and why they are these."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Final

from PIL import AvifImagePlugin, GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from ...imagetypes import by_mimetype
from ..rendition import PassingRendition, Rendition
from .colours import flattened

__all__ = ["encoded"]

_PLUGINS: Final = {
    "image/avif": AvifImagePlugin.AvifImageFile.format,
    "image/gif": GifImagePlugin.GifImageFile.format,
    "image/jpeg": JpegImagePlugin.JpegImageFile.format,
    "image/png": PngImagePlugin.PngImageFile.format,
    "image/webp": WebPImagePlugin.WebPImageFile.format,
}
#: Measured on photographs, in time against bytes: beyond these, each per cent saved costs half as much time again.
_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    # speed 6 is 3 times slower for 5% less
    "image/avif": {"speed": 8},
    "image/gif": {},
    # progressive is 2.5 times slower for 2 to 4% less
    "image/jpeg": {"optimize": True},
    # level 1 is twice as fast for 5 to 15% more, level 6 twice as slow for 1 to 6% less
    "image/png": {"compress_level": 4},
    # method 4 is twice as slow for 4% less
    "image/webp": {"method": 2},
}

#: What all formats can write, in milliseconds or repetitions; a stranger's file may say anything.
_LARGEST = 65_535


def encoded(
    frames: Sequence[Image.Image], mimetype: str, rendition: Rendition, durations: Sequence[float], loop: int | None
) -> bytes:
    """A file of the type, with these frames.

    :param frames: one or more, all of one size; ``L``, ``LA``, ``RGB`` or ``RGBA``
    :param mimetype: of the file
    :param rendition: for its quality
    :param durations: how long each frame shows, in milliseconds
    :param loop: how often the frames are shown, 0 for ever; ``None`` is once
    """
    options = dict(_OPTIONS[mimetype])
    if mimetype == "image/png" and isinstance(rendition, PassingRendition):
        options["compress_level"] = 0
    writing = by_mimetype[mimetype].writing
    assert writing is not None
    if writing.quality is not None:
        options["quality"] = rendition.quality or writing.quality
    first, *rest = frames if writing.alpha else [flattened(frame) for frame in frames]
    if rest:
        options |= {"save_all": True, "append_images": rest, "duration": [_within(time) for time in durations]}
        plays = 1 if loop is None else _within(loop)
        if mimetype == "image/avif":
            # browsers take those that move for it, whatever they say
            options["range"] = "limited"
        elif mimetype != "image/gif":
            options["loop"] = plays
        elif plays != 1:
            # a GIF says how often it repeats after it was shown once
            options["loop"] = plays and plays - 1
        if mimetype == "image/gif":
            # each frame replaces the one before, as transparency would let it shine through
            options["disposal"] = 2
    buffer = io.BytesIO()
    first.save(buffer, _PLUGINS[mimetype], **options)
    return buffer.getvalue()


def _within(number: float) -> int:
    return min(max(0, round(number)), _LARGEST)
