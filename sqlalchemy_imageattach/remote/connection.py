"""Connections to checked addresses, each of whose waits ends with the time of the whole download.

httpcore asks a *network backend* for each of its connections; these ones resolve, check and connect.  The name itself
goes on to be the ``Host`` of the request and the name in the server's certificate.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..concurrency import settled
from ..errors import RemoteTooLongError
from ..extras import needs_extra
from .guard import Resolve, public_addresses

with needs_extra("remote", "downloads need httpcore"):
    import httpcore

__all__ = ["AsyncGuardedBackend", "Budget", "GuardedBackend", "RefusedAddress", "budget"]


class RefusedAddress(httpcore.ConnectError):
    """The name stands for no address that may be asked."""


@dataclass(slots=True)
class Budget:
    """What a download may still cost.

    :param deadline: by :func:`time.monotonic`
    :param max_header_bytes: how long the head of a response may be
    :param max_bytes: how many bytes its body may have
    """

    deadline: float
    max_header_bytes: int
    max_bytes: int
    _left: int = 0
    _in_head: bool = True
    clock: Callable[[], float] = field(default=time.monotonic)

    def seconds(self, wanted: float | None, error: type[Exception]) -> float:
        """How long to wait at most for what comes next."""
        left = self.deadline - self.clock()
        if left <= 0:
            raise error("the time of the download is over")
        return left if wanted is None else min(wanted, left)

    def begin_head(self) -> None:
        """A response is asked for."""
        self._left, self._in_head = self.max_header_bytes, True

    def begin_body(self) -> None:
        """The head of the response is complete."""
        # of a body in chunks, much may be about its chunks, but not without end
        self._left, self._in_head = 2 * self.max_bytes + self.max_header_bytes, False

    @property
    def has_come(self) -> bool:
        """Whether anything of the response is there."""
        return not self._in_head or self._left < self.max_header_bytes

    def allow_more(self) -> None:
        """More may be read.  What is read with the end of the head is of the body, and does not count.

        :raises httpcore.RemoteProtocolError: its head is too long
        :raises RemoteTooLongError: its body is
        """
        if self._left > 0:
            return
        if self._in_head:
            raise httpcore.RemoteProtocolError("the head of the response is too long")
        raise RemoteTooLongError(limit=self.max_bytes)

    def count(self, data: bytes) -> bytes:
        """``data``, which has come."""
        self._left -= len(data)
        return data


#: That of the download under way in this thread or task: connections are kept for several, one after another.
budget: ContextVar[Budget] = ContextVar("sqlalchemy_imageattach.remote.budget")

_SocketOptions = Iterable[Any] | None


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        limits = budget.get()
        limits.allow_more()
        return limits.count(self._stream.read(max_bytes, limits.seconds(timeout, httpcore.ReadTimeout)))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, budget.get().seconds(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        # the handshake may wait as long for each byte: somebody else has to look at the clock
        seconds = budget.get().seconds(timeout, httpcore.ConnectTimeout)
        timer = threading.Timer(seconds, _break_off, [self._stream.get_extra_info("socket")])
        timer.daemon = True
        timer.start()
        try:
            return _Stream(self._stream.start_tls(ssl_context, server_hostname, seconds))
        finally:
            timer.cancel()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _break_off(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class GuardedBackend(httpcore.NetworkBackend):
    """Connects to public addresses only.

    :param resolve: gives the addresses of a name
    :param allow_private: whether every address will do
    """

    def __init__(self, resolve: Resolve, allow_private: bool) -> None:
        self._resolve = resolve
        self._allow_private = allow_private
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: _SocketOptions = None,
    ) -> httpcore.NetworkStream:
        failure: Exception | None = None
        addresses = _in_time(self._resolve, host, port, timeout)
        for address in _checked(addresses, self._allow_private):
            try:
                seconds = budget.get().seconds(timeout, httpcore.ConnectTimeout)
                return _Stream(self._backend.connect_tcp(address, port, seconds, local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        assert failure is not None, "there is one address at least"
        raise failure


class _AsyncStream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        limits = budget.get()
        limits.allow_more()
        return limits.count(await self._stream.read(max_bytes, limits.seconds(timeout, httpcore.ReadTimeout)))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, budget.get().seconds(timeout, httpcore.WriteTimeout))

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        timeout = budget.get().seconds(timeout, httpcore.ConnectTimeout)
        return _AsyncStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class AsyncGuardedBackend(httpcore.AsyncNetworkBackend):
    """:class:`GuardedBackend` for event loops; names are resolved on a thread."""

    def __init__(self, resolve: Resolve, allow_private: bool) -> None:
        self._resolve = resolve
        self._allow_private = allow_private
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: _SocketOptions = None,
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception | None = None
        seconds = budget.get().seconds(timeout, httpcore.ConnectTimeout)
        resolve = settled(partial(_resolved, self._resolve, host, port))
        try:
            addresses = await asyncio.wait_for(asyncio.to_thread(resolve), seconds)
        except TimeoutError:
            raise _SLOW_NAME from None
        for address in _checked(addresses, self._allow_private):
            try:
                seconds = budget.get().seconds(timeout, httpcore.ConnectTimeout)
                return _AsyncStream(
                    await self._backend.connect_tcp(address, port, seconds, local_address, socket_options)
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        assert failure is not None, "there is one address at least"
        raise failure

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)


def _checked(addresses: Iterable[str], allow_private: bool) -> list[str]:
    found = list(addresses)
    allowed = found if allow_private else public_addresses(found)
    if not allowed:
        raise RefusedAddress(f"expected public addresses, got {', '.join(found) or 'none'}")
    return allowed


def _in_time(resolve: Resolve, host: str, port: int, timeout: float | None) -> Sequence[str]:
    """What ``resolve`` says, or an error once the time is over: resolvers of systems have no limit that can be set."""
    seconds = budget.get().seconds(timeout, httpcore.ConnectTimeout)
    answer: Future[Sequence[str]] = Future()

    def ask() -> None:
        try:
            answer.set_result(_resolved(resolve, host, port))
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=ask, name="imageattach-resolve", daemon=True).start()
    try:
        return answer.result(seconds)
    except TimeoutError:
        raise _SLOW_NAME from None


def _resolved(resolve: Resolve, host: str, port: int) -> Sequence[str]:
    try:
        return resolve(host, port)
    except (OSError, UnicodeError) as error:  # a label of more than 63 characters is a UnicodeError
        raise RefusedAddress(f"{host!r} has no address") from error


_SLOW_NAME = httpcore.ConnectTimeout("the name was not resolved in time")
