"""A TCP proxy between driver and server that breaks the connection at the moment of COMMIT."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

from sqlalchemy import URL


class BreakingProxy:
    """Hands everything on until ``trigger`` is sent, once :attr:`armed`; then the client hears nothing any more.

    :param url: the server
    :param deliver: whether the server still gets the trigger, and acts on it, before the connection breaks
    :param trigger: the statement
    """

    def __init__(self, url: URL, *, deliver: bool, trigger: bytes = b"COMMIT") -> None:
        self._target = (url.host, url.port or {"postgresql": 5432}.get(url.get_backend_name(), 3306))
        self._deliver = deliver
        self._trigger = trigger
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.armed = False
        self.broken = threading.Event()
        #: The address of the proxy.  Without encryption, which would hide the trigger.
        self.url = url.set(host="127.0.0.1", port=self._listener.getsockname()[1])
        if url.get_backend_name() == "postgresql":
            self.url = self.url.update_query_dict({"sslmode": "disable", "gssencmode": "disable"})
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                threading.Thread(target=self._upstream, args=(client, server), daemon=True).start()
                threading.Thread(target=self._downstream, args=(client, server), daemon=True).start()

    def _upstream(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(1 << 16):
                if self.armed and self._trigger in data:
                    self.broken.set()
                    if not self._deliver:
                        break
                server.sendall(data)
        _end(client, server)

    def _downstream(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                if self.broken.is_set():  # this is the answer to the trigger, so the server has acted on it
                    break
                client.sendall(data)
        _end(client, server)


def _end(*sockets: socket.socket) -> None:
    for one in sockets:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
