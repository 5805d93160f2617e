"""The types of images: one row for each, and nothing else knows any.

To add a type is to add a row here, a scanner of its headers (``imaging/formats/``) and the
name of what decodes it; the storage key, the server's ``Content-Type``, sniffing, the policy's default and the formats
of thumbnails follow from the row::

    >>> by_mimetype["image/jpeg"].extension, by_mimetype["image/heic"].thumbnail
    ('.jpe', 'image/webp')
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

__all__ = ["SMALL_SIDE", "TYPES", "ImageType", "Writing", "by_extension", "by_mimetype", "by_name"]


#: Of pictures whose longer side has at most so many pixels, the colours are kept at full resolution: a colour that is
#: halved in each direction takes more from them than a quality of 5 less does, and 80 so is better than 85 otherwise.
SMALL_SIDE: Final = 480


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """How pictures of a type are made.

    :param names: what :attr:`~sqlalchemy_imageattach.imaging.Rendition.format` calls it, beside its mimetype
    :param longest_side: pixels that a file can have a side, and be read with
    :param alpha: whether it holds transparency
    :param moves: whether it holds several frames
    :param quality: the default of its encoder, for a type that loses something.  With these, all types come within two
        points of each other on photographs of 640 to 1920 pixels, by SSIMULACRA2 (82; from 80 on, few people see a
        difference side by side), so that types differ in bytes alone: ``scripts/bench quality``
    :param small_quality: the same for pictures whose longer side is at most :data:`SMALL_SIDE`
    """

    names: tuple[str, ...]
    longest_side: int
    alpha: bool = True
    moves: bool = True
    quality: int | None = None
    small_quality: int | None = None

    def quality_of(self, width: int, height: int) -> int | None:
        """The default for pictures of this size, in pixels; ``None`` for a type that loses nothing."""
        return self.small_quality if max(width, height) <= SMALL_SIDE else self.quality


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageType:
    """A type of images.

    :param mimetype: its name
    :param extension: the file name extension in storage keys.  **Never change one**: the key is the blob's name
    :param aliases: other extensions that files of the type have
    :param prefixes: what its files begin with, where that alone tells it
    :param brands: what tells it within the family of AVIF and HEIF
    :param decoders: the names of the engines that may read it; a policy's ``engines`` puts them in order
    :param usual: whether strangers may upload it unless a policy says otherwise
    :param vector: whether it has no pixels of its own
    :param active: whether a browser might run it when it is opened as a page
    :param thumbnail: the type of pictures made from it, unless they are asked for in another one
    :param writing: how pictures of the type are made; ``None`` if they are not
    """

    mimetype: str
    extension: str
    aliases: tuple[str, ...] = ()
    prefixes: tuple[bytes, ...] = ()
    brands: tuple[bytes, ...] = ()
    decoders: tuple[str, ...] = ()
    usual: bool = False
    vector: bool = False
    active: bool = False
    thumbnail: str = "image/png"
    writing: Writing | None = None


TYPES: Final[tuple[ImageType, ...]] = (
    ImageType(
        mimetype="image/jpeg",
        extension=".jpe",
        aliases=(".jpg", ".jpeg"),
        prefixes=(b"\xff\xd8\xff",),
        decoders=("pillow", "wand", "vips"),
        usual=True,
        thumbnail="image/jpeg",
        # libjpeg stops a little before its format does
        writing=Writing(
            names=("jpeg", "jpg"), longest_side=65_500, alpha=False, moves=False, quality=85, small_quality=80
        ),
    ),
    ImageType(
        mimetype="image/png",
        extension=".png",
        prefixes=(b"\x89PNG\r\n\x1a\n",),
        decoders=("pillow", "wand", "vips"),
        usual=True,
        writing=Writing(names=("png",), longest_side=2**31 - 1),
    ),
    ImageType(
        mimetype="image/gif",
        extension=".gif",
        prefixes=(b"GIF87a", b"GIF89a"),
        decoders=("pillow", "wand"),
        usual=True,
        writing=Writing(names=("gif",), longest_side=65_535),
    ),
    ImageType(
        mimetype="image/webp",
        extension=".webp",
        decoders=("pillow", "wand", "vips"),
        usual=True,
        thumbnail="image/webp",
        writing=Writing(names=("webp",), longest_side=16_383, quality=88, small_quality=90),
    ),
    ImageType(
        mimetype="image/avif",
        extension=".avif",
        brands=(b"avif", b"avis"),
        decoders=("pillow", "wand"),
        usual=True,
        thumbnail="image/avif",
        # of what the format holds, libavif writes twice as much as it reads
        writing=Writing(names=("avif",), longest_side=32_768, quality=71, small_quality=71),
    ),
    ImageType(
        mimetype="image/heic",
        extension=".heic",
        brands=(b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"),
        decoders=("heif", "wand"),
        thumbnail="image/webp",
    ),
    ImageType(
        mimetype="image/heif",
        extension=".heif",
        decoders=("heif", "wand"),
        thumbnail="image/webp",
    ),
    ImageType(
        mimetype="image/tiff",
        extension=".tiff",
        aliases=(".tif",),
        prefixes=(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        decoders=("pillow", "wand", "vips"),
        usual=True,
    ),
    ImageType(
        mimetype="image/bmp",
        extension=".bmp",
        decoders=("pillow", "wand"),
        usual=True,
    ),
    ImageType(
        mimetype="image/vnd.microsoft.icon",
        extension=".ico",
        prefixes=(b"\0\0\1\0",),
        decoders=("pillow", "wand"),
    ),
    ImageType(
        mimetype="image/svg+xml",
        extension=".svg",
        decoders=("resvg",),
        vector=True,
        active=True,
    ),
    ImageType(
        mimetype="application/pdf",
        extension=".pdf",
        prefixes=(b"%PDF-",),
        decoders=("pdfium",),
        vector=True,
        active=True,
    ),
    # stored by 1.x, or by a store's own users; not looked into
    ImageType(mimetype="image/apng", extension=".apng"),
    ImageType(mimetype="image/jxl", extension=".jxl"),
    ImageType(mimetype="image/vnd.adobe.photoshop", extension=".psd"),
)

#: The rows by their mimetypes.
by_mimetype: Final[Mapping[str, ImageType]] = MappingProxyType({row.mimetype: row for row in TYPES})

#: The rows by file name extensions, with their dots: those of keys, and those that other programs use.
by_extension: Final[Mapping[str, ImageType]] = MappingProxyType(
    {extension: row for row in TYPES for extension in (row.extension, *row.aliases)}
)

#: The rows of the types that are made, by the names that a rendition's ``format`` takes beside the mimetypes.
by_name: Final[Mapping[str, ImageType]] = MappingProxyType(
    {name: row for row in TYPES if row.writing is not None for name in row.writing.names}
)
