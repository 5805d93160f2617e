"""The Wand decoder: what is left to ImageMagick, which is HEIC without pillow-heif, and layouts that Pillow has not.

ImageMagick decodes; everything after that is shared with the other decoders, so that they cannot differ in sizes,
colours or files.  **ImageMagick is never asked what a file is**: the coder is named from what the bytes say, so that no
file reaches one of its two hundred others, and **no coder is named that reads a program**: neither SVG (its own
renderer takes attributes for drawing commands, which read files) nor PDF (which it hands to Ghostscript, another
program).  Its own limits and its ``policy.xml`` stay as the administrator set them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

from PIL import Image

from ...errors import EngineUnavailableError, TooCostlyError, UnreadableImageError
from ..formats import tiff
from ..info import ImageInfo
from ..policy import ImagePolicy
from ..raster.decoding import decoding, refuse_rare
from ..raster.frames import Frame
from ..raster.heifcolours import said_profile
from ..raster.icoframes import best_of_icon
from ..reader import Guarded, Reader
from ..rendition import Order

__all__ = ["WandDecoder"]

#: The coders that may read each type, the preferred one first.
_CODERS: Final = {
    "image/avif": ("avif", "heic"),
    "image/bmp": ("bmp",),
    "image/gif": ("gif",),
    "image/heic": ("heic",),
    "image/heif": ("heic",),
    "image/jpeg": ("jpeg",),
    "image/png": ("png",),
    "image/tiff": ("tiff",),
    "image/vnd.microsoft.icon": ("ico",),
    "image/webp": ("webp",),
}
#: What colours of a TIFF may be: grey whose white is 0, Lab, and Lab by the rules of the ICC and of the ITU.
_WHITE_IS_ZERO, _LAB, _OTHER_LABS = 0, 8, frozenset({9, 10})
_SIGNED = 2
#: libheif turns and mirrors by itself.
_TURNED: Final = frozenset({"image/avif", "image/heic", "image/heif"})


@cache
def _wand() -> Any:
    # late: it costs a quarter of a second, and needs a system library
    try:
        import wand.api
        import wand.exceptions
        import wand.image
        import wand.version
    except (ImportError, OSError) as error:
        raise EngineUnavailableError(
            f"the Wand engine is not installed ({error}); install it with pip install 'SQLAlchemy-ImageAttach[wand]',"
            " and ImageMagick's library with it (on Debian: apt-get install libmagickwand-6.q16-6)"
        ) from error
    return wand


@cache
def _coder(mimetype: str) -> str | None:
    for coder in _CODERS.get(mimetype, ()):
        if coder.upper() in _wand().version.formats(coder.upper()):
            return coder
    return None


class WandDecoder:
    """Decodes with ImageMagick.

    :raises EngineUnavailableError: Wand or its system library is missing
    """

    name: Final = "wand"

    def __init__(self) -> None:
        _wand()

    def reads(self, mimetype: str, *, animated: bool) -> bool:
        """Whether this ImageMagick has a coder for it.  Of what moves it reads GIF only."""
        return (not animated or mimetype == "image/gif") and _coder(mimetype) is not None

    def verify(self, source: Guarded, info: ImageInfo, policy: ImagePolicy) -> None:
        """Decode the first frame, or all of those of a GIF.

        :raises UnreadableImageError: the picture is damaged
        """
        for _ in self.frames(source, info, (), policy):
            pass

    def frames(self, source: Guarded, info: ImageInfo, orders: Sequence[Order], policy: ImagePolicy) -> Iterator[Frame]:
        """The first frame, or all of those of a GIF.

        :raises TooCostlyError: ImageMagick's own limits are too low for it
        :raises UnreadableImageError: the picture is damaged
        """
        turned = info.mimetype in _TURNED
        stored = (info.width, info.height) if turned else info.stored_size
        for image, profile, duration, loop in _decoded(source, info):
            if 0 in image.size:
                refuse_rare(info.mimetype, None)
            if image.size != stored:
                msg = f"the {info.mimetype} is damaged: its header says {stored}, its decoder {image.size} pixels"
                raise UnreadableImageError(msg, code="damaged")
            yield Frame(image, stored, (1.0, 1.0), 1 if turned else info.orientation, profile, duration, loop)


def _decoded(source: Guarded, info: ImageInfo) -> Iterator[tuple[Image.Image, bytes | None, float, int | None]]:
    if info.mimetype == "image/tiff" and _is_misread(tiff.layout(Reader(source))):
        refuse_rare(info.mimetype, None)
    with _answering(source, info.mimetype):
        opened = _read(source, info)
    with opened as image:
        with _answering(source, info.mimetype):
            if info.mimetype == "image/gif":
                image.coalesce()
            numbers = range(image.iterator_length()) if info.mimetype == "image/gif" else [_best(source, info)]
            # ImageMagick 6 does not tell the profile of a HEIF, nor how often a GIF repeats
            profile = said_profile(source) if info.mimetype in _TURNED else image.profiles.get("icc")
        for number in numbers:
            # neither by Image.sequence, which aborts the process over some broken pictures, nor by a copy, which warns
            image.iterator_set(number)
            with _answering(source, info.mimetype):
                duration = 1000 * image.delay / (image.ticks_per_second or 100)
                decoded = _pixels(image)
            yield decoded, profile, duration, 0 if info.frames > 1 else None


def _is_misread(pixels: tiff.Layout) -> bool:
    """Whether ImageMagick shows something else than a TIFF holds, and says nothing."""
    if pixels.kind == _SIGNED:
        return True  # what is below 0 becomes the brightest
    if pixels.colours == _WHITE_IS_ZERO:
        # it forgets to turn these
        return pixels.samples > 1 or pixels.bits not in {1, 8, 16}
    # of floats it makes white, and what is red by the other rules becomes green
    return pixels.colours in _OTHER_LABS or pixels.colours == _LAB and pixels.bits > 16


@contextmanager
def _answering(source: Guarded, mimetype: str) -> Iterator[None]:
    """Whose fault it is when ImageMagick raises: what it lacks by its installation is not the picture's.

    :raises EngineUnavailableError: its policy, or the library that it needs for the type
    :raises TooCostlyError: its limits of memory and time
    :raises UnreadableImageError: the picture
    """
    exceptions = _wand().exceptions
    try:
        with decoding(source, mimetype):
            yield
    except UnreadableImageError as error:
        cause = error.__cause__
        if isinstance(cause, (exceptions.PolicyError, exceptions.MissingDelegateError, exceptions.DelegateError)):
            raise EngineUnavailableError(
                f"this ImageMagick does not read {mimetype} ({type(cause).__name__}); its policy.xml has to allow it,"
                " and the library that it reads it with has to be installed"
            ) from cause
        if isinstance(cause, (exceptions.ResourceLimitError, exceptions.CacheError)) or ("exhausted" in str(cause)):
            raise TooCostlyError(
                f"this {mimetype} needs more than ImageMagick may take ({type(cause).__name__}); raise the limits in"
                " its policy.xml, or give a smaller picture"
            ) from cause
        raise


def _best(source: Guarded, info: ImageInfo) -> int:
    """The number of the picture that counts: the first one, or the best one of an icon."""
    return best_of_icon(source, info.stored_size)[0] if info.mimetype == "image/vnd.microsoft.icon" else 0


def _read(source: Guarded, info: ImageInfo) -> Any:
    coder = _coder(info.mimetype)
    assert coder is not None
    image = _image_class()()
    try:
        source.seek(0)
        image.read(blob=source.read(), format=coder)
        if not image.iterator_length():
            # all that is asked of no image at all would abort the process
            msg = f"the {info.mimetype} cannot be decoded: ImageMagick finds no picture in it; give an intact file"
            raise UnreadableImageError(msg, code="undecodable", mimetype=info.mimetype)
    except BaseException:
        image.close()
        raise
    return image


@cache
def _image_class() -> Any:
    base = _wand().image.Image

    class Quiet(base):  # type: ignore[misc, valid-type]
        """An image that does not warn: what ImageMagick finds odd about a stranger's file is no news to our user."""

        def raise_exception(self, *args: Any, **kwargs: Any) -> None:
            error = self.get_exception()
            if error is not None and not isinstance(error, Warning):
                raise error

    return Quiet


def _pixels(image: Any) -> Image.Image:
    """The current frame, as Pillow has it: with 8 bits, in CMYK, grey or RGB, and its alpha."""
    space = _colour_space(image)
    if space not in {"cmyk", "gray", "rgb", "srgb"}:
        image.transform_colorspace("srgb")
    if space == "cmyk":
        return _exported(image, "CMYK")
    pixels = _exported(image, "RGBA" if image.alpha_channel else "RGB")
    if space != "gray":
        return pixels
    bands = pixels.split()
    return Image.merge("LA", (bands[0], bands[3])) if len(bands) == 4 else bands[0]


def _colour_space(image: Any) -> str | None:
    try:
        return str(image.colorspace)
    except IndexError:  # ImageMagick has some that Wand does not know, such as grey of a gamma of its own
        return None


def _exported(image: Any, mode: str) -> Image.Image:
    # not by make_blob(), for which ImageMagick copies all of its pixels, and does not give them back when it fails
    wand = _wand()
    width, height = image.size
    pixels = bytearray(width * height * len(mode))
    target = (ctypes.c_char * len(pixels)).from_buffer(pixels)
    char = wand.image.STORAGE_TYPES.index("char")
    done = wand.api.library.MagickExportImagePixels(
        image.wand, 0, 0, width, height, mode.encode(), char, ctypes.byref(target)
    )
    if not done:
        image.raise_exception()
    return Image.frombuffer(mode, (width, height), pixels, "raw", mode, 0, 1)
