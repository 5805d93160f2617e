"""How the blob of a store gets to a client: streamed, by a redirect, or by the web server in front."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args
from urllib.parse import quote

from ..arguments import check_choice, check_type, wrong_value
from ..blobpart import BlobStat
from ..errors import StoreError
from ..imagetypes import by_mimetype
from ..key import ImageKey
from ..serving.answer import Answer, Body, message
from ..serving.conditions import Resource, evaluate, is_known, not_modified, refused, validators_of
from ..serving.headers import FOREVER, guarding
from ..serving.lookup import NO_STORE
from ..serving.request import Request
from ..store import Store, is_missing
from ..storewrapper import StoreWrapper
from .fs import BaseFileSystemStore

__all__ = ["Delivery", "Send"]

_log = logging.getLogger("sqlalchemy_imageattach.serving")

#: The ways: ``"stream"`` by this process; ``"redirect"`` to the URL that the store gives; ``"X-Accel-Redirect"`` and
#: ``"X-Sendfile"`` by the web server in front, from the directory of the store.
Send = Literal["stream", "redirect", "X-Accel-Redirect", "X-Sendfile"]

_IN_HEADERS: Final = re.compile(r"[\x21-\x7e]+")
_FORBIDDEN: Final = "private, no-cache"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One of the ways, and how long caches may keep what they get.

    :param send: the way
    :param internal_url: for ``"X-Accel-Redirect"``: the path of the web server's internal location
    :param is_private: whether it is decided for each client who may see what: then caches that many share keep nothing,
        and browsers ask each time
    :raises InvalidValueError: it is no way, or ``internal_url`` is missing or of no use
    """

    send: Send = "stream"
    internal_url: str = ""
    is_private: bool = False

    def __post_init__(self) -> None:
        check_choice("send", self.send, get_args(Send))
        check_type("internal_url", self.internal_url, str)
        if (self.send == "X-Accel-Redirect") is not bool(self.internal_url):
            expected = "the path of an internal location, with send='X-Accel-Redirect' alone"
            raise wrong_value("internal_url", self.internal_url, expected)
        if self.internal_url and not (self.internal_url.startswith("/") and self.internal_url.endswith("/")):
            raise wrong_value("internal_url", self.internal_url, "a path with slashes around it, such as '/protected/'")

    def check_store(self, store: Store) -> None:
        """The web server can send what the store has, if it is to.

        :raises InvalidValueError: it cannot
        """
        if self.send.startswith("X-") and _directory_of(store) is None:
            raise wrong_value("send", self.send, "'stream' or 'redirect'", f"{store!r} has no directory to send from")

    def answer(
        self,
        request: Request,
        store: Store,
        key: ImageKey,
        caching: str | None = None,
        more: Sequence[tuple[str, str]] = (),
    ) -> Answer:
        """The answer to a request for a blob.

        :param caching: the ``Cache-Control``, where it is not to be what suits the key
        :param more: more headers
        :raises StoreError: the store cannot give it; that there is none is a 404
        """
        mimetype = key.mimetype if key.mimetype in by_mimetype else "application/octet-stream"
        if caching is None:
            caching = _FORBIDDEN if self.is_private else "no-cache" if key.revision is None else FOREVER
        headers = [*guarding(mimetype), ("Cache-Control", caching), *more]
        try:
            if self.send == "stream":
                return _streamed(request, store, key, headers)
            return self._handed_on(store, key, headers)
        except OSError as error:
            if is_missing(error):
                return message(404, [NO_STORE, *more])
            raise error if isinstance(error, StoreError) else StoreError(error.errno, str(error)) from error

    def _handed_on(self, store: Store, key: ImageKey, headers: list[tuple[str, str]]) -> Answer:
        if self.send == "redirect":
            # a signed URL is not valid for ever
            return message(302, [("Location", _header(store.url_of(key))), NO_STORE])
        directory = _directory_of(store)
        if directory is None:
            raise StoreError(f"{store!r} has no directory to send from")
        path = directory.find_path(key)
        if self.send == "X-Accel-Redirect":
            path = self.internal_url + os.path.relpath(path, directory.path).replace(os.sep, "/")
        return Answer(200, [*headers, (self.send, quote(path))])


def _streamed(request: Request, store: Store, key: ImageKey, headers: list[tuple[str, str]]) -> Answer:
    etag = None if key.revision is None else f'"{key.revision}"'
    if etag is not None and _has_it(request, etag):
        return not_modified(headers, Resource(None, etag, None))
    if request.method == "HEAD" or request.header("range") is not None:
        return _part(request, store, key, headers, etag)
    part = store.get_part(key)
    body = Body(part.file, part.stat.byte_size, is_whole=True)
    resource = _resource(part.stat, etag)
    selection = evaluate(request.method, request.header, resource)
    if selection.status != 200:
        body.close()
        return refused(selection, resource) or not_modified(headers, resource)
    return Answer(200, [*headers, *validators_of(selection, resource)], body)


def _part(request: Request, store: Store, key: ImageKey, headers: list[tuple[str, str]], etag: str | None) -> Answer:
    """The answer to ``HEAD``, and to who wants a part: the store is asked for its length first."""
    resource = _resource(store.stat_key(key), etag)
    selection = evaluate(request.method, request.header, resource)
    if (refusal := refused(selection, resource)) is not None:
        return refusal
    if selection.status == 304:
        return not_modified(headers, resource)
    headers = [*headers, *validators_of(selection, resource)]
    if request.method == "HEAD":
        return Answer(200, headers)
    part = store.get_part(key, selection.start, selection.length if selection.status == 206 else None)
    return Answer(selection.status, headers, Body(part.file, selection.length))


def _has_it(request: Request, etag: str) -> bool:
    """Whether the client has this very blob, so that nobody needs to be asked: it never changes."""
    if any(request.header(name) is not None for name in ("if-match", "if-unmodified-since")):
        return False
    tags = request.header("if-none-match")
    return tags is not None and tags.strip() != "*" and is_known(request.header, Resource(None, etag, None))


def _resource(stat: BlobStat, etag: str | None) -> Resource:
    modified = None if stat.modified_at is None else stat.modified_at.timestamp()
    if etag is None and modified is not None and stat.byte_size is not None:
        etag = f'"{int(modified * 10**6):x}-{stat.byte_size:x}"'
    return Resource(stat.byte_size, etag, modified)


def _directory_of(store: Store) -> BaseFileSystemStore | None:
    while isinstance(store, StoreWrapper):
        store = store.wrapped
    return store if isinstance(store, BaseFileSystemStore) else None


def _header(url: str) -> str:
    if not _IN_HEADERS.fullmatch(url):
        raise StoreError(f"expected a URL that can stand in a header, got {url!r} from the store")
    return url
