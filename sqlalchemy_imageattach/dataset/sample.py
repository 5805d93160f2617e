"""Values of the dataset room: a label, where a picture comes from, and the picture itself."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO
from urllib.parse import urlsplit

from ..arguments import check_type, wrong_value
from ..spool import Spool

__all__ = [
    "Candidate",
    "Failure",
    "Picture",
    "Provenance",
    "Sample",
    "check_label",
    "check_uri",
    "composed",
    "host_of",
    "is_text",
    "source_key",
]

#: The longest label, in bytes of UTF-8: what a directory may be called.
LABEL_LENGTH = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a picture comes from, as far as it is known.  What databases do not take as text is replaced.

    >>> Provenance(title="half of a pair: \\ud83d").title
    'half of a pair: \ufffd'

    :param page: the URL of the page that shows it
    :param title: what that page calls it
    :param licence: under which it is published
    :param fetched_at: when it was fetched, with a time zone
    :param status: what the server answered
    """

    page: str | None = None
    title: str | None = None
    licence: str | None = None
    fetched_at: datetime | None = None
    status: int | None = None

    def __post_init__(self) -> None:
        for name in ("page", "title", "licence"):
            value = getattr(self, name)
            if isinstance(value, str) and not is_text(value):
                whole = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
                object.__setattr__(self, name, whole.replace("\0", "\ufffd"))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A picture that a source names, and that is not fetched yet.

    :param uri: what tells it from others of its label: its URL, or what a source calls it
    :param provenance: what the source says of it
    :param alternatives: further URLs of the same picture, such as a smaller one, for when ``uri`` fails
    :param open: opens its bytes, for what is no URL
    :param label: which one the source gives it; otherwise the collector's
    """

    uri: str
    provenance: Provenance = Provenance()
    alternatives: tuple[str, ...] = ()
    open: Callable[[], IO[bytes]] | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """The bytes of a picture that was looked at.

    :param content: the bytes
    :param mimetype: what they are
    :param size: width and height in pixels, upright
    :param likeness: the :func:`~sqlalchemy_imageattach.search.dhash64` of it, where it was asked for
    """

    content: Spool
    mimetype: str
    size: tuple[int, int]
    likeness: int | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture in a dataset.

    :param label: what it shows
    :param uri: where it comes from
    :param mimetype: the type of its bytes
    :param size: width and height in pixels, upright
    :param checksum: the SHA-256 of its bytes, in hexadecimal
    :param provenance: what is known of where it comes from
    :param open: opens its bytes
    """

    label: str
    uri: str
    mimetype: str
    size: tuple[int, int]
    checksum: str
    provenance: Provenance
    open: Callable[[], IO[bytes]] = field(repr=False, compare=False)

    def read(self) -> bytes:
        """Its bytes."""
        with self.open() as file:
            return file.read()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a picture could not be had.

    :param label: of which it was to be one
    :param uri: where it should have been
    :param reason: a word that stays the same, such as ``"timeout"`` or ``"not-an-image"``
    :param detail: the same as a sentence
    :param attempts: how often it was tried
    :param is_final: whether it makes no sense to try again
    """

    label: str
    uri: str
    reason: str
    detail: str = ""
    attempts: int = 1
    is_final: bool = True


def check_label(label: object) -> str:
    """``label``, which can be the name of a directory as well.

    :raises InvalidTypeError: it is no string
    :raises InvalidValueError: it is empty, too long, or a path
    """
    text = check_type("label", label, str)
    if not text.strip() or text != text.strip() or len(text.encode("utf-8", "surrogatepass")) > LABEL_LENGTH:
        expected = f"1 to {LABEL_LENGTH} bytes of UTF-8, as names of directories have, without spaces around them"
        raise wrong_value("label", text, expected, "name what it shows")
    if text in {".", ".."} or any(char in "/\\" or not char.isprintable() for char in text):
        raise wrong_value("label", text, "a name and no path", "without slashes and control characters")
    return text


def check_uri(uri: object) -> str:
    """``uri``, which names a picture.

    :raises InvalidTypeError: it is no string
    :raises InvalidValueError: it is empty, or no text
    """
    text = check_type("uri", uri, str)
    if not text or not is_text(text):
        raise wrong_value("uri", text, "where the picture comes from, such as its URL")
    return text


def composed(label: object) -> str:
    """``label`` in the composed form of Unicode: "é" may be one character or two, which look the same.

    >>> composed("e\\u0301") == "\\u00e9"
    True

    :raises: what :func:`check_label` raises, for either form: some labels grow
    """
    return check_label(unicodedata.normalize("NFC", check_label(label)))


def is_text(value: str) -> bool:
    """Whether each database takes it: no half of a surrogate pair, and no NUL."""
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False


def source_key(label: str, uri: str) -> str:
    """What no two samples of a dataset have in common: the SHA-256 of label and URI, in hexadecimal.

    >>> source_key("Apple", "https://example.com/1.jpg")[:16]
    '77bf2ecdf2417383'
    """
    return hashlib.sha256(f"{label}\0{uri}".encode("utf-8", "surrogatepass")).hexdigest()


def host_of(uri: str) -> str:
    """The host of a URL; empty where there is none."""
    try:
        return (urlsplit(uri).hostname or "").rstrip(".").lower()
    except ValueError:
        return ""
