"""What a blob is called: the storage key, its layouts and the table of file name extensions.

An :class:`ImageKey` cannot hold anything that would lead a store out of its own root, so a store may use the paths that
it gives without looking at them again.  **This module is the only one that turns identifiers into paths.**

    >>> key = ImageKey("user-picture", 1234, 640, 480, "image/jpeg", "Xk3v9QpLm2w")
    >>> key.file_path()
    'user-picture/234/1/1234.640x480.Xk3v9QpLm2w.jpe'
    >>> key.object_name("images")
    'images/user-picture/1234/640x480.Xk3v9QpLm2w.jpe'

Keys without a revision have the layout of SQLAlchemy-ImageAttach 1.x, so that its stores are read in place:

    >>> ImageKey("user-picture", 1234, 640, 480, "image/jpeg").file_path()
    'user-picture/234/1/1234.640x480.jpe'

1.x asked the machine what the extension of a type is, so an old blob may have another one.  All that it may be called
by is told, too, and read back as the same key:

    >>> ImageKey("user-picture", 1234, 640, 480, "image/tiff").file_paths()
    ('user-picture/234/1/1234.640x480.tiff', 'user-picture/234/1/1234.640x480.tif')
    >>> ImageKey.parse_file_path("user-picture/234/1/1234.640x480.tif").mimetype
    'image/tiff'
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from .arguments import check_type, wrong_value
from .errors import InvalidValueError
from .imagetypes import TYPES
from .oldnames import UNKNOWN, old_extensions, type_of_old_extension

__all__ = ["UNKNOWN_TYPE", "ImageKey", "extension_of", "new_revision"]

#: The type of a blob of 1.x whose name does not tell it.
UNKNOWN_TYPE = "application/octet-stream"

#: The extensions of keys.  Ours, never the host's: a key must not depend on the machine that computes it.
EXTENSIONS = {row.mimetype: row.extension for row in TYPES}

# what stands before the slash has neither a dot nor a plus, so that an extension can be read backwards
_MIMETYPE = re.compile(r"([a-z0-9][a-z0-9!#$&^_-]{0,126})/([a-z0-9][a-z0-9!#$&^_.+-]{0,126})")
_PLAIN = re.compile(r"[a-z0-9!#$&^_-]+")
_REVISION = re.compile(r"[A-Za-z0-9_-]{1,64}")
# the last range: lone surrogates, which have no encoding
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\:*?\"<>|\ud800-\udfff]")

# Devices of Windows, which drops dots and blanks at the end; and what servers do not show
_NOT_EVERYWHERE = re.compile(r"^\.|[. ]$|^(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$)", re.IGNORECASE)

# Names are at most so long on S3, and less elsewhere; digests as numbers have some hundred digits.
_LONGEST_TYPE = 1024
_ID_DIGITS = 1000
_LARGEST_ID = 10**_ID_DIGITS
_LARGEST_SIDE = 2**63

# The two layouts, read backwards.  They accept a little too much: what they find must give the same name again.
_MIMETYPES = {extension: mimetype for mimetype, extension in EXTENSIONS.items()}
_SUFFIX = rf"(?P<width>[0-9]+)x(?P<height>[0-9]+)(?P<tail>\.[^/]+|{UNKNOWN})"
_FILE_PATH = re.compile(r"(?P<object_type>.+)/[0-9]+/-?[0-9]+/(?P<object_id>-?[0-9]+)\." + _SUFFIX, re.DOTALL)
_OBJECT_NAME = re.compile(r"(?P<object_type>.+)/(?P<object_id>-?[0-9]+)/" + _SUFFIX, re.DOTALL)


def new_revision() -> str:
    """A fresh, URL-safe token of 96 random bits (16 characters): two are never equal.

    It never starts with ``-``, so that a key can stand on a command line.
    """
    while (token := secrets.token_urlsafe(12)).startswith("-"):
        pass
    return token


def extension_of(mimetype: str) -> str:
    """The file name extension, with its dot, that keys use for ``mimetype``: no two types have the same one.

    A type outside the table gets its own name, so the answer is the same on every machine:

        >>> extension_of("image/jpeg"), extension_of("image/x-portable-pixmap"), extension_of("video/mp4")
        ('.jpe', '.x-portable-pixmap', '.video+mp4')
        >>> extension_of("image/psd"), extension_of("image/vnd.djvu")
        ('.image+psd', '.image+vnd.djvu')

    :raises InvalidValueError: ``mimetype`` is not of the form ``type/subtype``
    """
    try:
        return EXTENSIONS[mimetype]
    except KeyError:
        match = _MIMETYPE.fullmatch(mimetype)
        if match is None:
            raise wrong_value("", mimetype, "a mimetype such as 'image/png'") from None
        short = f".{match[2]}"
        # image/jpe is not image/jpeg, and image/foo.png would look like the revision foo of a PNG
        is_short = match[1] == "image" and _PLAIN.fullmatch(match[2]) and not _is_taken(short)
        return short if is_short else f".{match[1]}+{match[2]}"


def _is_taken(extension: str) -> bool:
    return extension in _MIMETYPES or type_of_old_extension(extension) is not None


def _type_of(extension: str) -> str:
    """The mimetype whose :func:`extension_of` is ``extension``, if there is one."""
    if (mimetype := _MIMETYPES.get(extension)) is not None:
        return mimetype
    kind, plus, subtype = extension[1:].partition("+")
    return f"{kind}/{subtype}" if plus else f"image/{kind}"


@dataclass(frozen=True, slots=True)
class ImageKey:
    """Names one blob.  Two keys that differ never give the same name, and what a key gives is read back as that key.

    A key with a revision is that of a blob written by 2.0 or later, so its ``object_type`` has to be one that every
    store can have and every server serves: no device of Windows (``con``, ``lpt1``), nothing that starts or ends with
    a dot.  One without is taken as 1.x wrote it.

    :param object_type: what kind of image it is, e.g. ``"user-picture"``: one or more segments joined by ``/``
    :param object_id: whose image it is
    :param width: width in pixels
    :param height: height in pixels
    :param mimetype: e.g. ``"image/jpeg"``
    :param revision: the token that makes the blob immutable; ``None`` for one that 1.x wrote
    :raises InvalidValueError: a part could lead out of the store's root, or cannot be part of a name
    :raises InvalidTypeError: a part has another type than the one it must have
    """

    object_type: str
    object_id: int
    width: int
    height: int
    mimetype: str
    revision: str | None = None

    def __post_init__(self) -> None:
        check_type("object_type", self.object_type, str)
        check_type("mimetype", self.mimetype, str)
        check_type("object_id", self.object_id, int)
        check_type("width", self.width, int)
        check_type("height", self.height, int)
        if abs(self.object_id) >= _LARGEST_ID:
            raise InvalidValueError(f"object_id: expected an integer of at most {_ID_DIGITS} digits, got a longer one")
        for name, side in (("width", self.width), ("height", self.height)):
            if not 0 <= side < _LARGEST_SIDE:
                came = "an absurd number" if abs(side) > _LARGEST_SIDE else side
                raise InvalidValueError(f"{name}: expected pixels, 0 or more, got {came}")
        _check_object_type(self.object_type, is_new=self.revision is not None)
        extension_of(self.mimetype)
        if self.revision is not None:
            check_type("revision", self.revision, str)
            if not _REVISION.fullmatch(self.revision):
                raise wrong_value("revision", self.revision, "a URL-safe token of 1 to 64 characters")

    @property
    def extension(self) -> str:
        """The file name extension, with its dot."""
        return extension_of(self.mimetype)

    def file_path(self) -> str:
        """The relative path in a directory, with ``/`` between its segments: directories stay small by the id."""
        return self._file_path(self.extension)

    def object_name(self, prefix: str = "") -> str:
        """The name in an object store, below ``prefix`` where one is given."""
        return self._object_name(self.extension, prefix)

    def file_paths(self) -> tuple[str, ...]:
        """:meth:`file_path`, and after it all other paths that the blob may have if 1.x wrote it."""
        return tuple(map(self._file_path, self._extensions))

    def object_names(self, prefix: str = "") -> tuple[str, ...]:
        """:meth:`object_name`, and after it all other names that the blob may have if 1.x wrote it."""
        return tuple(self._object_name(extension, prefix) for extension in self._extensions)

    @property
    def has_old_names(self) -> bool:
        """Whether the blob may have another name than :meth:`file_path` and :meth:`object_name` say."""
        return self.revision is None and bool(old_extensions(self.mimetype))

    @property
    def _extensions(self) -> tuple[str, ...]:
        return (self.extension, *(old_extensions(self.mimetype) if self.revision is None else ()))

    def _file_path(self, extension: str) -> str:
        ident = self.object_id
        return f"{self.object_type}/{ident % 1000}/{ident // 1000}/{ident}.{self._size}{extension}"

    def _object_name(self, extension: str, prefix: str) -> str:
        name = f"{self.object_type}/{self.object_id}/{self._size}{extension}"
        return f"{prefix.rstrip('/')}/{name}" if prefix else name

    @property
    def _size(self) -> str:
        revision = "" if self.revision is None else f".{self.revision}"
        return f"{self.width}x{self.height}{revision}"

    @classmethod
    def parse_file_path(cls, path: str) -> Self | None:
        """The key that has ``path`` among its :meth:`file_paths`, or ``None`` if no key has this one.

        Of a blob of 1.x whose name does not tell its type, the type is :data:`UNKNOWN_TYPE`; a store finds it by that.

            >>> ImageKey.parse_file_path("user-picture/234/1/1234.640x480.Xk3v9QpLm2w.jpe").object_id
            1234
            >>> ImageKey.parse_file_path("user-picture/234/1/notes.txt") is None
            True

        :param path: relative to the directory, with ``/`` between its segments
        """
        key = cls._parse(_FILE_PATH, path)
        return key if key is not None and path in key.file_paths() else None

    @classmethod
    def parse_object_name(cls, name: str, prefix: str = "") -> Self | None:
        """The key that has ``name`` among its :meth:`object_names`, or ``None`` if no key has this one.

            >>> ImageKey.parse_object_name("images/user-picture/1234/640x480.Xk3v9QpLm2w.jpe", "images").revision
            'Xk3v9QpLm2w'
            >>> ImageKey.parse_object_name("user-picture/1234/640x480.jpe", "images") is None
            True

        :param name: the whole name, with the prefix
        :param prefix: what was given to :meth:`object_name`
        """
        head = f"{prefix.rstrip('/')}/" if prefix else ""
        if not name.startswith(head):
            return None
        key = cls._parse(_OBJECT_NAME, name[len(head) :])
        return key if key is not None and name in key.object_names(prefix) else None

    @classmethod
    def _parse(cls, layout: re.Pattern[str], name: str) -> Self | None:
        match = layout.fullmatch(name)
        if match is None:
            return None
        revision, mimetype = _parse_tail(match["tail"])
        try:
            return cls(
                match["object_type"],
                int(match["object_id"]),
                int(match["width"]),
                int(match["height"]),
                mimetype,
                revision,
            )
        except ValueError:  # it cannot be part of a key, or has more digits than Python converts
            return None


def _parse_tail(tail: str) -> tuple[str | None, str]:
    """The revision and the mimetype in ``.jpe`` or ``.Xk3v9QpLm2w.jpe``."""
    if tail == UNKNOWN:
        return None, UNKNOWN_TYPE
    first, dot, rest = tail[1:].partition(".")
    # a plus is in no revision, but in the long form of an extension, which can have dots
    if dot and "+" not in first:
        return first, _type_of(f".{rest}")
    return None, _MIMETYPES.get(tail) or type_of_old_extension(tail) or _type_of(tail)


@lru_cache(maxsize=256)
def _check_object_type(object_type: str, *, is_new: bool) -> None:
    if len(object_type) > _LONGEST_TYPE:
        msg = f"object_type: expected at most {_LONGEST_TYPE} characters, got {len(object_type)}: {object_type[:40]!r}…"
        raise InvalidValueError(msg)
    for segment in object_type.split("/"):
        is_unsafe = segment in {"", ".", ".."} or _UNSAFE.search(segment) or segment.startswith((" ", "~"))
        if is_unsafe or (is_new and _NOT_EVERYWHERE.search(segment)):
            raise wrong_value(
                "object_type",
                object_type,
                "a name that is safe in paths, such as 'user-picture'",
                "override object_type in the image class",
            )
