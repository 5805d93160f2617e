"""What the first bytes of a file say it is.  Nothing else is believed: no file name, no ``Content-Type``."""

from __future__ import annotations

import re
from typing import Final

from ..imagetypes import TYPES

__all__ = ["SNIFF_BYTES", "sniff"]

#: How many bytes :func:`sniff` looks at: enough for the comments that may stand before ``<svg``.
SNIFF_BYTES: Final = 4096

_PREFIXES: Final = tuple((prefix, row.mimetype) for row in TYPES for prefix in row.prefixes)
_BRANDS: Final = {brand: row.mimetype for row in TYPES for brand in row.brands}
_BMP_HEADERS: Final = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
# atomic and possessive: what cannot be matched in one way is not tried in all others, so time grows with the length
_BEFORE_SVG: Final = re.compile(
    r"(?>\s++|<\?.*?\?>|<!--.*?-->|<!DOCTYPE\s++svg\b[^\[>]*+(?:\[.*?\]\s*+)?>)*+<(?:\w++:)?svg[\s/>]", re.DOTALL
)


def sniff(head: bytes) -> str | None:
    """The mimetype that the bytes begin like; ``None`` for no image type known here.

    It says what a file claims to be, not that it is whole: that is what :func:`~sqlalchemy_imageattach.imaging.probe`
    finds out.

    :param head: the first bytes of the file; 4,096 of them are enough

    >>> sniff(b"\\x89PNG\\r\\n\\x1a\\n\\0\\0\\0\\rIHDR")
    'image/png'
    >>> sniff(b"<html>") is None
    True
    """
    for prefix, mimetype in _PREFIXES:
        if head.startswith(prefix):
            return mimetype
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[4:8] == b"ftyp":
        return _family(head)
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "image/bmp"
    return "image/svg+xml" if _is_svg(head[:SNIFF_BYTES]) else None


def _family(head: bytes) -> str | None:
    """AVIF and HEIF have one container; the brands say which it is, the main one first."""
    end = min(int.from_bytes(head[:4]), len(head))
    brands = [head[8:12], *(head[i : i + 4] for i in range(16, end - 3, 4))]
    for brand in brands:
        if brand in _BRANDS:
            return _BRANDS[brand]
    return "image/heif" if {b"mif1", b"msf1"} & set(brands) else None


def _is_svg(head: bytes) -> bool:
    encoding = "utf-16" if head[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
    if encoding == "utf-8-sig" and head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] != b"<":
        return False
    return _BEFORE_SVG.match(head.decode(encoding, "replace")) is not None
