"""The door for ASGI: a directory of images beside an application, and endpoints.

>>> from starlette.applications import Starlette
>>> application = StaticServerMiddleware(Starlette(), "images/", "/var/local/app/images")

It answers as :mod:`.wsgi` does, by the same code.  Files, stores and databases are asked in threads, so the event loop
keeps turning; a reader who is slow holds no thread.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeAlias

from ..arguments import check_callable, check_range, check_type
from ..concurrency import in_thread
from ..errors import StoreError
from .answer import CHUNK, Answer, Body
from .directory import Directory, directory_path, mount_path
from .host import application_url, host_and_port, request_url
from .lookup import Looking, Lookup, Waiting, failed, unless_refused
from .request import Request

__all__ = ["AsgiDoor", "RequestUrlMiddleware", "StaticServerMiddleware"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApplication: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


# of long bodies: each client has some of them in buffers, its own and those of the server and of the store
_BLOCK = 32768


class AsgiRequest(Request):
    """A request as ASGI servers tell it."""

    __slots__ = ("_headers",)

    def __init__(self, scope: Scope, path: str) -> None:
        self.method = scope["method"]
        self.raw = scope
        # servers put this where the bytes are no UTF-8
        self.path = None if "\ufffd" in path else path
        self._headers: dict[bytes, bytes] | None = None

    def header(self, name: str) -> str | None:
        if self._headers is None:
            self._headers = {}
            for key, value in self.raw["headers"]:
                former = self._headers.get(key)
                self._headers[key] = value if former is None else b"%b,%b" % (former, value)
        found = self._headers.get(name.lower().encode())
        return None if found is None else found.decode("latin-1")


class AsgiDoor:
    """An endpoint as an ASGI application; :attr:`.Endpoint.asgi` makes it.

    :param endpoint: what answers
    :param block_size: how many bytes to send at a time
    """

    def __init__(self, endpoint: Looking, block_size: int = _BLOCK) -> None:
        self.endpoint = endpoint
        self.block_size = block_size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        else:
            await self.answer(scope, path_below(scope).removeprefix("/"), receive, send)

    async def answer(self, scope: Scope, path: str, receive: Receive, send: Send) -> None:
        """Answer the request for ``path``, which is a part of that of ``scope``."""
        request = AsgiRequest(scope, path)
        sending = _Sending(self.block_size)
        try:
            await self._find(request, sending)
            await sending.send(request, receive, send)
        finally:
            sending.close()

    async def _find(self, request: Request, sending: _Sending) -> None:
        step = self.endpoint.look(request)
        if isinstance(step, Answer):
            sending.begin(step)
            return
        if (refusal := await self._refusal(request, step)) is not None:
            sending.begin(refusal)
            return
        try:
            waiting = await in_thread(lambda: sending.begin(step.fetch()))
            if waiting is not None:
                await _done(waiting.future)
                await in_thread(lambda: sending.begin(waiting.finish()))
        except StoreError as error:
            sending.close()
            sending.begin(failed(request, error))

    async def _refusal(self, request: Request, step: Lookup) -> Answer | None:
        authorise = self.endpoint.authorise
        if step.asked is None or authorise is None:
            return None
        asked = step.asked
        # a plain function may block; one that gives something to await does not
        allowed: object = await in_thread(lambda: authorise(request, asked))
        return unless_refused(await allowed if inspect.isawaitable(allowed) else allowed)


class _Sending:
    """An answer on its way; what it has opened is closed with it, also if nobody waits for it any more."""

    def __init__(self, block_size: int) -> None:
        self._block_size = block_size
        self._answer: Answer | None = None
        self._blocks: Iterator[bytes] = iter(())
        self._first = b""

    def begin(self, found: Answer | Waiting) -> Waiting | None:
        """Take the answer, and the first block of its body, which most answers do not exceed.  It may block."""
        if isinstance(found, Waiting):
            return found
        self._answer = found
        if isinstance(found.body, Body):
            length = found.body.length
            self._blocks = found.body.blocks(CHUNK if length is not None and length <= CHUNK else self._block_size)
            self._first = next(self._blocks, b"")
        else:
            self._first = found.body
        return None

    async def send(self, request: Request, receive: Receive, send: Send) -> None:
        """Send it all, unless the client goes away.

        :raises StoreError: the body ends early, so the connection has to
        """
        assert self._answer is not None
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in self._answer.headers]
        await send({"type": "http.response.start", "status": self._answer.status, "headers": headers})
        if request.method == "HEAD":
            await send(_part(b"", more=False))
        elif self._is_one_block:
            await send(_part(self._first, more=False))
        else:
            await self._send_blocks(receive, send)

    @property
    def _is_one_block(self) -> bool:
        body = self._answer.body if self._answer is not None else b""
        return not isinstance(body, Body) or body.length == len(self._first)

    async def _send_blocks(self, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_gone(receive))
        try:
            block = self._first
            while block and not gone.done():
                await send(_part(block, more=True))
                block = await in_thread(lambda: next(self._blocks, b""))
            if not gone.done():
                await send(_part(b"", more=False))
        finally:
            gone.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await gone

    def close(self) -> None:
        """Nothing more of it is needed."""
        if self._answer is not None:
            self._answer.close()


class StaticServerMiddleware:
    """An ASGI application that serves the files of a directory, and hands other requests on to another application.

    It is :class:`.wsgi.StaticServerMiddleware` for ASGI.

    :param app: the application for all paths outside of ``url_path``
    :param url_path: the path of the URLs to serve, e.g. ``"images/"``
    :param dir_path: the directory to serve
    :param block_size: how many bytes to send at a time
    :param cors: whether scripts of all other sites may read the files: ``Access-Control-Allow-Origin: *``
    :param follow_symlinks: whether symbolic links within the directory may lead out of it
    :raises InvalidTypeError: an argument has the wrong type
    :raises InvalidValueError: ``block_size`` is below 1
    """

    def __init__(
        self,
        app: ASGIApplication,
        url_path: str,
        dir_path: str | os.PathLike[str],
        block_size: int = _BLOCK,
        cors: bool = False,
        *,
        follow_symlinks: bool = False,
    ) -> None:
        check_callable("app", app, "an ASGI application")
        check_range("block_size", check_type("block_size", block_size, int), "a number of bytes, 1 or more", 1)
        self.app = app
        self.url_path = mount_path(url_path)
        self.dir_path = directory_path(dir_path)
        self._door = AsgiDoor(Directory(self.dir_path, cors=cors, follow_symlinks=follow_symlinks), block_size)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = path_below(scope)
            if f"{path}/".startswith(self.url_path):
                await self._door.answer(scope, path[len(self.url_path) :], receive, send)
                return
        await self.app(scope, receive, send)


class RequestUrlMiddleware:
    """Tells stores the URL at which the wrapped application is reached by the request being handled.

    The request's own code sees it, and nothing else does.  A Host header that is no host name counts as none.

    :param app: the application to wrap
    :raises InvalidTypeError: ``app`` cannot be called
    """

    def __init__(self, app: ASGIApplication) -> None:
        check_callable("app", app, "an ASGI application")
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        token = request_url.set(_application_url(scope))
        try:
            await self.app(scope, receive, send)
        finally:
            request_url.reset(token)


def path_below(scope: Scope) -> str:
    """The path of a request below the one at which the application is mounted."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path[len(root) :] if root and f"{path}/".startswith(f"{root}/") else path


def _application_url(scope: Scope) -> str | None:
    scheme = str(scope.get("scheme", "http"))
    scheme = {"ws": "http", "wss": "https"}.get(scheme, scheme)
    host = AsgiRequest({**scope, "method": ""}, "").header("host")
    if not host:
        server = scope.get("server")
        if not server or server[1] is None:  # none, or a socket of the file system
            return None
        host = host_and_port(scheme, *server)
    return application_url(scheme, host, str(scope.get("root_path", "")).encode("utf-8", "replace"))


def _part(body: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def _done(future: Future[Any]) -> None:
    """The future is done; who hangs up does not take it from the others."""
    waiting = asyncio.wrap_future(future)
    waiting.add_done_callback(lambda done: done.cancelled() or done.exception())  # which finish() raises
    await asyncio.wait([waiting])


async def _gone(receive: Receive) -> None:
    """The client has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _live(receive: Receive, send: Send) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
