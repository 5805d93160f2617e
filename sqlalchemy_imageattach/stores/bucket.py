"""What stores in buckets share: the checks of their parameters, their defaults, and the quoting of names."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar
from urllib.parse import quote, urlsplit

from ..arguments import check_range, check_type, wrong_type, wrong_value
from ..errors import BlobNotFoundError, InvalidValueError, StoreAccessDeniedError

__all__ = [
    "DEFAULT_MAX_AGE",
    "DEFAULT_MAX_RETRY",
    "DEFAULT_URL_LIFETIME",
    "NOT_IN_URLS",
    "checked_base_url",
    "checked_bucket",
    "checked_endpoint",
    "checked_lifetime",
    "checked_number",
    "checked_prefix",
    "of_first_found",
    "quoted",
    "upload_fields",
]

#: For how many seconds caches may keep a blob, by default: 365 days.
DEFAULT_MAX_AGE = 365 * 24 * 60 * 60

#: How many times a request that failed is made again, by default.
DEFAULT_MAX_RETRY = 3

#: For how many seconds signed URLs can be used, by default.
DEFAULT_URL_LIFETIME = 60 * 60

NOT_IN_URLS = re.compile(r"[\x00-\x20\x7f\"'<>\\`?#]")
_NOT_IN_NAMES = re.compile(r"[\x00-\x1f\x7f\\]")

# more is refused by the services
_LONGEST_LIFETIME = 7 * 24 * 60 * 60

_N = TypeVar("_N", int, float)
_Object = TypeVar("_Object")
_T = TypeVar("_T")


def checked_bucket(bucket: object) -> str:
    """``bucket``, if that can be the name of one."""
    if not isinstance(bucket, str):
        raise wrong_type("bucket", bucket, "the name of a bucket (str)")
    if not bucket or "/" in bucket or NOT_IN_URLS.search(bucket):
        raise wrong_value("bucket", bucket, "the plain name of a bucket, such as 'pictures'")
    return bucket


def checked_prefix(prefix: object) -> str:
    """``prefix`` without a slash at its end, if objects can have it in front of their names."""
    if not isinstance(prefix, str):
        raise wrong_type("prefix", prefix, "the first part of the names of objects (str)")
    stripped = prefix.rstrip("/")
    segments = stripped.split("/") if prefix else []
    if any(segment in {"", ".", ".."} or _NOT_IN_NAMES.search(segment) for segment in segments):
        raise wrong_value("prefix", prefix, "one or more plain segments joined by '/', such as 'images'")
    return stripped


def checked_base_url(url: object) -> str | None:
    """``url`` without a slash at its end, if it can be continued by a path."""
    if url is None:
        return None
    if not isinstance(url, str):
        raise wrong_type("public_base_url", url, "a URL (str) or None")
    if not url or NOT_IN_URLS.search(url):
        raise wrong_value(
            "public_base_url",
            url,
            "a URL without query, spaces, quotes and control characters, such as 'https://d1234.cloudfront.net'",
        )
    return url.rstrip("/")


def checked_endpoint(url: str, example: str) -> str:
    """``url``, if it is that of a service and holds no password, since it becomes a part of URLs and messages."""
    if not url.startswith(("http://", "https://")):
        raise wrong_value("endpoint_url", url, f"a URL such as '{example}'")
    if "@" in urlsplit(url).netloc:
        raise InvalidValueError(
            f"endpoint_url: expected a URL such as '{example}', got one with a user name or password, which would be"
            " shown in the URLs of all blobs; give the credentials by themselves"
        )
    return url


def checked_number(name: str, value: _N, what: str, least: float, most: float = float("inf")) -> _N:
    """``value``, if it is a number of the range, and a whole one if ``least`` is.

    :param what: unit and range, for messages
    """
    check_range(name, check_type(name, value, int if isinstance(least, int) else (int, float), what), what, least, most)
    return value


def checked_lifetime(lifetime: int | None, default: int, *, is_plain: bool) -> int:
    """For how many seconds signed URLs can be used.

    :param default: what ``None`` stands for
    :param is_plain: whether URLs are not signed
    """
    if lifetime is None:
        return default
    if is_plain:
        raise InvalidValueError(
            "url_lifetime is for signed URLs, and these are plain; leave it out, or give no public_base_url (and"
            " public=False, on S3)"
        )
    what = f"seconds, 1 to {_LONGEST_LIFETIME}"
    return checked_number("url_lifetime", lifetime, what, 1, _LONGEST_LIFETIME)


def of_first_found(objects: Sequence[_Object], read: Callable[[_Object], _T]) -> _T:
    """What ``read`` gives of the first of the objects that is there: one blob may have several names.

    :raises StoreError: as ``read`` does of the first one
    """
    # services that may not tell what there is refuse access to what there is not
    absent = (BlobNotFoundError, StoreAccessDeniedError)
    try:
        return read(objects[0])
    except absent:
        for each in objects[1:]:
            with suppress(*absent):
                return read(each)
        raise


def quoted(name: str) -> str:
    """An object's name as a part of a URL, in the one way that signatures are made of."""
    return quote(name, safe="/~")


def upload_fields(mimetype: str | None, redirect: str | None) -> dict[str, str]:
    """What the form for an upload says of the object, by the words that S3 and Google share.

    :param mimetype: the type that it is declared to have; by default one that no browser runs
    :param redirect: where the browser goes afterwards
    """
    answer = {"success_action_status": "204"} if redirect is None else {"success_action_redirect": redirect}
    return {
        "Content-Type": mimetype or "application/octet-stream",
        # whoever is led to it gets a download, and no page
        "Content-Disposition": "attachment",
        "Cache-Control": "no-store",
        **answer,
    }
