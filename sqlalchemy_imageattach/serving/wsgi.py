"""The door for WSGI: a directory of images beside an application, and endpoints.

>>> def application(environ, start_response):
...     start_response("200 OK", [("Content-Type", "text/plain")])
...     return [b"a page"]
>>> application = StaticServerMiddleware(application, "images/", "/var/local/app/images")

Every file of the directory is public: who knows the URL gets the picture.  Nothing else is: no directories, no
temporary files, nothing outside.

A picture can be a program: SVG and PDF carry scripts.  So no browser is left to guess a type, and what it could run is
shut in a sandbox when somebody opens it by its URL.  Other files that lie there keep their type, a style sheet say.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import wait
from contextvars import Context, copy_context
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from ..arguments import check_callable, check_range, check_type
from ..errors import StoreError
from .answer import CHUNK, Answer, Body, status_line
from .directory import Directory, directory_path, mount_path
from .host import application_url, host_and_port, request_url
from .lookup import Looking, Lookup, failed, unless_refused
from .request import Request

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["RequestUrlMiddleware", "StaticServerMiddleware", "WsgiDoor"]


class WsgiRequest(Request):
    """A request as WSGI servers tell it."""

    __slots__ = ()

    def __init__(self, environ: WSGIEnvironment, path: str) -> None:
        self.method = environ["REQUEST_METHOD"]
        self.raw = environ
        try:
            # in PATH_INFO each character stands for one byte
            self.path = path.encode("latin-1").decode()
        except UnicodeError:
            self.path = None

    def header(self, name: str) -> str | None:
        found: str | None = self.raw.get(_variable_of(name))
        return found


@lru_cache(maxsize=256)
def _variable_of(header: str) -> str:
    return f"HTTP_{header.upper().replace('-', '_')}"


class WsgiDoor:
    """An endpoint as a WSGI application; :attr:`.Endpoint.wsgi` makes it.

    :param endpoint: what answers
    :param block_size: how many bytes to send at a time
    """

    def __init__(self, endpoint: Looking, block_size: int = CHUNK) -> None:
        self.endpoint = endpoint
        self.block_size = block_size

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self.answer(environ, environ.get("PATH_INFO", "").removeprefix("/"), start_response)

    def answer(self, environ: WSGIEnvironment, path: str, start_response: StartResponse) -> Iterable[bytes]:
        """Answer the request for ``path``, which is a part of that of ``environ``."""
        request = WsgiRequest(environ, path)
        answer = self._answer(request)
        try:
            start_response(status_line(answer.status), answer.headers)
            if request.method == "HEAD":
                answer.close()
                return []
            return self._body(answer.body, environ)
        except BaseException:
            answer.close()
            raise

    def _answer(self, request: Request) -> Answer:
        step = self.endpoint.look(request)
        if isinstance(step, Answer):
            return step
        if step.asked is not None and self.endpoint.authorise is not None:
            allowed = self.endpoint.authorise(request, step.asked)
            if (refusal := unless_refused(allowed)) is not None:
                return refusal
        try:
            return _fetched(step)
        except StoreError as error:
            return failed(request, error)

    def _body(self, body: Body | bytes, environ: WSGIEnvironment) -> Iterable[bytes]:
        wrapper: Any = environ.get("wsgi.file_wrapper")
        if isinstance(body, bytes):
            size = self.block_size
            if wrapper is not None or len(body) <= size:
                return [body]
            return [body[start : start + size] for start in range(0, len(body), size)]
        if wrapper is not None and body.is_plain_file:
            return cast("Iterable[bytes]", wrapper(body.file, self.block_size))
        return _Blocks(body, self.block_size)


def _fetched(step: Lookup) -> Answer:
    found = step.fetch()
    if isinstance(found, Answer):
        return found
    wait([found.future])
    return found.finish()


class _Blocks:
    """A body as WSGI servers take it."""

    def __init__(self, body: Body, size: int) -> None:
        self._blocks = body.blocks(size)
        self.close = body.close

    def __iter__(self) -> Iterator[bytes]:
        return self._blocks


class StaticServerMiddleware:
    """A WSGI application that serves the files of a directory, and hands other requests on to another application.

    ``GET`` and ``HEAD`` with conditions and ranges are understood; other methods are answered by 405, and whatever is
    no plain file of the directory by 404.

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
        app: WSGIApplication,
        url_path: str,
        dir_path: str | os.PathLike[str],
        block_size: int = 8192,
        cors: bool = False,
        *,
        follow_symlinks: bool = False,
    ) -> None:
        check_callable("app", app, "a WSGI application")
        check_range("block_size", check_type("block_size", block_size, int), "a number of bytes, 1 or more", 1)
        self.app = app
        self.url_path = mount_path(url_path)
        self.dir_path = directory_path(dir_path)
        self.block_size = block_size
        self.cors = cors
        self.follow_symlinks = follow_symlinks
        self._door = WsgiDoor(Directory(self.dir_path, cors=cors, follow_symlinks=follow_symlinks), block_size)
        # in PATH_INFO each character stands for one byte
        self._wsgi_path = self.url_path.encode().decode("latin-1")

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path: str = environ.get("PATH_INFO", "")
        if not f"{path}/".startswith(self._wsgi_path):
            return self.app(environ, start_response)
        return self._door.answer(environ, path[len(self._wsgi_path) :], start_response)


class RequestUrlMiddleware:
    """Tells stores the URL at which the wrapped application is reached by the request being handled.

    The request's own code sees it, a response that is generated little by little included, and nothing else does.
    A Host header that is no host name counts as none.

    :param app: the application to wrap
    :raises InvalidTypeError: ``app`` cannot be called
    """

    def __init__(self, app: WSGIApplication) -> None:
        check_callable("app", app, "a WSGI application")
        self.app = app
        # Flask: `app.wsgi_app = store.wsgi_middleware(app)` makes app call us, and us app
        self._without_us = cast("WSGIApplication", getattr(app, "wsgi_app", app))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        passed: object = environ.get(_PASSED)
        if passed is self:
            return self._without_us(environ, start_response)
        environ[_PASSED] = self
        context = copy_context()
        context.run(request_url.set, _application_url(environ))
        result: Iterable[bytes] = context.run(self.app, environ, start_response)
        return result if _is_ready(result, environ) else _InContext(context, result)


_PASSED = "sqlalchemy_imageattach.request_url_middleware"


class _InContext:
    """An iterable whose every step is taken within a context."""

    def __init__(self, context: Context, iterable: Iterable[bytes]) -> None:
        self._context = context
        self._iterable = iterable
        self._iterator: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._iterator is None:
            self._iterator = self._context.run(iter, self._iterable)
        return self._context.run(next, self._iterator)

    def close(self) -> None:
        if callable(close := getattr(self._iterable, "close", None)):
            self._context.run(close)


def _is_ready(result: Iterable[bytes], environ: WSGIEnvironment) -> bool:
    # servers look at these for themselves: at the length of a list, and at a file wrapper of theirs
    if isinstance(result, list | tuple):
        return True
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(result, wrapper)


def _application_url(environ: WSGIEnvironment) -> str | None:
    host = environ.get("HTTP_HOST") or host_and_port(
        environ["wsgi.url_scheme"], environ["SERVER_NAME"], environ["SERVER_PORT"]
    )
    mounted = environ.get("SCRIPT_NAME", "").encode("latin-1", "replace")
    return application_url(environ["wsgi.url_scheme"], host, mounted)
