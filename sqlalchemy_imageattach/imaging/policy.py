"""What is accepted as an image: the limits, checked before a single pixel is decoded."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Final, Literal, get_args

from ..arguments import check_type, wrong_type, wrong_value
from ..errors import InvalidTypeError, InvalidValueError, PolicyViolationError
from ..imagetypes import TYPES
from .info import ImageInfo

__all__ = ["WEB_TYPES", "ImagePolicy", "Verification", "names_of"]

#: The raster types that are allowed by default: those that an engine reads with Pillow alone.
WEB_TYPES: Final = frozenset(row.mimetype for row in TYPES if row.usual)
_ENGINES: Final = ("pillow", "resvg", "heif", "pdfium", "wand")
#: Those that have to be asked for.
_FURTHER_ENGINES: Final = ("vips",)

Verification = Literal["structure", "decode"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePolicy:
    """The images that are accepted.  The defaults are safe for uploads by strangers.

    :param max_bytes: the largest file, in bytes; ``None`` for no limit.  64 MiB by default
    :param max_pixels: the most pixels, ``None`` for no limit: width × height × frames of the source, of the largest of
        its pages, and also of each rendition made.  120 million by default, so that the 12,000×9,000 of a telephone
        pass; the guide's page about security has a table of the memory that they take.  Pillow's own limit, which this
        package leaves alone, still holds for TIFF and WebP: at 89 million pixels it warns of a TIFF, at 179 million it
        refuses both
    :param max_frames: the most frames of what moves, ``None`` for no limit.  2,000 by default
    :param max_aspect: how many times longer the one side may be than the other, ``None`` for no limit.  200 by
        default: of a picture of one pixel by thousands, a thumbnail of a usual width is a picture of millions
    :param min_width: the least width of the upright picture, in pixels
    :param min_height: the least height of the upright picture, in pixels
    :param allowed_types: the mimetypes accepted, compared exactly with what the *bytes* say: neither the file's name
        nor the client's word count.  By default JPEG, PNG, GIF, WebP, AVIF, BMP and TIFF.  SVG and PDF are
        programs more than pictures and HEIC needs an extra: all three have to be asked for, by
        :meth:`allowing`
    :param engines: the names of the engines that may be used, the preferred one first: ``"pillow"`` for what the web
        shows, ``"resvg"`` for SVG, ``"heif"`` for HEIC, ``"pdfium"`` for PDF, and ``"wand"`` for HEIC, and what Pillow
        does not know of a type.  ``"vips"`` is used where it is named before Pillow: it takes less memory for PNG, TIFF
        and WebP of more than 16 megapixels
    :param fonts: paths of font files, and of directories of them, that the text of an SVG may be set in, beside Noto
        Sans, which the extra ``svg`` brings along.  The fonts of the system are not looked for: name their directories
    :param max_seconds: the most CPU seconds that decoding a file and making pictures from it may take.  A limit of
        time or of memory has all files decoded in child processes, which the kernel holds to it.  Without one, only
        what the engines other than Pillow decode is (SVG, PDF, HEIC), with 20 seconds and 2 GiB
    :param max_memory: the most memory for it, in bytes
    :param isolate: ``True`` decodes everything in child processes, ``False`` nothing, e.g. where there are none, or
        where all files are your own
    :param verify: ``"structure"`` finds empty, truncated and mislabelled files from their headers and their ends, in
        below a millisecond, and never in more than a tenth of a second; ``"decode"`` decodes the whole picture too
        before it is accepted, which also finds
        the damage within that stops a decoder (a JPEG decoder makes do with much), and takes as long as that does:
        30 ms for a JPEG of 12 megapixels, 100 or more for a PNG
    :raises InvalidValueError: a limit is below 1, or a name unknown
    :raises InvalidTypeError: a value has the wrong type

    >>> ImagePolicy(max_pixels=25_000_000).allowing("image/svg+xml").allows("image/svg+xml")
    True
    """

    max_bytes: int | None = 64 * 2**20
    max_pixels: int | None = 120_000_000
    max_frames: int | None = 2_000
    max_aspect: float | None = 200
    min_width: int = 1
    min_height: int = 1
    allowed_types: frozenset[str] = field(default=WEB_TYPES)
    engines: tuple[str, ...] = _ENGINES
    fonts: tuple[str, ...] = ()
    max_seconds: float | None = None
    max_memory: int | None = None
    isolate: bool | None = None
    verify: Verification = "structure"

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_pixels", "max_frames"):
            _check_limit(name, getattr(self, name))
        _check_limit("max_aspect", self.max_aspect, (int, float))
        for name in ("min_width", "min_height"):
            _check_limit(name, check_type(name, getattr(self, name), int))
        object.__setattr__(self, "allowed_types", frozenset(_strings("allowed_types", self.allowed_types)))
        for mimetype in self.allowed_types:
            if mimetype.count("/") != 1 or mimetype != mimetype.strip().lower() or "*" in mimetype:
                raise wrong_value("allowed_types", mimetype, "exact mimetypes such as 'image/png'")
        _check_seconds(self.max_seconds)
        _check_limit("max_memory", self.max_memory)
        if self.isolate not in {None, True, False}:
            raise InvalidTypeError(f"isolate: expected True, False or None, got {self.isolate!r}")
        if self.isolate is False and (self.max_seconds is not None or self.max_memory is not None):
            msg = (
                "isolate=False: what is decoded in this process cannot be limited; leave max_seconds and max_memory out"
            )
            raise InvalidValueError(msg)
        object.__setattr__(self, "fonts", tuple(_strings("fonts", self.fonts)))
        object.__setattr__(self, "engines", tuple(_strings("engines", self.engines)))
        if not self.engines or not set(self.engines) <= {*_ENGINES, *_FURTHER_ENGINES}:
            raise wrong_value(
                "engines", self.engines, f"one or more of {', '.join(map(repr, (*_ENGINES, *_FURTHER_ENGINES)))}"
            )
        if self.verify not in get_args(Verification):
            raise wrong_value("verify", self.verify, "'structure' or 'decode'")

    def allowing(self, *mimetypes: str) -> ImagePolicy:
        """The same policy, with these types allowed too."""
        return replace(self, allowed_types=self.allowed_types | set(_strings("allowing()", mimetypes)))

    def allows(self, mimetype: str) -> bool:
        """Whether images of this type are accepted."""
        return mimetype in self.allowed_types

    def check_bytes(self, size: int) -> None:
        """Accept a file of this many bytes.

        :raises PolicyViolationError: it is larger than :attr:`max_bytes`
        """
        if self.max_bytes is not None and size > self.max_bytes:
            msg = f"expected at most {self.max_bytes:,} bytes, got {size:,}; give a smaller file"
            advice = "max_bytes of the ImagePolicy is the limit."
            raise PolicyViolationError(msg, code="too_many_bytes", advice=advice, limit=self.max_bytes, found=size)

    def check_type(self, mimetype: str) -> None:
        """Accept this type.

        :raises PolicyViolationError: it is none of :attr:`allowed_types`
        """
        if mimetype not in self.allowed_types:
            msg = f"expected one of {names_of(self.allowed_types)}, got {mimetype}; convert it first"
            advice = f"Another type can be accepted: ImagePolicy().allowing({mimetype!r})."
            allowed = sorted(self.allowed_types)
            raise PolicyViolationError(msg, code="type_not_allowed", advice=advice, allowed=allowed, found=mimetype)

    def check_sides(self, width: int, height: int) -> None:
        """Accept an upright picture with these sides.

        :raises PolicyViolationError: it is smaller than :attr:`min_width` or :attr:`min_height`, or thinner than
            :attr:`max_aspect`
        """
        for name, least, found in (("width", self.min_width, width), ("height", self.min_height, height)):
            if found < least:
                msg = f"expected a {name} of {least:,} pixels or more, got {found:,}; give a larger picture"
                raise PolicyViolationError(msg, code="too_small", side=name, limit=least, found=found)
        longer, shorter = max(width, height), min(width, height)
        if self.max_aspect is not None and longer > self.max_aspect * shorter:
            msg = (
                f"expected a picture whose longer side is at most {self.max_aspect:g} times the other, got"
                f" {width:,}×{height:,} pixels; cut it"
            )
            advice = "max_aspect of the ImagePolicy is the limit."
            aspect = {"limit": self.max_aspect, "found": longer / shorter, "width": width, "height": height}
            raise PolicyViolationError(msg, code="too_thin", advice=advice, **aspect)

    def check_cost(self, info: ImageInfo) -> None:
        """Accept a picture that has to be decoded.

        :raises PolicyViolationError: it has too many pixels or frames
        """
        width, height = info.largest or (info.width, info.height)
        self.check_pixels(width, height, info.frames)
        if self.max_frames is not None and info.frames > self.max_frames:
            msg = f"expected at most {self.max_frames:,} frames, got {info.frames:,}; give a shorter animation"
            advice = "max_frames of the ImagePolicy is the limit."
            found = {"limit": self.max_frames, "found": info.frames}
            raise PolicyViolationError(msg, code="too_many_frames", advice=advice, **found)

    def check_pixels(self, width: int, height: int, frames: int = 1) -> None:
        """Accept a picture of this size.

        :raises PolicyViolationError: it has more pixels, over all frames, than :attr:`max_pixels`
        """
        pixels = width * height * frames
        if self.max_pixels is not None and pixels > self.max_pixels:
            size = f"{width:,}×{height:,}" + (f"×{frames:,} frames" if frames > 1 else "")
            msg = f"expected at most {self.max_pixels:,} pixels, got {pixels:,} ({size}); give a smaller picture"
            advice = "max_pixels of the ImagePolicy is the limit."
            found = {"limit": self.max_pixels, "found": pixels, "width": width, "height": height, "frames": frames}
            raise PolicyViolationError(msg, code="too_many_pixels", advice=advice, **found)


def names_of(mimetypes: Collection[str]) -> str:
    """The types as people call them.

    >>> names_of({"image/png", "image/jpeg", "image/svg+xml"})
    'JPEG, PNG and SVG'
    """
    names = sorted(_NAMES.get(mimetype) or mimetype.partition("/")[2].upper() for mimetype in mimetypes)
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:]))) or "no type at all"


_NAMES: Final = {"image/svg+xml": "SVG", "image/vnd.microsoft.icon": "ICO", "image/webp": "WebP"}


def _check_limit(name: str, value: object, kinds: type | tuple[type, ...] = int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, kinds):
        expected = "an int" if kinds is int else "a number"
        raise wrong_type(name, value, f"{expected}, or None for no limit")
    if not value >= 1:  # type: ignore[operator]
        raise InvalidValueError(f"{name}: expected 1 or more, or None for no limit, got {value}")


def _check_seconds(value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise wrong_type("max_seconds", value, "a number, or None for the default")
    if not 0 < value <= 86_400:
        raise InvalidValueError(f"max_seconds: expected more than 0 and up to 86,400, got {value}")


def _strings(name: str, values: object) -> list[str]:
    # a lone str is an iterable of str too, but of its letters
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise wrong_type(name, values, "several str", "put it into a tuple")
    items = list(values)
    for item in items:
        if not isinstance(item, str):
            raise wrong_type(name, item, "str")
    return items
