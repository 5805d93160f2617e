"""What the name of a file says: its type, how long it may be kept, and whether a browser could run it.

A picture can be a program: SVG and PDF carry scripts.  So no browser is left to guess a type, and what it could run is
shut in a sandbox when somebody opens it by its URL.  Other files that lie there keep their type, a style sheet say.
"""

from __future__ import annotations

import mimetypes
import os
import re
from functools import lru_cache

from ..imagetypes import TYPES, by_extension

__all__ = ["FOREVER", "guarding", "headers_of"]

#: For what never changes.
FOREVER = "public, max-age=31536000, immutable"

_UNKNOWN = "application/octet-stream"

# Files that are no pictures keep the types that they have on every machine: Python's own table, mended where it is old.
_OTHER_TYPES = mimetypes.MimeTypes(filenames=())
for _extension, _mimetype in (
    (".js", "text/javascript"),
    (".mjs", "text/javascript"),
    (".woff2", "font/woff2"),
    (".xhtml", "application/xhtml+xml"),
):
    _OTHER_TYPES.add_type(_mimetype, _extension)

# What a browser cannot run when the URL is opened as a page.  All else can, or might: HTML, XML, SVG, PDF …
_PASSIVE = re.compile(r"text/(?:css|csv|javascript|plain)|application/(?:json|wasm)|(?:audio|font|video)/.+|image/.+")
_ACTIVE = {row.mimetype for row in TYPES if row.active}
_SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'"

# Names with a revision of the length that new_revision() gives; others are looked after as if they could change.
_IMMUTABLE = re.compile(r"-?\d+\.\d+x\d+\.[A-Za-z0-9_-]{16}\.[^/]+")
# Names as stores give them.  A blob is a picture or nothing, whatever its owner called its type.
_BLOB = re.compile(r"-?\d+\.\d+x\d+.*")


@lru_cache(maxsize=1024)
def headers_of(name: str) -> tuple[tuple[str, str], ...]:
    """Type, caching and protection of a file in a directory, by its name.

    >>> dict(headers_of("1234.640x480.Xk3v9QpLm2wAbCdE.jpe"))["Content-Type"]
    'image/jpeg'
    """
    caching = FOREVER if _IMMUTABLE.fullmatch(name) else "no-cache"
    return (*guarding(_mimetype_of(name)), ("Cache-Control", caching))


@lru_cache(maxsize=256)
def guarding(mimetype: str) -> tuple[tuple[str, str], ...]:
    """The type, and what keeps browsers from taking it for another one, or from running it.

    >>> [name for name, _ in guarding("image/svg+xml")]
    ['Content-Type', 'X-Content-Type-Options', 'Content-Security-Policy']
    """
    headers = (("Content-Type", mimetype), ("X-Content-Type-Options", "nosniff"))
    if mimetype in _ACTIVE or not _PASSIVE.fullmatch(mimetype):
        return (*headers, ("Content-Security-Policy", _SANDBOX))
    return headers


def _mimetype_of(name: str) -> str:
    extension = os.path.splitext(name)[1]
    if (row := by_extension.get(extension)) is not None:
        return row.mimetype
    if _BLOB.fullmatch(name):
        return _UNKNOWN
    mimetype, encoding = _OTHER_TYPES.guess_type(f"file{extension}")
    return _UNKNOWN if mimetype is None or encoding is not None else mimetype
