"""The Pillow decoder: the raster types of the web, with nothing but a wheel installed.

Each file goes to the decoder of the type that its bytes say, by name: Pillow is never asked to guess, so neither a
process-wide limit of its own nor one of its rarer decoders comes into play.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    IcoImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from ...errors import UnreadableImageError
from ..info import ImageInfo
from ..policy import ImagePolicy
from ..raster.decoding import decoding
from ..raster.frames import Frame
from ..raster.resample import HEADROOM, plan
from ..reader import Guarded
from ..rendition import Order

__all__ = ["PillowDecoder"]


class _Jpeg(JpegImagePlugin.JpegImageFile):
    """A JPEG whose EXIF is left alone: all that is needed of it is known already, and broken ones would warn."""

    def _read_dpi_from_exif(self) -> None:
        pass


_DECODERS: Final[dict[str, Callable[[Any], ImageFile.ImageFile]]] = {
    "image/avif": AvifImagePlugin.AvifImageFile,
    "image/bmp": BmpImagePlugin.BmpImageFile,
    "image/gif": GifImagePlugin.GifImageFile,
    "image/jpeg": _Jpeg,
    "image/png": PngImagePlugin.PngImageFile,
    "image/tiff": TiffImagePlugin.TiffImageFile,
    "image/vnd.microsoft.icon": IcoImagePlugin.IcoImageFile,
    "image/webp": WebPImagePlugin.WebPImageFile,
}


class PillowDecoder:
    """Decodes with Pillow."""

    name: Final = "pillow"

    def reads(self, mimetype: str, *, animated: bool) -> bool:
        """Whether it is one of the raster types that Pillow's wheels decode."""
        if mimetype == "image/avif" and not AvifImagePlugin.SUPPORTED:
            return False
        return mimetype in _DECODERS

    def verify(self, source: Guarded, info: ImageInfo, policy: ImagePolicy) -> None:
        """Decode it all; a JPEG at an eighth of its size, which reads all of its data as well.

        :raises UnreadableImageError: the picture is damaged
        """
        with decoding(source, info.mimetype):
            image = _open(source, info)
            if info.mimetype == "image/jpeg":
                image.draft(None, (1, 1))
            for number in range(info.frames):
                image.seek(number)
                image.load()

    def frames(self, source: Guarded, info: ImageInfo, orders: Sequence[Order], policy: ImagePolicy) -> Iterator[Frame]:
        """The frames; a JPEG in the smallest of its eighths that is good enough for the orders.

        :raises UnreadableImageError: the picture is damaged
        """
        return _frames(source, info, orders)


def _open(source: Guarded, info: ImageInfo) -> ImageFile.ImageFile:
    source.seek(0)
    image = _DECODERS[info.mimetype](source)
    expected = (info.width, info.height) if info.mimetype == "image/tiff" else info.stored_size
    if image.size != expected:
        msg = f"the {info.mimetype} is damaged: its header says {expected}, its decoder {image.size} pixels"
        raise UnreadableImageError(msg)
    return image


def _frames(source: Guarded, info: ImageInfo, orders: Sequence[Order]) -> Iterator[Frame]:
    orientation = info.orientation
    with decoding(source, info.mimetype):
        image = _open(source, info)
        stored, scale = image.size, (1.0, 1.0)
        if info.mimetype == "image/jpeg":
            scale = _draft(image, orders, info)
        elif info.mimetype == "image/tiff":
            # Pillow turns a TIFF itself while it decodes, and by XMP too, which nothing else looks at
            orientation = 1
            image.info.pop("xmp", None)
        first = 1 if image.info.get("default_image") else 0
    for number in range(info.frames):
        with decoding(source, info.mimetype):
            image.seek(number)
            image.load()
            frame = Frame(
                image,
                stored,
                scale,
                orientation,
                image.info.get("icc_profile"),
                None if number < first else float(image.info.get("duration") or 0),
                image.info.get("loop"),
            )
        yield frame


def _draft(image: ImageFile.ImageFile, orders: Sequence[Order], info: ImageInfo) -> tuple[float, float]:
    """Have a JPEG decoded at the smallest size that is good enough for the largest order."""
    plans = [plan(order, image.size, info.orientation) for order in orders]
    if any(wanted.kernel == Image.Resampling.NEAREST for wanted in plans):
        return 1.0, 1.0
    scale = HEADROOM * max(wanted.scale for wanted in plans)
    width, height = image.size
    drafted = image.draft(None, (math.ceil(width * scale), math.ceil(height * scale)))
    if drafted is None:
        return 1.0, 1.0
    _, (_, _, across, down) = drafted
    return across / width, down / height
