"""Conditions and ranges of requests, as RFC 9110 has them in sections 13 and 14: no I/O, and nothing of any server.

>>> picture = Resource(size=1000, etag='"Xk3v9QpLm2wAbCdE"', modified=None)
>>> evaluate("GET", {"range": "bytes=990-"}.get, picture)
Selection(status=206, start=990, length=10)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache

from .answer import Answer, Headers, message

__all__ = ["Resource", "Selection", "evaluate", "is_known", "not_modified", "refused", "validators_of"]

_Header = Callable[[str], "str | None"]

# one range: several are left alone, as a server may, and so is what is not understood
_RANGE = re.compile(r"\s*bytes\s*=\s*(\d{0,19})\s*-\s*(\d{0,19})\s*", re.IGNORECASE | re.ASCII)
_ETAG = re.compile(r'(W/)?("[^"]*")')

_NAMES = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "range", "if-range")

# longer lists are no list of versions of one picture that anybody has
_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Resource:
    """What a URL leads to.

    :param size: in bytes; ``None`` where it is not known
    :param etag: a strong one, with its quotes; ``None`` for none
    :param modified: seconds since 1970; ``None`` where it is not known
    """

    size: int | None
    etag: str | None
    modified: float | None


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a resource is to be sent.

    :param status: 200, 206, 304, 412 or 416
    :param start: the first byte
    :param length: how many bytes; ``None`` where it is not known
    """

    status: int
    start: int = 0
    length: int | None = 0


def evaluate(method: str, header: _Header, resource: Resource) -> Selection:
    """What is to be sent.

    :param method: ``"GET"`` or ``"HEAD"``
    :param header: gives the value of a header by its name in lower case, or ``None``
    """
    given = {name: value for name in _NAMES if (value := header(name)) is not None}
    return _select_by(method, given.get, resource) if given else Selection(200, 0, resource.size)


def _select_by(method: str, header: _Header, resource: Resource) -> Selection:
    if not _holds(header, resource):
        return Selection(412)
    if is_known(header, resource):
        return Selection(304)
    asked = header("range")
    if asked is None or method != "GET" or resource.size is None or not _is_same(header, resource):
        return Selection(200, 0, resource.size)
    return _select(asked, resource.size)


def is_known(header: _Header, resource: Resource) -> bool:
    """Whether the client has just this already."""
    if (tags := header("if-none-match")) is not None:
        return _matches(tags, resource.etag, weakly=True)
    since = _seconds(header("if-modified-since"))
    return since is not None and resource.modified is not None and int(resource.modified) <= since


def refused(selection: Selection, resource: Resource) -> Answer | None:
    """The answer to a request that gets nothing of the resource, for 412 and 416; caches must not keep it."""
    if selection.status == 412:
        return message(412)
    if selection.status == 416:
        return message(416, [("Content-Range", f"bytes */{resource.size}")])
    return None


def not_modified(headers: Iterable[tuple[str, str]], resource: Resource) -> Answer:
    """The answer to who has it already, with what of ``headers`` is said of that as well: not the type."""
    kept = [(name, value) for name, value in headers if name != "Content-Type"]
    validators = validators_of(Selection(304), resource)
    # the time is of no use to who has a tag
    return Answer(304, [*kept, *(pair for pair in validators if resource.etag is None or pair[0] == "ETag")])


def validators_of(selection: Selection, resource: Resource) -> Headers:
    """The headers that tell the version, the length and the part of what is sent."""
    headers = []
    if resource.etag is not None:
        headers.append(("ETag", resource.etag))
    if resource.modified is not None:
        headers.append(("Last-Modified", _http_date(int(resource.modified))))
    if selection.status == 304:
        return headers
    if resource.size is not None:
        headers.append(("Accept-Ranges", "bytes"))
    if selection.length is not None:
        headers.append(("Content-Length", str(selection.length)))
    if selection.status == 206:
        last = selection.start + (selection.length or 0) - 1
        headers.append(("Content-Range", f"bytes {selection.start}-{last}/{resource.size}"))
    return headers


def _holds(header: _Header, resource: Resource) -> bool:
    if (tags := header("if-match")) is not None:
        return _matches(tags, resource.etag, weakly=False)
    until = _seconds(header("if-unmodified-since"))
    return until is None or resource.modified is None or int(resource.modified) <= until


def _is_same(header: _Header, resource: Resource) -> bool:
    """Whether a part belongs to the version of which the client has another part."""
    version = header("if-range")
    if version is None:
        return True
    if '"' in version:
        return version.strip() == resource.etag
    since = _seconds(version)
    return since is not None and resource.modified is not None and int(resource.modified) == since


def _select(asked: str, size: int) -> Selection:
    match = _RANGE.fullmatch(asked)
    whole = Selection(200, 0, size)
    if match is None:
        return whole
    first, last = match.groups()
    if not first:
        if not last:
            return whole
        length = min(int(last), size)
        return Selection(206, size - length, length) if length else Selection(416)
    start = int(first)
    if last and int(last) < start:
        return whole
    if start >= size:
        return Selection(416)
    end = min(int(last) + 1, size) if last else size
    return Selection(206, start, end - start)


def _matches(tags: str, etag: str | None, *, weakly: bool) -> bool:
    if tags.strip() == "*":
        return True
    found = _ETAG.findall(tags[:_LONGEST])
    return etag is not None and any(tag == etag and (weakly or not weak) for weak, tag in found)


def _seconds(date: str | None) -> float | None:
    if date is None:
        return None
    from werkzeug.http import parse_date

    try:
        parsed = parse_date(date)
        return None if parsed is None else parsed.timestamp()
    except (OverflowError, ValueError):
        return None


@lru_cache(maxsize=1024)
def _http_date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)
