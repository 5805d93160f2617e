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
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Self

from .errors import InvalidTypeError, InvalidValueError
from .imagetypes import TYPES

__all__ = ["ImageKey", "extension_of", "new_revision"]

#: The extensions of keys.  Ours, never the host's: a key must not depend on the machine that computes it.
EXTENSIONS = {row.mimetype: row.extension for row in TYPES}

_MIMETYPE = re.compile(r"([a-z0-9][a-z0-9!#$&^_.+-]{0,126})/([a-z0-9][a-z0-9!#$&^_.+-]{0,126})")
_REVISION = re.compile(r"[A-Za-z0-9_-]{1,64}")
# the last range: lone surrogates, which have no encoding
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\:*?\"<>|\ud800-\udfff]")

# The two layouts, read backwards.  They accept a little too much: what they find must give the same name again.
_MIMETYPES = {extension: mimetype for mimetype, extension in EXTENSIONS.items()}
_SUFFIX = r"(?P<width>[0-9]+)x(?P<height>[0-9]+)(?P<tail>\.[^/]+)"
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
    """The file name extension, with its dot, that keys use for ``mimetype``.

    A type outside the table gets its own name, so the answer is the same on every machine:

        >>> extension_of("image/jpeg"), extension_of("image/x-portable-pixmap"), extension_of("video/mp4")
        ('.jpe', '.x-portable-pixmap', '.video+mp4')

    :raises InvalidValueError: ``mimetype`` is not of the form ``type/subtype``, or has the extension of another type
    """
    try:
        return EXTENSIONS[mimetype]
    except KeyError:
        match = _MIMETYPE.fullmatch(mimetype)
        extension = match and (f".{match[2]}" if match[1] == "image" else f".{match[1]}+{match[2]}")
        # two types must never share a name: image/jpe is not image/jpeg
        if extension is None or extension in EXTENSIONS.values():
            msg = f"expected a mimetype such as 'image/png', got {mimetype!r}"
            raise InvalidValueError(msg) from None
        return extension


@dataclass(frozen=True, slots=True)
class ImageKey:
    """Names one blob.  Two keys that differ never name the same blob.

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
        _check_type("object_type", self.object_type, str)
        _check_type("mimetype", self.mimetype, str)
        for name in ("object_id", "width", "height"):
            _check_type(name, getattr(self, name), int)
        for name in ("width", "height"):
            if getattr(self, name) < 0:
                msg = f"{name}: expected pixels, 0 or more, got {getattr(self, name)}"
                raise InvalidValueError(msg)
        for segment in self.object_type.split("/"):
            if segment in {"", ".", ".."} or _UNSAFE.search(segment) or segment.startswith((" ", "~")):
                msg = (
                    f"object_type: expected a name that is safe in paths, such as 'user-picture', got"
                    f" {self.object_type!r}; override object_type in the image class"
                )
                raise InvalidValueError(msg)
        extension_of(self.mimetype)
        if self.revision is not None:
            _check_type("revision", self.revision, str)
            if not _REVISION.fullmatch(self.revision):
                msg = f"revision: expected a URL-safe token of 1 to 64 characters, got {self.revision!r}"
                raise InvalidValueError(msg)

    @property
    def extension(self) -> str:
        """The file name extension, with its dot."""
        return extension_of(self.mimetype)

    @property
    def _suffix(self) -> str:
        revision = "" if self.revision is None else f".{self.revision}"
        return f"{self.width}x{self.height}{revision}{self.extension}"

    def file_path(self) -> str:
        """The relative path in a directory, with ``/`` between its segments: directories stay small by the id."""
        ident = self.object_id
        return f"{self.object_type}/{ident % 1000}/{ident // 1000}/{ident}.{self._suffix}"

    def object_name(self, prefix: str = "") -> str:
        """The name in an object store, below ``prefix`` where one is given."""
        name = f"{self.object_type}/{self.object_id}/{self._suffix}"
        return f"{prefix.rstrip('/')}/{name}" if prefix else name

    @classmethod
    def parse_file_path(cls, path: str) -> Self | None:
        """The key whose :meth:`file_path` is ``path``, or ``None`` if no key has this one.

        A type outside the table of extensions is given back as ``image/`` with the extension's own name.

            >>> ImageKey.parse_file_path("user-picture/234/1/1234.640x480.Xk3v9QpLm2w.jpe").object_id
            1234
            >>> ImageKey.parse_file_path("user-picture/234/1/notes.txt") is None
            True

        :param path: relative to the directory, with ``/`` between its segments
        """
        key = cls._parse(_FILE_PATH, path)
        return key if key is not None and key.file_path() == path else None

    @classmethod
    def parse_object_name(cls, name: str, prefix: str = "") -> Self | None:
        """The key whose :meth:`object_name` below ``prefix`` is ``name``, or ``None`` if no key has this one.

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
        return key if key is not None and key.object_name(prefix) == name else None

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
    if (mimetype := _MIMETYPES.get(tail)) is not None:
        return None, mimetype
    first, dot, rest = tail[1:].partition(".")
    if not dot:
        return None, f"image/{first}"
    extension = f".{rest}"
    return first, _MIMETYPES.get(extension, f"image/{rest}")


def _check_type(name: str, value: object, expected: type) -> None:
    # bool is an int to Python, but True is no width
    if not isinstance(value, expected) or isinstance(value, bool):
        msg = f"{name}: expected {expected.__name__}, got {type(value).__name__} ({value!r})"
        raise InvalidTypeError(msg)
