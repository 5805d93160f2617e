"""The structure of image files, format by format: sizes, orientation, frames, and whether the file is whole.

Nothing here decodes a pixel, imports an imaging library, or holds more than a small window of a raster file in
memory.  Each module has one function ``scan(reader)`` that either returns a :class:`Header` or raises
:exc:`~sqlalchemy_imageattach.errors.UnreadableImageError`.  That this package reads the headers, not an engine, is what
makes a picture have the same size, type and number of frames whichever engine is installed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..reader import Reader
from . import bmp, gif, ico, isobmff, jpeg, pdf, png, svg, tiff, webp
from .header import Header

__all__ = ["SCANNERS", "Header"]

#: What looks through files of each type.
SCANNERS: Final[dict[str, Callable[[Reader], Header]]] = {
    "application/pdf": pdf.scan,
    "image/avif": isobmff.scan,
    "image/bmp": bmp.scan,
    "image/gif": gif.scan,
    "image/heic": isobmff.scan,
    "image/heif": isobmff.scan,
    "image/jpeg": jpeg.scan,
    "image/png": png.scan,
    "image/svg+xml": svg.scan,
    "image/tiff": tiff.scan,
    "image/vnd.microsoft.icon": ico.scan,
    "image/webp": webp.scan,
}
