"""What 1.x called blobs, which was not for it to say: it asked the machine's table of types.

So one type had several extensions: TIFF was ``.tif`` on Python 2.7 and 3.6 and ``.tiff`` from 3.7 on, and on
Python 3.3 to 3.5 either of them, by chance.  A type that the machine did not know gave the word ``None`` in place of an
extension, dot and all, as WebP did on every machine without ``/etc/mime.types``:

>>> old_extensions("image/tiff"), old_extensions("image/webp"), old_extensions("image/png")
(('.tif',), ('None',), ())

**This is the only place that knows it.**  :meth:`ImageKey.file_paths() <.key.ImageKey.file_paths>` and its twins make
names of it, and stores use these.
"""

from __future__ import annotations

__all__ = ["UNKNOWN", "old_extensions", "type_of_old_extension"]

#: What stands in the place of an extension where the machine knew none.
UNKNOWN = "None"

# Beside those of today: what Python's own tables and those of operating systems have given since 2013.  Types that are
# not here were known to no machine.  JPEG got its fixed name in 0.8.
_EXTENSIONS: dict[str, tuple[str, ...]] = {
    "application/pdf": (),
    "application/postscript": (".ps", ".eps", ".ai", ".epsi", ".epsf", ".eps2", ".eps3"),
    "image/avif": (UNKNOWN, ".hif"),
    "image/bmp": (UNKNOWN, ".dib"),
    "image/fits": (UNKNOWN, ".fit", ".fts"),
    "image/g3fax": (UNKNOWN, ".g3"),
    "image/gif": (),
    "image/jp2": (UNKNOWN, ".jpg2"),
    "image/jpeg": (".jpeg", ".jpg"),
    "image/jpm": (UNKNOWN, ".jpgm"),
    "image/jpx": (UNKNOWN, ".jpf"),
    "image/pict": (UNKNOWN, ".pic", ".pct"),
    "image/png": (),
    "image/svg+xml": (UNKNOWN, ".svgz"),
    "image/tiff": (".tif",),
    "image/vnd.djvu": (UNKNOWN, ".djvu", ".djv"),
    "image/vnd.microsoft.icon": (),
    "image/vnd.radiance": (UNKNOWN, ".hdr", ".rgbe", ".xyze"),
    "image/vnd.wap.wbmp": (UNKNOWN, ".wbmp"),
    "image/vnd.zbrush.pcx": (UNKNOWN, ".pcx"),
    "image/x-cmu-raster": (".ras",),
    "image/x-icon": (UNKNOWN, ".ico"),
    "image/x-jng": (UNKNOWN, ".jng"),
    "image/x-ms-bmp": (".bmp", UNKNOWN),
    "image/x-pcx": (UNKNOWN, ".pcx"),
    "image/x-photoshop": (UNKNOWN, ".psd"),
    "image/x-portable-anymap": (".pnm",),
    "image/x-portable-bitmap": (".pbm",),
    "image/x-portable-graymap": (".pgm",),
    "image/x-portable-pixmap": (".ppm",),
    "image/x-rgb": (".rgb",),
    "image/x-tga": (UNKNOWN, ".tga"),
    "image/x-xbitmap": (".xbm",),
    "image/x-xcf": (UNKNOWN, ".xcf"),
    "image/x-xpixmap": (".xpm",),
    "image/x-xwindowdump": (".xwd",),
}

# The first one that has it: where two have, which one wrote it cannot be told from its name.
_TYPES: dict[str, str] = {}
for _mimetype, _extensions in _EXTENSIONS.items():
    for _extension in _extensions:
        if _extension != UNKNOWN:
            _TYPES.setdefault(_extension, _mimetype)


def old_extensions(mimetype: str) -> tuple[str, ...]:
    """All that 1.x may have put at the end of a name, beside what is put there today; the likeliest first."""
    return _EXTENSIONS.get(mimetype, (UNKNOWN,))


def type_of_old_extension(extension: str) -> str | None:
    """The type of a blob of 1.x with an extension that is not today's, or ``None`` if 1.x never had it."""
    return _TYPES.get(extension)
