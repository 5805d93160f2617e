"""The Wand engine: SVG, PDF, HEIC and, when Pillow is not to be used, the rest, through ImageMagick.

ImageMagick decodes; everything after that is shared with the Pillow engine, so that the two cannot differ in sizes,
colours or files.  **ImageMagick is never asked what a file is**: the coder is named from what the bytes say, so that no
file reaches one of its two hundred others.  Its own limits and its ``policy.xml`` stay as the administrator set them.

* **SVG** is rendered by librsvg where ImageMagick is built with it, else by ImageMagick's own renderer, which is plain
  (no filters, few fonts).  Never by an external program.
* **PDF**: the first page, on white, by Ghostscript, which is told the size of the page to make, whatever the file says.
  Debian and others forbid PDF in ``policy.xml``; the error says so.
* **HEIC** needs ImageMagick built with libheif.
"""

from __future__ import annotations

import ctypes
import math
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final

from PIL import Image

from ...errors import EngineUnavailableError, UnreadableImageError
from ..formats import isobmff
from ..info import ImageInfo
from ..policy import ImagePolicy
from ..raster.colours import flattened
from ..raster.decoding import decoding
from ..raster.frames import Frame
from ..raster.resample import HEADROOM, plan
from ..reader import Guarded, Reader
from ..rendition import VECTOR_TYPES, Order

__all__ = ["WandDecoder"]

#: The coders that may read each type, the preferred one first.
_CODERS: Final = {
    "application/pdf": ("pdf",),
    "image/avif": ("avif", "heic"),
    "image/bmp": ("bmp",),
    "image/gif": ("gif",),
    "image/heic": ("heic",),
    "image/heif": ("heic",),
    "image/jpeg": ("jpeg",),
    "image/png": ("png",),
    # "svg" would hand the file to Inkscape where that is installed
    "image/svg+xml": ("rsvg", "msvg"),
    "image/tiff": ("tiff",),
    "image/vnd.microsoft.icon": ("ico",),
    "image/webp": ("webp",),
}
#: libheif turns and mirrors by itself.
_TURNED: Final = frozenset({"image/avif", "image/heic", "image/heif"})
#: Pixels of a source per inch.
_DENSITY: Final = {"application/pdf": 72, "image/svg+xml": 96}
#: What a vector is rendered with at most, however small the part of it that is wanted: pixels, and pixels a side.
_MOST_PIXELS, _LONGEST_SIDE = 32_000_000, 16_000
#: And at least, since renderers smooth the edges of small pictures badly: pixels of its longer side.
_LEAST_SIDE = 512


@cache
def _wand() -> Any:
    # late: it costs a quarter of a second, and needs a system library
    try:
        import wand.api
        import wand.exceptions
        import wand.image
        import wand.version
    except (ImportError, OSError) as error:
        msg = (
            f"the Wand engine is not installed ({error}); install it with pip install 'SQLAlchemy-ImageAttach[wand]',"
            " and ImageMagick's library with it (on Debian: apt-get install libmagickwand-6.q16-6"
            " libmagickcore-6.q16-6-extra)"
        )
        raise EngineUnavailableError(msg) from error
    return wand


@cache
def _coder(mimetype: str) -> str | None:
    if mimetype == "application/pdf" and shutil.which("gs") is None:
        return None
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
        for _ in _frames(source, info, 1.0):
            pass

    def frames(self, source: Guarded, info: ImageInfo, orders: Sequence[Order], policy: ImagePolicy) -> Iterator[Frame]:
        """The first frame, or all of those of a GIF.

        :raises UnreadableImageError: the picture is damaged
        """
        size = info.stored_size
        scale = HEADROOM * max(plan(order, size, info.orientation).scale for order in orders)
        return _frames(source, info, scale)


def _frames(source: Guarded, info: ImageInfo, scale: float) -> Iterator[Frame]:
    orientation = 1 if info.mimetype in _TURNED else info.orientation
    stored = (info.width, info.height) if info.mimetype in _TURNED else info.stored_size
    for image, profile, duration, loop in _decoded(source, info, scale):
        ratio = (1.0, 1.0)
        if info.mimetype in VECTOR_TYPES:
            ratio = image.width / stored[0], image.height / stored[1]
        elif image.size != stored:
            msg = f"the {info.mimetype} is damaged: its header says {stored}, its decoder {image.size} pixels"
            raise UnreadableImageError(msg)
        yield Frame(image, stored, ratio, orientation, profile, duration, loop)


def _decoded(
    source: Guarded, info: ImageInfo, scale: float
) -> Iterator[tuple[Image.Image, bytes | None, float, int | None]]:
    wand = _wand()
    try:
        with decoding(source, info.mimetype):
            opened = _read(source, info, scale)
    except UnreadableImageError as error:
        if isinstance(error.__cause__, (wand.exceptions.PolicyError, wand.exceptions.MissingDelegateError)):
            msg = (
                f"this ImageMagick does not read {info.mimetype} ({error.__cause__}); its policy.xml has to allow"
                " it, and the library it reads it with has to be installed"
            )
            raise EngineUnavailableError(msg) from error
        raise
    with opened as image:
        with decoding(source, info.mimetype):
            if info.mimetype == "image/gif":
                image.coalesce()
            numbers = range(image.iterator_length()) if info.mimetype == "image/gif" else [_largest(image, info)]
            # ImageMagick 6 does not tell the profile of a HEIF, nor how often a GIF repeats
            profile = isobmff.profile(Reader(source)) if info.mimetype in _TURNED else image.profiles.get("icc")
        for number in numbers:
            # not by Image.sequence, which aborts the process over some broken pictures
            image.iterator_set(number)
            with decoding(source, info.mimetype), image.image_get() as single:
                decoded = _pixels(single)
                duration = 1000 * single.delay / (single.ticks_per_second or 100)
            if info.mimetype == "application/pdf":
                decoded = flattened(decoded)
            yield decoded, profile, duration, 0 if info.frames > 1 else None


def _largest(image: Any, info: ImageInfo) -> int:
    """The number of the picture that counts: the first one, or the largest one of an icon."""
    if info.mimetype != "image/vnd.microsoft.icon":
        return 0
    sizes = []
    for number in range(image.iterator_length()):
        image.iterator_set(number)
        sizes.append(image.width * image.height)
    return sizes.index(max(sizes))


def _read(source: Guarded, info: ImageInfo, scale: float) -> Any:
    coder = _coder(info.mimetype)
    assert coder is not None
    image = _image_class()()
    try:
        source.seek(0)
        blob = source.read()
        if info.mimetype == "application/pdf":
            with tempfile.NamedTemporaryFile(suffix=".pdf") as file:
                file.write(blob)
                file.flush()
                _read_pdf(image, file.name, info, _vector_scale(info, scale))
        elif info.mimetype == "image/svg+xml":
            resolution = _DENSITY[info.mimetype] * _vector_scale(info, scale)
            image.read(blob=blob, format=coder, background="transparent", resolution=resolution)
        else:
            image.read(blob=blob, format=coder)
        if not image.iterator_length():
            # all that is asked of no image at all would abort the process
            msg = f"the {info.mimetype} cannot be decoded: ImageMagick finds no picture in it; give an intact file"
            raise UnreadableImageError(msg)
    except BaseException:
        image.close()
        raise
    return image


def _read_pdf(image: Any, path: str, info: ImageInfo, scale: float) -> None:
    """The first page, in a size of pixels that is known before.

    The page's size comes from our own look at the file, and Ghostscript is made to keep to it: ImageMagick looks for it
    in vain where it is compressed, and a file that lies about it must not get more than it said.
    """
    set_page = _wand().api.library.MagickSetPage
    set_page.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_ssize_t, ctypes.c_ssize_t]
    image_size = info.width, info.height
    for size in (image_size, image_size[::-1]):
        image.clear()
        set_page(image.wand, *size, 0, 0)
        image.options["pdf:use-cropbox"] = "true"
        # only of a named file does it read one page; of a blob it renders them all
        image.read(filename=f"pdf:{path}[0]", resolution=_DENSITY[info.mimetype] * scale)
        # It may have found the page's rotation by itself, and turned the size that is turned already: then once more.
        if info.width == info.height or (image.width < image.height) == (info.width < info.height):
            break


def _vector_scale(info: ImageInfo, scale: float) -> float:
    side = max(info.width, info.height)
    wanted = max(scale, _LEAST_SIDE / side)
    return min(wanted, math.sqrt(_MOST_PIXELS / (info.width * info.height)), _LONGEST_SIDE / side)


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
    space = image.colorspace
    image.depth = 8
    if space not in {"cmyk", "gray", "rgb", "srgb"}:
        image.transform_colorspace("srgb")
    if space == "cmyk":
        return Image.frombytes("CMYK", image.size, image.make_blob("cmyk"))
    mode = "RGBA" if image.alpha_channel else "RGB"
    pixels = Image.frombytes(mode, image.size, image.make_blob(mode.lower()))
    if space != "gray":
        return pixels
    bands = pixels.split()
    return Image.merge("LA", (bands[0], bands[3])) if mode == "RGBA" else bands[0]
