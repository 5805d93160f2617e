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
    Image,
    ImageFile,
    JpegImagePlugin,
    WebPImagePlugin,
)

from ...errors import UnreadableImageError, UnsupportedLayoutError
from ..formats import jpeg, tiff
from ..info import ImageInfo
from ..policy import ImagePolicy
from ..raster.decoding import decoding, refuse_rare
from ..raster.frames import Frame
from ..raster.gifframes import gif_frames
from ..raster.heifcolours import said_profile
from ..raster.icoframes import icon
from ..raster.pngframes import png_frames
from ..raster.resample import ENOUGH, plan
from ..raster.tiffpixels import tiff_image, tiff_pixels
from ..reader import Guarded, Reader
from ..rendition import Order

__all__ = ["PillowDecoder"]


class _Jpeg(JpegImagePlugin.JpegImageFile):
    """A JPEG whose EXIF is left alone: all that is needed of it is known already, and broken ones would warn."""

    def _read_dpi_from_exif(self) -> None:
        pass


_DECODERS: Final[dict[str, Callable[[Any], ImageFile.ImageFile]]] = {
    "image/avif": AvifImagePlugin.AvifImageFile,
    "image/bmp": BmpImagePlugin.BmpImageFile,
    "image/jpeg": _Jpeg,
    "image/tiff": tiff_image,
    "image/webp": WebPImagePlugin.WebPImageFile,
}


#: What tells whether an intact file may be coded in a way that Pillow does not read: it does not say so itself.
_RARE: Final[dict[str, Callable[[Reader], bool]]] = {
    "image/jpeg": jpeg.has_rare_coding,
    "image/tiff": tiff.has_rare_coding,
}


class PillowDecoder:
    """Decodes with Pillow."""

    name: Final = "pillow"

    def reads(self, mimetype: str, *, animated: bool) -> bool:
        """Whether it is one of the raster types that Pillow's wheels decode."""
        if mimetype == "image/avif" and not AvifImagePlugin.SUPPORTED:
            return False
        return mimetype in _DECODERS or mimetype in {"image/gif", "image/png", "image/vnd.microsoft.icon"}

    def verify(self, source: Guarded, info: ImageInfo, policy: ImagePolicy) -> None:
        """Decode it all; a JPEG at an eighth of its size, which reads all of its data as well.

        :raises UnsupportedLayoutError: the file is of a kind that Pillow does not read
        :raises UnreadableImageError: the picture is damaged
        """
        for _ in _frames(source, info, None):
            pass

    def frames(self, source: Guarded, info: ImageInfo, orders: Sequence[Order], policy: ImagePolicy) -> Iterator[Frame]:
        """The frames; a JPEG in the smallest of its eighths that is good enough for the orders.

        :raises UnsupportedLayoutError: the file is of a kind that Pillow does not read
        :raises UnreadableImageError: the picture is damaged
        """
        return _frames(source, info, orders)


def _frames(source: Guarded, info: ImageInfo, orders: Sequence[Order] | None) -> Iterator[Frame]:
    if info.mimetype == "image/gif":
        return _gif_frames(source, info)
    if info.mimetype == "image/png":
        return png_frames(source, info)
    if info.mimetype == "image/vnd.microsoft.icon":
        return _icon_frames(source, info)
    return _of_rare_coding(source, info, _other_frames(source, info, orders))


def _of_rare_coding(source: Guarded, info: ImageInfo, frames: Iterator[Frame]) -> Iterator[Frame]:
    try:
        yield from frames
    except UnreadableImageError as error:
        if error.code == "undecodable" and info.mimetype in _RARE and _RARE[info.mimetype](Reader(source)):
            refuse_rare(info.mimetype, error.__cause__)
        raise


def _gif_frames(source: Guarded, info: ImageInfo) -> Iterator[Frame]:
    frames = gif_frames(source)
    while True:
        with decoding(source, info.mimetype):
            image, duration, loop = next(frames, (None, 0.0, 0))
        if image is None:
            return
        yield Frame(image, info.stored_size, duration=duration, loop=loop)


def _icon_frames(source: Guarded, info: ImageInfo) -> Iterator[Frame]:
    with decoding(source, info.mimetype):
        image = icon(source, info.stored_size)
        _check_size(image, info)
        image.load()
    yield Frame(_opaque(image), info.stored_size, profile=image.info.get("icc_profile"))


def _check_size(image: Image.Image, info: ImageInfo) -> None:
    """Before a frame is decoded: it is of the size that was counted."""
    expected = (info.width, info.height) if info.mimetype == "image/tiff" else info.stored_size
    if image.size != expected:
        msg = f"the {info.mimetype} is damaged: its header says {expected}, its decoder {image.size} pixels"
        raise UnreadableImageError(msg, code="damaged")


def _other_frames(source: Guarded, info: ImageInfo, orders: Sequence[Order] | None) -> Iterator[Frame]:
    orientation, scale, profile = info.orientation, (1.0, 1.0), None
    with decoding(source, info.mimetype):
        source.seek(0)
        if info.mimetype == "image/avif":
            profile = said_profile(source)
        elif info.mimetype == "image/bmp" and _is_run_length(source):
            msg = "no decoder installed reads a BMP of run lengths; save it as PNG"
            raise UnsupportedLayoutError(msg, mimetype=info.mimetype)
        source.seek(0)
        image = _DECODERS[info.mimetype](source)
        _check_size(image, info)
        stored = image.size
        if info.mimetype == "image/jpeg" and orders is None:
            image.draft(None, (1, 1))
        elif info.mimetype == "image/jpeg" and orders is not None:
            scale = _draft(image, orders, info)
        elif info.mimetype == "image/tiff":
            # Pillow turns a TIFF itself while it decodes, and by XMP too, which nothing else looks at
            orientation = 1
            image.info.pop("xmp", None)
        elif info.mimetype == "image/webp" and info.frames > 1 and image.mode == "RGB":
            # what no frame covers is clear, also in a film that promises to be opaque
            image._mode = image.rawmode = "RGBA"  # type: ignore[attr-defined]
    for number in range(info.frames):
        with decoding(source, info.mimetype):
            image.seek(number)
            if info.mimetype != "image/jpeg":
                _check_size(image, info)
            image.load()
            frame = Frame(
                _opaque(tiff_pixels(image) if info.mimetype == "image/tiff" else image),
                stored,
                scale,
                orientation,
                profile or image.info.get("icc_profile"),
                float(image.info.get("duration") or 0),
                image.info.get("loop"),
            )
        yield frame


def _is_run_length(source: Guarded) -> bool:
    source.seek(0)
    head = source.read(34)
    return int.from_bytes(head[14:18], "little") > 12 and int.from_bytes(head[30:34], "little") in {1, 2}


def _opaque(image: Image.Image) -> Image.Image:
    """An RGBA image that hides nothing is RGB."""
    if image.mode == "RGBA" and image.getchannel("A").getextrema() == (255, 255):
        return image.convert("RGB")
    return image


def _draft(image: ImageFile.ImageFile, orders: Sequence[Order], info: ImageInfo) -> tuple[float, float]:
    """Have a JPEG decoded at the smallest size that is good enough for the largest order."""
    plans = [plan(order, image.size, info.orientation) for order in orders]
    if any(wanted.kernel == Image.Resampling.NEAREST for wanted in plans):
        return 1.0, 1.0
    scale = ENOUGH * max(wanted.scale for wanted in plans)
    width, height = image.size
    drafted = image.draft(None, (math.ceil(width * scale), math.ceil(height * scale)))
    if drafted is None:
        return 1.0, 1.0
    _, (_, _, across, down) = drafted
    return across / width, down / height
