"""Serving a directory of images beside a WSGI application.

Every file of the store is public: who knows the URL gets the picture.  Nothing else is: no directories, no temporary
files, nothing outside.

>>> def application(environ, start_response):
...     start_response("200 OK", [("Content-Type", "text/plain")])
...     return [b"a page"]
>>> application = StaticServerMiddleware(application, "images/", "/var/local/app/images")

A picture can be a program: SVG and PDF carry scripts.  So no browser is left to guess a type, and what it could run is
shut in a sandbox when somebody opens it by its URL.  Other files that lie there keep their type, a style sheet say.
"""

from __future__ import annotations

import mimetypes
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextvars import Context, copy_context
from typing import IO, TYPE_CHECKING, cast
from urllib.parse import quote

from ..arguments import check_callable, check_type
from ..errors import InvalidValueError
from ..imagetypes import TYPES, by_extension
from ..paths import is_inside
from .host import request_url

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from werkzeug.wrappers import Response

__all__ = ["RequestUrlMiddleware", "StaticServerMiddleware"]

_UNKNOWN = "application/octet-stream"

# Files that are no pictures keep the types that they have on every machine: Python's own table, mended where it is old.
_OTHER_TYPES = mimetypes.MimeTypes(filenames=())
for _extension, _mimetype in (
    (".js", "text/javascript"),
    (".mjs", "text/javascript"),
    (".woff2", "font/woff2"),
    (".xhtml", "application/xhtml+xml"),
):
    _OTHER_TYPES.add_type(_mimetype, _extension)

# What a browser cannot run when the URL is opened as a page.  All else can, or might: HTML, XML, SVG, PDF …
_PASSIVE = re.compile(r"text/(?:css|csv|javascript|plain)|application/(?:json|wasm)|(?:audio|font|video)/.+|image/.+")
_ACTIVE = {row.mimetype for row in TYPES if row.active}
_SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'"

# Names with a revision of the length that new_revision() gives; others are looked after as if they could change.
_IMMUTABLE = re.compile(r"-?\d+\.\d+x\d+\.[A-Za-z0-9_-]{16}\.[^/]+")
# Names as stores give them.  A blob is a picture or nothing, whatever its owner called its type.
_BLOB = re.compile(r"-?\d+\.\d+x\d+.*")
_FOREVER = "public, max-age=31536000, immutable"

_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\:]")
_HOST = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


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
        check_type("url_path", url_path, str)
        check_type("dir_path", dir_path, (str, os.PathLike))
        check_type("block_size", block_size, int)
        if block_size < 1:
            raise InvalidValueError(f"block_size: expected a number of bytes, 1 or more, got {block_size}")
        self.app = app
        self.url_path = "/" + "".join(f"{segment}/" for segment in url_path.split("/") if segment)
        self.dir_path = os.path.abspath(dir_path)
        self.block_size = block_size
        self.cors = cors
        self.follow_symlinks = follow_symlinks

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path: str = environ.get("PATH_INFO", "")
        if not f"{path}/".startswith(self._wsgi_path):
            return self.app(environ, start_response)
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            response = _message(405, {"Allow": "GET, HEAD"})
        else:
            response = self._serve(path[len(self._wsgi_path) :], environ) or _message(404)
        body: Iterable[bytes] = response(environ, start_response)
        return body

    @property
    def _wsgi_path(self) -> str:
        # in PATH_INFO each character stands for one byte
        return self.url_path.encode().decode("latin-1")

    def _serve(self, wsgi_name: str, environ: WSGIEnvironment) -> Response | None:
        path = self._path_of(wsgi_name)
        if path is None:
            return None
        try:
            # asked before opening, which would wait for the other end of a named pipe
            if not stat.S_ISREG(os.stat(path).st_mode):
                return None
            file = open(path, "rb")  # noqa: SIM115 - the response closes it
        except OSError:
            return None
        try:
            return self._respond(file, os.path.basename(path), environ)
        except BaseException:
            file.close()
            raise

    def _path_of(self, wsgi_name: str) -> str | None:
        """The path of the file to serve.  **The only way from a URL to a path.**"""
        try:
            name = wsgi_name.encode("latin-1").decode()
        except UnicodeError:
            return None
        segments = name.split("/")
        # a leading dot: the directory itself, the one above, temporary files, and what nobody meant to publish
        if any(not segment or segment.startswith(".") or _UNSAFE.search(segment) for segment in segments):
            return None
        path = os.path.join(self.dir_path, *segments)
        return path if self.follow_symlinks or is_inside(self.dir_path, path) else None

    def _respond(self, file: IO[bytes], name: str, environ: WSGIEnvironment) -> Response:
        from werkzeug.exceptions import RequestedRangeNotSatisfiable
        from werkzeug.wrappers import Response
        from werkzeug.wsgi import wrap_file

        status = os.fstat(file.fileno())
        environ = _with_one_range(environ, status.st_size)
        # a range is cut out of Werkzeug's own wrapper, which it can position, and closes; not so of any server's
        wrapper_of = {} if "HTTP_RANGE" in environ else environ
        response = Response(
            wrap_file(wrapper_of, file, self.block_size),
            headers=_headers(name) | ({"Access-Control-Allow-Origin": "*"} if self.cors else {}),
            direct_passthrough=True,
        )
        response.content_length = status.st_size
        response.last_modified = status.st_mtime  # type: ignore[assignment]  # it takes a timestamp too
        response.set_etag(f"{status.st_mtime_ns:x}-{status.st_size:x}")
        try:
            response.make_conditional(environ, accept_ranges=True, complete_length=status.st_size)
        except RequestedRangeNotSatisfiable:
            response.close()
            return _message(416, {"Content-Range": f"bytes */{status.st_size}"})
        if response.status_code == 412:  # which Werkzeug sends with the picture, to be kept for ever by caches
            response.close()
            return _message(412)
        return response


def _with_one_range(environ: WSGIEnvironment, size: int) -> WSGIEnvironment:
    """The request with a range that Werkzeug takes, or with none, which is right where it is not understood.

    See RFC 9110, section 14: the unit may be unknown, there may be several, and the last N bytes are all if N is more.
    """
    from werkzeug.http import parse_range_header

    if "HTTP_RANGE" not in environ:
        return environ
    asked = parse_range_header(environ["HTTP_RANGE"])
    others = {name: value for name, value in environ.items() if name != "HTTP_RANGE"}
    if asked is None or asked.units != "bytes" or len(asked.ranges) > 1:
        return others
    [(start, _)] = asked.ranges
    return {**others, "HTTP_RANGE": "bytes=0-"} if start < -size else environ


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
    host = environ.get("HTTP_HOST") or _server_name(environ)
    scheme = environ["wsgi.url_scheme"]
    if not _HOST.fullmatch(host) or scheme not in {"http", "https"}:
        return None
    mounted = quote(environ.get("SCRIPT_NAME", "").encode("latin-1", "replace")).strip("/")
    return f"{scheme}://{host}/{mounted}/" if mounted else f"{scheme}://{host}/"


def _server_name(environ: WSGIEnvironment) -> str:
    name, port = environ["SERVER_NAME"], environ["SERVER_PORT"]
    return str(name) if (environ["wsgi.url_scheme"], port) in {("http", "80"), ("https", "443")} else f"{name}:{port}"


def _headers(name: str) -> dict[str, str]:
    mimetype = _mimetype_of(name)
    headers = {
        "Content-Type": mimetype,
        "Cache-Control": _FOREVER if _IMMUTABLE.fullmatch(name) else "no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    if mimetype in _ACTIVE or not _PASSIVE.fullmatch(mimetype):
        headers["Content-Security-Policy"] = _SANDBOX
    return headers


def _mimetype_of(name: str) -> str:
    extension = os.path.splitext(name)[1]
    if (row := by_extension.get(extension)) is not None:
        return row.mimetype
    if _BLOB.fullmatch(name):
        return _UNKNOWN
    mimetype, encoding = _OTHER_TYPES.guess_type(f"file{extension}")
    return _UNKNOWN if mimetype is None or encoding is not None else mimetype


def _message(status: int, headers: dict[str, str] | None = None) -> Response:
    from werkzeug.http import HTTP_STATUS_CODES
    from werkzeug.wrappers import Response

    return Response(f"{HTTP_STATUS_CODES[status]}\n", status, headers, mimetype="text/plain")
