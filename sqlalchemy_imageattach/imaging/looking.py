"""What a file is by its bytes, and what its structure says: all that is known of it before anything is decoded."""

from __future__ import annotations

from collections.abc import Collection

from ..errors import UnreadableImageError
from .formats import SCANNERS
from .info import ImageInfo
from .policy import names_of
from .reader import Reader
from .sniffing import SNIFF_BYTES, sniff

__all__ = ["look", "type_of"]


def type_of(reader: Reader, allowed: Collection[str] = SCANNERS) -> str:
    """The type that the bytes say.

    :param allowed: what the error says that it could have been
    :raises UnreadableImageError: the source is empty or of no type known here
    """
    if reader.size == 0:
        msg = "expected an image, got an empty file"
        raise UnreadableImageError(msg, code="empty", advice="Has the file been read to its end before?")
    mimetype = sniff(reader.head(SNIFF_BYTES))
    if mimetype is None:
        msg = f"expected an image, got bytes of no known image type; accepted are {names_of(allowed)}"
        raise UnreadableImageError(msg, code="unknown_type", allowed=sorted(allowed))
    return mimetype


def look(reader: Reader, mimetype: str) -> ImageInfo:
    """What the structure of the file says.

    :raises UnreadableImageError: the file is cut off or damaged
    """
    header = SCANNERS[mimetype](reader)
    width, height = header.width, header.height
    if header.orientation >= 5:
        width, height = height, width
    return ImageInfo(
        mimetype, width, height, header.orientation, header.frames, reader.size, header.pages, header.largest
    )
