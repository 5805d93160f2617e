"""The endpoint for what browsers send where the store cannot take it by itself: for WSGI, and for ASGI."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, MutableMapping
from functools import cached_property, partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ..arguments import check_type, wrong_type, wrong_value
from ..concurrency import in_thread
from ..file import COPY_CHUNK
from .issuing import Uploads
from .receiving import Answer, Reception

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

__all__ = ["UploadEndpoint"]

_log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_BUSY = Answer(HTTPStatus.SERVICE_UNAVAILABLE, "the picture cannot be stored now: try again", {"Retry-After": "10"})


class UploadEndpoint:
    """Takes the files of :class:`Uploads`, to be mounted at their ``endpoint``: in WSGI or in ASGI applications.

    A form is taken as long as its token says so, and not a byte longer than that says; the file is kept in memory up to
    8 MiB, and in a temporary file beyond::

        app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/uploads": UploadEndpoint(uploads).wsgi})  # Flask
        app.mount("/uploads", UploadEndpoint(uploads).asgi)                                  # FastAPI, Starlette

    :param uploads: what gives the permits
    :param origins: the origins of other sites whose scripts may send files, such as ``"https://www.example.com"``
    :raises InvalidTypeError: an argument has the wrong type
    :raises InvalidValueError: an origin is none
    """

    def __init__(self, uploads: Uploads, *, origins: Collection[str] = ()) -> None:
        self.uploads = check_type("uploads", uploads, Uploads)
        if isinstance(origins, str) or not all(isinstance(each, str) for each in origins):
            raise wrong_type("origins", origins, "the origins of other sites, such as ['https://www.example.com']")
        if unsafe := [each for each in origins if each == "*" or "://" not in each or each.count("/") != 2]:
            raise wrong_value("origins", unsafe[0], "an origin such as 'https://www.example.com'")
        self.origins = frozenset(origins)

    @cached_property
    def wsgi(self) -> WsgiUploads:
        """The endpoint as a WSGI application."""
        return WsgiUploads(self)

    @cached_property
    def asgi(self) -> AsgiUploads:
        """The endpoint as an ASGI application; what waits for the disk and for the store does so in threads."""
        return AsgiUploads(self)

    def headers_for(self, origin: str | None) -> dict[str, str]:
        """What tells a browser whether a script of that origin may send files."""
        varies = {"Vary": "Origin"} if self.origins else {}
        if origin is None or origin not in self.origins:
            return varies
        return varies | {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Methods": "POST",
            "Access-Control-Max-Age": "3600",
        }


class WsgiUploads:
    """The WSGI application of an endpoint.

    :param endpoint: the endpoint
    """

    def __init__(self, endpoint: UploadEndpoint) -> None:
        self._endpoint = endpoint

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        cors = self._endpoint.headers_for(environ.get("HTTP_ORIGIN"))
        answer = self._receive(environ)
        start_response(answer.line, answer.all_headers(cors))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]

    def _receive(self, environ: WSGIEnvironment) -> Answer:
        length = _length(environ.get("CONTENT_LENGTH"))
        left = length if length is not None or "wsgi.input_terminated" in environ else 0
        reception = Reception(
            self._endpoint.uploads, environ["REQUEST_METHOD"], environ.get("CONTENT_TYPE", ""), length
        )
        try:
            while reception.answer is None:
                size = COPY_CHUNK if left is None else min(COPY_CHUNK, left)
                chunk = environ["wsgi.input"].read(size) if size else b""
                left = None if left is None else left - len(chunk)
                reception.feed(chunk)
                if not chunk:
                    break
            return _stored(reception)
        finally:
            reception.close()


class AsgiUploads:
    """The ASGI application of an endpoint.

    :param endpoint: the endpoint
    """

    def __init__(self, endpoint: UploadEndpoint) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            msg = f"expected an HTTP request, got {scope['type']!r}: mount the endpoint below a path of its own"
            raise wrong_value("scope", scope["type"], "'http'", msg)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        cors = self._endpoint.headers_for(headers.get("origin"))
        answer = await self._receive(scope["method"], headers, receive)
        if answer is None:
            return  # nobody is there any more
        sent = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.all_headers(cors)]
        await send({"type": "http.response.start", "status": answer.status.value, "headers": sent})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})

    async def _receive(self, method: str, headers: Mapping[str, str], receive: Receive) -> Answer | None:
        length = _length(headers.get("content-length"))
        reception = Reception(self._endpoint.uploads, method, headers.get("content-type", ""), length)
        try:
            more = True
            while reception.answer is None and more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                more = message.get("more_body", False)
                if body := message.get("body", b""):
                    await in_thread(partial(reception.feed, body))
            if reception.answer is None:
                reception.feed(b"")
            return await in_thread(partial(_stored, reception))
        finally:
            reception.close()


def _stored(reception: Reception) -> Answer:
    try:
        reception.store()
    except OSError:
        _log.exception("an upload could not be stored")
        return _BUSY
    assert reception.answer is not None
    return reception.answer


def _length(text: str | None) -> int | None:
    # Python converts no number of some thousand digits, and no body is as long as one of 19 says
    return int(text) if text and len(text) < 19 and text.isascii() and text.isdigit() else None
