"""A proxy on the loopback that breaks what passes through it, in the ways that networks and servers do.

::

    with FaultProxy(server.port) as proxy:
        proxy.arrange(Fault(cut_response_after=1000), times=2)
        ...  # the next two connections are cut in the middle of the answer, all later ones are fine

Each connection takes one fault.  It keeps a record of the requests, so that a test can say what was asked of a server,
and that nothing was.
"""

from __future__ import annotations

import socket
import ssl
import struct
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from .process import LOOPBACK

__all__ = ["Fault", "FaultProxy", "Request"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with a connection; by default nothing does.

    :param refuse: whether the connection is reset before anything is read
    :param cut_request_after: the number of bytes of the request after which both sides are reset
    :param cut_response_after: the number of bytes of the answer after which both sides are closed
    :param lose_response: whether the server gets all, and its answer gets lost
    :param stall_response_after: the number of bytes of the answer after which nothing more comes
    :param drip: seconds of pause after each 4 KiB of the answer
    :param replace: bytes of the request to replace by others of the same length
    :param answer: what is answered in the server's place, with a ``Connection: close``, since it is closed then
    """

    refuse: bool = False
    cut_request_after: int | None = None
    cut_response_after: int | None = None
    lose_response: bool = False
    stall_response_after: int | None = None
    drip: float = 0
    replace: tuple[bytes, bytes] | None = None
    answer: bytes | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request; the names of headers are in lower case."""

    method: str
    target: str
    headers: dict[str, str]


class FaultProxy:
    """Listens on a free loopback port and passes all on to the server at ``port``.

    :param port: where the real server listens on the loopback
    :param tls: if given, clients speak TLS to the proxy; the server is always reached in plain text
    """

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._server = (LOOPBACK, port)
        self._tls = tls
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._released = threading.Event()
        self._listener = socket.create_server((LOOPBACK, 0))
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self.requests: list[Request] = []
        self.connections = 0
        self.port: int = self._listener.getsockname()[1]
        self.endpoint = f"{'http' if tls is None else 'https'}://{LOOPBACK}:{self.port}"

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._released.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._drop_connections()
        self._accepting.join()

    def arrange(self, fault: Fault, times: int = 1) -> None:
        """The next ``times`` connections get ``fault``.  Those that are open are closed, and the record is emptied."""
        with self._lock:
            self._faults = [fault] * times
        self._drop_connections()
        self.requests.clear()
        self.connections = 0

    def redirect(self, port: int) -> None:
        """Later connections go to another server."""
        self._server = (LOOPBACK, port)

    def _drop_connections(self) -> None:
        with self._lock:
            open_now = list(self._open)
        for each in open_now:
            _close(each)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                fault = self._faults.pop() if self._faults else Fault()
                self._open.add(client)
            threading.Thread(target=self._serve, args=(client, fault), daemon=True).start()

    def _serve(self, client: socket.socket, fault: Fault) -> None:
        if fault.refuse:
            _close(client, reset=True)
            return
        try:
            if self._tls is not None:
                client = self._tls.wrap_socket(client, server_side=True)
            if fault.answer is not None:
                self._answer(client, fault.answer)
            else:
                self._pass_on(client, fault)
        except OSError:
            pass  # the client sees that for itself
        finally:
            _close(client)

    def _answer(self, client: socket.socket, answer: bytes) -> None:
        record = _Recorder(self.requests)
        while data := client.recv(65536):
            if record.feed(data):
                client.sendall(answer)
                return

    def _pass_on(self, client: socket.socket, fault: Fault) -> None:
        with socket.create_connection(self._server) as server:
            with self._lock:
                self._open = {each for each in self._open if each.fileno() != -1} | {client, server}
            upward = threading.Thread(target=self._upward, args=(client, server, fault), daemon=True)
            upward.start()
            self._downward(client, server, fault)
            upward.join()

    def _upward(self, client: socket.socket, server: socket.socket, fault: Fault) -> None:
        record = _Recorder(self.requests)
        passed = 0
        with suppress(OSError):
            while data := client.recv(65536):
                record.feed(data)
                if fault.replace is not None:
                    data = data.replace(*fault.replace)
                if fault.cut_request_after is not None and passed + len(data) > fault.cut_request_after:
                    server.sendall(data[: fault.cut_request_after - passed])
                    _close(server, reset=True)
                    _close(client, reset=True)
                    return
                server.sendall(data)
                passed += len(data)
        _close(server)

    def _downward(self, client: socket.socket, server: socket.socket, fault: Fault) -> None:
        passed = 0
        with suppress(OSError):
            while data := server.recv(4096 if fault.drip else 65536):
                if fault.lose_response and not _is_interim(data):
                    break
                limit = _first_given(fault.cut_response_after, fault.stall_response_after)
                if limit is not None and passed + len(data) > limit:
                    client.sendall(data[: limit - passed])
                    if fault.stall_response_after is not None:
                        self._released.wait()
                    break
                client.sendall(data)
                passed += len(data)
                time.sleep(fault.drip)
        _close(client)
        _close(server)


class _Recorder:
    """Finds the heads of requests in a stream of bytes, as far as their lengths are declared."""

    def __init__(self, requests: list[Request]) -> None:
        self._requests = requests
        self._buffer = b""
        self._body = 0

    def feed(self, data: bytes) -> int:
        """Takes the next bytes, and returns how many requests they complete."""
        self._buffer += data
        complete = 0
        while True:
            skipped = min(self._body, len(self._buffer))
            self._buffer = self._buffer[skipped:]
            self._body -= skipped
            if skipped and not self._body:
                complete += 1
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if self._body or not end:
                return complete
            request = _parse(head)
            self._requests.append(request)
            self._buffer = rest
            if "transfer-encoding" in request.headers:
                self._body = sys.maxsize  # where it ends is not declared; later requests go unseen
            else:
                self._body = int(request.headers.get("content-length", 0))
            if not self._body:
                complete += 1


def _parse(head: bytes) -> Request:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = (line.partition(":") for line in lines)
    return Request(method, target, {name.strip().lower(): value.strip() for name, _, value in headers})


def _is_interim(data: bytes) -> bool:
    return data.startswith(b"HTTP/1.1 100 ") and data.endswith(b"\r\n\r\n")


def _first_given(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def _close(end: socket.socket, reset: bool = False) -> None:
    with suppress(OSError):
        if reset:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            end.shutdown(socket.SHUT_RDWR)
    with suppress(OSError):
        end.close()
