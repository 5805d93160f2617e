"""Real servers, and clients that ask what no proper client would."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import uvicorn
import werkzeug.serving


class _Quiet(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None: ...


class _QuietWerkzeug(werkzeug.serving.WSGIRequestHandler):
    def log(self, *args: Any) -> None: ...


def with_wsgiref(app: Any) -> WSGIServer:
    return make_server("127.0.0.1", 0, app, handler_class=_Quiet)


def with_werkzeug(app: Any) -> Any:
    return werkzeug.serving.make_server("127.0.0.1", 0, app, threaded=True, request_handler=_QuietWerkzeug)


class _Uvicorn:
    """uvicorn with the methods of the others."""

    def __init__(self, app: Any) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.server_address: tuple[str, int] = self._socket.getsockname()
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))

    def serve_forever(self, poll_interval: float) -> None:
        self._server.run(sockets=[self._socket])

    def shutdown(self) -> None:
        self._server.should_exit = True

    def server_close(self) -> None:
        self._socket.close()


def with_uvicorn(app: Any) -> _Uvicorn:
    return _Uvicorn(app)


@contextlib.contextmanager
def serve(app: Any, server_of: Callable[[Any], Any] = with_werkzeug) -> Iterator[int]:
    """Serve ``app`` on the loopback interface, and give the port."""
    server = server_of(app)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()


def ask(port: int, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, path, headers=headers or {})
        return Answer(connection.getresponse())


def ask_raw(port: int, request: bytes) -> Answer:
    """Send ``request`` as it is, which no proper client would."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return Answer(response)
