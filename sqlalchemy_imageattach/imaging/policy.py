"""What is accepted as an image: the limits, checked before a single pixel is decoded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final, Literal, get_args

from ..errors import InvalidTypeError, InvalidValueError, PolicyViolationError
from ..imagetypes import TYPES

__all__ = ["WEB_TYPES", "ImagePolicy", "Verification"]

#: The raster types that are allowed by default: those that an engine reads with Pillow alone.
WEB_TYPES: Final = frozenset(row.mimetype for row in TYPES if row.usual)
_ENGINES: Final = ("pillow", "resvg", "heif", "pdfium", "wand")

Verification = Literal["structure", "decode"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePolicy:
    """The images that are accepted.  The defaults are safe for uploads by strangers.

    :param max_bytes: the largest file, in bytes; ``None`` for no limit.  64 MiB by default
    :param max_pixels: the most pixels, ``None`` for no limit: width × height × frames of the source, and also of each
        rendition made.  100 million by default, which is 300 to 400 MB when decoded.  Pillow's own limit, which this
        package leaves alone, still holds for TIFF and WebP: at 89 million pixels it warns of a TIFF, at 179 million it
        refuses both
    :param allowed_types: the mimetypes accepted, compared exactly with what the *bytes* say: neither the file's name
        nor the client's word count.  By default JPEG, PNG, GIF, WebP, AVIF, BMP and TIFF.  SVG and PDF are
        programs more than pictures and HEIC needs an extra: all three have to be asked for, by
        :meth:`allowing`
    :param engines: the names of the engines that may be used, the preferred one first: ``"pillow"`` for what the web
        shows, ``"resvg"`` for SVG, ``"heif"`` for HEIC, ``"pdfium"`` for PDF, and ``"wand"`` for HEIC, and what Pillow
        does not know of a type
    :param fonts: paths of font files, and of directories of them, that the text of an SVG may be set in, beside Noto
        Sans, which the extra ``svg`` brings along.  The fonts of the system are not looked for: name their directories
    :param max_seconds: the most CPU seconds that decoding a file and making pictures from it may take.  A limit of
        time or of memory has all files decoded in child processes, which the kernel holds to it.  Without one, only
        what the engines other than Pillow decode is (SVG, PDF, HEIC), with 20 seconds and 2 GiB
    :param max_memory: the most memory for it, in bytes
    :param isolate: ``True`` decodes everything in child processes, ``False`` nothing, e.g. where there are none, or
        where all files are your own
    :param verify: ``"structure"`` finds empty, truncated and mislabelled files from their headers and their ends, in
        well below a millisecond; ``"decode"`` decodes the whole picture too before it is accepted, which also finds
        the damage within that stops a decoder (a JPEG decoder makes do with much), and takes as long as that does:
        30 ms for a JPEG of 12 megapixels, 100 or more for a PNG
    :raises InvalidValueError: a limit is below 1, or a name unknown
    :raises InvalidTypeError: a value has the wrong type

    >>> ImagePolicy(max_pixels=25_000_000).allowing("image/svg+xml").allows("image/svg+xml")
    True
    """

    max_bytes: int | None = 64 * 2**20
    max_pixels: int | None = 100_000_000
    allowed_types: frozenset[str] = field(default=WEB_TYPES)
    engines: tuple[str, ...] = _ENGINES
    fonts: tuple[str, ...] = ()
    max_seconds: float | None = None
    max_memory: int | None = None
    isolate: bool | None = None
    verify: Verification = "structure"

    def __post_init__(self) -> None:
        _check_limit("max_bytes", self.max_bytes)
        _check_limit("max_pixels", self.max_pixels)
        object.__setattr__(self, "allowed_types", frozenset(_strings("allowed_types", self.allowed_types)))
        for mimetype in self.allowed_types:
            if mimetype.count("/") != 1 or mimetype != mimetype.strip().lower() or "*" in mimetype:
                msg = f"allowed_types: expected exact mimetypes such as 'image/png', got {mimetype!r}"
                raise InvalidValueError(msg)
        _check_seconds(self.max_seconds)
        _check_limit("max_memory", self.max_memory)
        if self.isolate not in {None, True, False}:
            msg = f"isolate: expected True, False or None, got {self.isolate!r}"
            raise InvalidTypeError(msg)
        if self.isolate is False and (self.max_seconds is not None or self.max_memory is not None):
            msg = (
                "isolate=False: what is decoded in this process cannot be limited; leave max_seconds and max_memory out"
            )
            raise InvalidValueError(msg)
        object.__setattr__(self, "fonts", tuple(_strings("fonts", self.fonts)))
        object.__setattr__(self, "engines", tuple(_strings("engines", self.engines)))
        if not self.engines or not set(self.engines) <= set(_ENGINES):
            msg = f"engines: expected one or more of {', '.join(map(repr, _ENGINES))}, got {self.engines!r}"
            raise InvalidValueError(msg)
        if self.verify not in get_args(Verification):
            msg = f"verify: expected 'structure' or 'decode', got {self.verify!r}"
            raise InvalidValueError(msg)

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
            msg = (
                f"expected at most {self.max_bytes:,} bytes, got {size:,}; give a smaller file, or raise max_bytes of"
                " the ImagePolicy"
            )
            raise PolicyViolationError(msg)

    def check_type(self, mimetype: str) -> None:
        """Accept this type.

        :raises PolicyViolationError: it is none of :attr:`allowed_types`
        """
        if mimetype not in self.allowed_types:
            msg = (
                f"expected one of {', '.join(sorted(self.allowed_types)) or 'no type at all'}, got {mimetype}; convert"
                f" it first, or allow it with ImagePolicy().allowing({mimetype!r})"
            )
            raise PolicyViolationError(msg)

    def check_pixels(self, width: int, height: int, frames: int = 1) -> None:
        """Accept a picture of this size.

        :raises PolicyViolationError: it has more pixels, over all frames, than :attr:`max_pixels`
        """
        if self.max_pixels is not None and width * height * frames > self.max_pixels:
            size = f"{width:,}×{height:,}" + (f"×{frames:,} frames" if frames > 1 else "")
            msg = (
                f"expected at most {self.max_pixels:,} pixels, got {width * height * frames:,} ({size}); give a smaller"
                " picture, or raise max_pixels of the ImagePolicy"
            )
            raise PolicyViolationError(msg)


def _check_limit(name: str, value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        msg = f"{name}: expected an int, or None for no limit, got {type(value).__name__} ({value!r})"
        raise InvalidTypeError(msg)
    if value < 1:
        msg = f"{name}: expected 1 or more, or None for no limit, got {value}"
        raise InvalidValueError(msg)


def _check_seconds(value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        msg = f"max_seconds: expected a number, or None for the default, got {type(value).__name__} ({value!r})"
        raise InvalidTypeError(msg)
    if not 0 < value <= 86_400:
        msg = f"max_seconds: expected more than 0 and up to 86,400, got {value}"
        raise InvalidValueError(msg)


def _strings(name: str, values: object) -> list[str]:
    # a lone str is an iterable of str too, but of its letters
    if isinstance(values, str) or not isinstance(values, Iterable):
        msg = f"{name}: expected several str, got {type(values).__name__} ({values!r}); put it into a tuple"
        raise InvalidTypeError(msg)
    items = list(values)
    for item in items:
        if not isinstance(item, str):
            msg = f"{name}: expected str, got {type(item).__name__} ({item!r})"
            raise InvalidTypeError(msg)
    return items
