"""The libvips decoder, for huge and for odd pictures: PNG, TIFF and WebP that Pillow would hold in memory whole.

It is asked only where a policy names it.  A picture of more than 16 megapixels is made smaller while it is decoded,
some rows at a time, so that one of 100 megapixels takes no more memory than its thumbnails do; everything after that is
shared with the other decoders.  **libvips is never asked what a file is**: the loader is the one of the type that the
bytes say.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final

from PIL import Image

from ...errors import EngineUnavailableError, UnreadableImageError, UnsupportedLayoutError
from ..formats import tiff
from ..info import ImageInfo
from ..policy import ImagePolicy
from ..raster.decoding import decoding
from ..raster.frames import Frame
from ..raster.pngparts import Parts, png_parts
from ..raster.resample import HEADROOM, plan
from ..reader import Guarded, Reader
from ..rendition import Order

__all__ = ["VipsDecoder"]

_LOADERS: Final = {
    "image/jpeg": "jpegload_buffer",
    "image/png": "pngload_buffer",
    "image/tiff": "tiffload_buffer",
    "image/webp": "webpload_buffer",
}
#: Pixels that are handed over as they are, so that nothing is resampled twice.
_SMALL: Final = 16_000_000
_MODES: Final = {("b-w", 1): "L", ("b-w", 2): "LA", ("srgb", 3): "RGB", ("srgb", 4): "RGBA", ("cmyk", 4): "CMYK"}
#: By the numbers of TIFF.
_YCBCR, _JPEG = 6, 7
#: 16 bits by what they are with 8.
_WIDE: Final = {"grey16": "b-w", "rgb16": "srgb"}


@cache
def _vips() -> Any:
    try:
        import pyvips
    except (ImportError, OSError) as error:
        msg = (
            f"the libvips engine is not installed ({error}); install it with pip install 'SQLAlchemy-ImageAttach[vips]'"
        )
        raise EngineUnavailableError(msg) from error
    return pyvips


class VipsDecoder:
    """Decodes with libvips.

    :raises EngineUnavailableError: pyvips or its library is missing
    """

    name: Final = "vips"

    def __init__(self) -> None:
        _vips()

    def reads(self, mimetype: str, *, animated: bool) -> bool:
        """Whether it is one of the types that huge pictures have.  What moves is not read."""
        return mimetype in _LOADERS and not animated and bool(_vips().type_find("VipsOperation", _LOADERS[mimetype]))

    def verify(self, source: Guarded, info: ImageInfo, policy: ImagePolicy) -> None:
        """Decode it to its end, some rows at a time.

        :raises UnsupportedLayoutError: it is of a kind that this decoder does not read
        :raises UnreadableImageError: the picture is damaged
        """
        with decoding(source, info.mimetype):
            image, _ = _opened(source, info)
            image.avg()

    def frames(self, source: Guarded, info: ImageInfo, orders: Sequence[Order], policy: ImagePolicy) -> Iterator[Frame]:
        """The picture; a huge one in a size that is good enough for the orders.

        :raises UnsupportedLayoutError: it is of a kind that this decoder does not read
        :raises UnreadableImageError: the picture is damaged
        """
        stored = info.stored_size
        with decoding(source, info.mimetype):
            image, profile = _opened(source, info)
            pixels = _pixels(_shrunk(image, orders, info))
        yield Frame(pixels, stored, (pixels.width / stored[0], pixels.height / stored[1]), info.orientation, profile)


def _opened(source: Guarded, info: ImageInfo) -> tuple[Any, bytes | None]:
    """The picture with 8 bits, of which nothing is decoded yet, and its profile."""
    if info.frames > 1:
        raise _unsupported(info, "that moves")
    if info.mimetype == "image/tiff":
        pixels = tiff.layout(Reader(source))
        if pixels.colours == _YCBCR and pixels.compression != _JPEG:
            raise _unsupported(info, "in YCbCr, which it takes for RGB")
    profile = None
    if info.mimetype == "image/png":
        # without what merely stands beside the picture, and with its colours as browsers take them
        png = png_parts(source, animated=False)
        data, profile = Parts(source, png.frames[0].parts).read(), png.colours.profile
    else:
        source.seek(0)
        data = source.read()
    try:
        image = getattr(_vips().Image, _LOADERS[info.mimetype])(data, access="sequential", fail_on="error")
    except _vips().Error as error:  # before a pixel is decoded: it may be intact, as is a TIFF in Lab
        raise _unsupported(info, "of this kind") from error
    if (image.width, image.height) != info.stored_size:
        found = (image.width, image.height)
        msg = f"the {info.mimetype} is damaged: its header says {info.stored_size}, its decoder {found} pixels"
        raise UnreadableImageError(msg, code="damaged")
    if info.mimetype != "image/png" and "icc-profile-data" in image.get_fields():
        profile = image.get("icc-profile-data")
    return _of_8_bits(image, info), profile


def _of_8_bits(image: Any, info: ImageInfo) -> Any:
    if image.format == "ushort" and image.interpretation in _WIDE:
        # the cast cuts off
        image = image.linear(1 / 257, 0.5).cast("uchar").copy(interpretation=_WIDE[image.interpretation])
    if image.format != "uchar" or (image.interpretation, image.bands) not in _MODES:
        raise _unsupported(info, f"of {image.bands} × {image.format} ({image.interpretation})")
    return image


def _unsupported(info: ImageInfo, what: str) -> UnsupportedLayoutError:
    msg = f"libvips is not asked for a {info.mimetype} {what}; name another engine after it"
    return UnsupportedLayoutError(msg, mimetype=info.mimetype)


def _shrunk(image: Any, orders: Sequence[Order], info: ImageInfo) -> Any:
    plans = [plan(order, info.stored_size, info.orientation) for order in orders]
    scale = HEADROOM * max((wanted.scale for wanted in plans), default=0.0)
    is_exact = any(wanted.kernel == Image.Resampling.NEAREST for wanted in plans)
    if image.width * image.height <= _SMALL or scale >= 1 or is_exact:
        return image
    width, height = math.ceil(image.width * scale), math.ceil(image.height * scale)
    how = {"vscale": height / image.height, "kernel": "lanczos3"}
    if not image.hasalpha():
        return image.resize(width / image.width, **how)
    # a colour that cannot be seen must not run into its neighbours
    return image.premultiply().resize(width / image.width, **how).unpremultiply().linear(1, 0.5).cast("uchar")


def _pixels(image: Any) -> Image.Image:
    mode = _MODES[image.interpretation, image.bands]
    return Image.frombuffer(mode, (image.width, image.height), image.write_to_memory(), "raw", mode, 0, 1)
