"""Connections that are kept for the next request to the same host: so many at once, and no more.

httpcore has a pool of its own.  For each request it looks at every connection once for each of the others, twice; and
it may take one for idle, and close it, whose request is just about to be sent.  Here, a connection belongs to the one
request that has it, and is found by a look-up.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Generic, Protocol, TypeVar

import httpcore

from .connection import AsyncGuardedBackend, GuardedBackend, budget
from .policy import FetchPolicy

__all__ = ["AsyncConnections", "Connections"]

#: For how many seconds a connection is kept that nobody asks.
_KEPT: float = 5.0


class _Connection(Protocol):
    def is_available(self) -> bool: ...
    def has_expired(self) -> bool: ...


_C = TypeVar("_C", bound=_Connection)
_Origin = tuple[bytes, bytes, int]


class _Shelf(Generic[_C]):
    """The connections that nobody uses.  It closes none: it gives those that are to be closed.

    :param most: how many connections there may be, used ones included
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._used = 0
        self._is_open = True
        #: With the moment since which each waits, the first one first.
        self._waiting: dict[_C, tuple[_Origin, float]] = {}
        self._of_origin: dict[_Origin, list[_C]] = {}

    def take(self, origin: _Origin, *, is_new: bool = False) -> tuple[_C | None, list[_C]]:
        """The one for ``origin`` that was used last, if there is one; and those that are to be closed.

        :param is_new: whether the connection is to be a new one
        """
        closing = self._expired()
        self._used += 1
        while not is_new and (waiting := self._of_origin.get(origin)):
            found = self._remove(waiting[-1])
            if not found.has_expired():  # its server has not closed it meanwhile
                return found, closing
            closing.append(found)
        if self._waiting and self._used + len(self._waiting) > self._most:
            closing.append(self._remove(next(iter(self._waiting))))
        return None, closing

    def put(self, origin: _Origin, connection: _C | None) -> list[_C]:
        """It is used no more, or could not be made.  What is to be closed, perhaps it."""
        self._used -= 1
        if connection is None or not (self._is_open and connection.is_available()):
            return [] if connection is None else [connection]
        self._waiting[connection] = origin, time.monotonic()
        self._of_origin.setdefault(origin, []).append(connection)
        return []

    def close(self) -> list[_C]:
        """None is kept any more."""
        self._is_open = False
        return [self._remove(each) for each in list(self._waiting)]

    def _expired(self) -> list[_C]:
        earliest, expired = time.monotonic() - _KEPT, []
        for each, (_, since) in self._waiting.items():
            if since > earliest:
                break
            expired.append(each)
        return [self._remove(each) for each in expired]

    def _remove(self, connection: _C) -> _C:
        origin, _ = self._waiting.pop(connection)
        of_origin = self._of_origin[origin]
        of_origin.remove(connection)
        if not of_origin:
            del self._of_origin[origin]
        return connection


class Connections:
    """Asks by connections of its own, which threads can share.

    :param policy: what may be asked
    :param most: how many connections there may be
    """

    def __init__(self, policy: FetchPolicy, most: int) -> None:
        self._policy = policy
        self._lock = threading.Lock()
        self._shelf: _Shelf[httpcore.ConnectionInterface] = _Shelf(most)
        self._free = threading.Semaphore(most)
        self._backend = GuardedBackend(policy.resolve, _allows_private(policy))
        self._makers: dict[bytes, httpcore.ConnectionPool] = {}

    @contextmanager
    def ask(self, url: httpcore.URL, headers: list[tuple[bytes, bytes]]) -> Iterator[httpcore.Response]:
        """Within, the answer to a GET is there to be read."""
        wanted = budget.get().seconds(self._policy.wait_seconds, httpcore.PoolTimeout)
        if not self._free.acquire(timeout=wanted):
            raise httpcore.PoolTimeout
        try:
            connection, response = self._answered(url, headers)
            try:
                yield response
            finally:
                try:
                    response.close()
                finally:
                    self._put(url, connection)
        finally:
            self._free.release()

    def _answered(
        self, url: httpcore.URL, headers: list[tuple[bytes, bytes]]
    ) -> tuple[httpcore.ConnectionInterface, httpcore.Response]:
        is_new = False
        while True:
            with self._lock:
                kept, closing = self._shelf.take(_key(url), is_new=is_new)
            connection = kept
            try:
                _close(closing)
                connection = connection or self._make(url.origin)
                response = connection.handle_request(_request(url, headers, self._policy))
                _check_asked_for()
                return connection, response
            except BaseException as error:
                self._put(url, connection)
                if kept is None or not _is_stale(error):
                    raise
                is_new = True  # once more, and not by each that is kept

    def _make(self, origin: httpcore.Origin) -> httpcore.ConnectionInterface:
        maker = self._makers.get(origin.scheme)
        if maker is None:
            options = _options(self._policy, origin)
            maker = self._makers[origin.scheme] = httpcore.ConnectionPool(**options, network_backend=self._backend)
        return maker.create_connection(origin)

    def _put(self, url: httpcore.URL, connection: httpcore.ConnectionInterface | None) -> None:
        with self._lock:
            closing = self._shelf.put(_key(url), connection)
        _close(closing)

    def close(self) -> None:
        """None is kept; what is under way goes on to its end."""
        with self._lock:
            closing = self._shelf.close()
        _close(closing)


class AsyncConnections:
    """:class:`Connections` for event loops."""

    def __init__(self, policy: FetchPolicy, most: int) -> None:
        self._policy = policy
        self._shelf: _Shelf[httpcore.AsyncConnectionInterface] = _Shelf(most)
        self._free = asyncio.Semaphore(most)
        self._backend = AsyncGuardedBackend(policy.resolve, _allows_private(policy))
        self._makers: dict[bytes, httpcore.AsyncConnectionPool] = {}

    @asynccontextmanager
    async def ask(self, url: httpcore.URL, headers: list[tuple[bytes, bytes]]) -> AsyncIterator[httpcore.Response]:
        """:meth:`Connections.ask`, to be awaited."""
        wanted = budget.get().seconds(self._policy.wait_seconds, httpcore.PoolTimeout)
        try:
            await asyncio.wait_for(self._free.acquire(), wanted)
        except TimeoutError:
            raise httpcore.PoolTimeout from None
        try:
            connection, response = await self._answered(url, headers)
            try:
                yield response
            finally:
                try:
                    await response.aclose()
                finally:
                    await self._put(url, connection)
        finally:
            self._free.release()

    async def _answered(
        self, url: httpcore.URL, headers: list[tuple[bytes, bytes]]
    ) -> tuple[httpcore.AsyncConnectionInterface, httpcore.Response]:
        is_new = False
        while True:
            kept, closing = self._shelf.take(_key(url), is_new=is_new)
            connection = kept
            try:
                await _aclose(closing)
                connection = connection or self._make(url.origin)
                response = await connection.handle_async_request(_request(url, headers, self._policy))
                _check_asked_for()
                return connection, response
            except BaseException as error:
                await self._put(url, connection)
                if kept is None or not _is_stale(error):
                    raise
                is_new = True  # once more, and not by each that is kept

    def _make(self, origin: httpcore.Origin) -> httpcore.AsyncConnectionInterface:
        maker = self._makers.get(origin.scheme)
        if maker is None:
            options = _options(self._policy, origin)
            maker = self._makers[origin.scheme] = httpcore.AsyncConnectionPool(**options, network_backend=self._backend)
        return maker.create_connection(origin)

    async def _put(self, url: httpcore.URL, connection: httpcore.AsyncConnectionInterface | None) -> None:
        await _aclose(self._shelf.put(_key(url), connection))

    async def aclose(self) -> None:
        """:meth:`Connections.close`, to be awaited."""
        await _aclose(self._shelf.close())


def _close(connections: list[httpcore.ConnectionInterface]) -> None:
    for each in connections:
        each.close()


async def _aclose(connections: list[httpcore.AsyncConnectionInterface]) -> None:
    try:
        while connections:
            await connections.pop().aclose()
    except BaseException:
        await _aclose(connections)  # an event loop would keep open what is left
        raise


def _key(url: httpcore.URL) -> _Origin:
    origin = url.origin
    return origin.scheme, origin.host, origin.port


def _request(url: httpcore.URL, headers: list[tuple[bytes, bytes]], policy: FetchPolicy) -> httpcore.Request:
    timeouts = dict.fromkeys(("connect", "read", "write"), policy.wait_seconds)
    return httpcore.Request("GET", url, headers=headers, extensions={"timeout": timeouts})


def _check_asked_for() -> None:
    """What was there before the request is no answer to it: the server has sent more than the last one asked for."""
    if not budget.get().has_come:
        raise httpcore.RemoteProtocolError("the response came before the request")


def _is_stale(error: BaseException) -> bool:
    """Whether a kept connection was closed by its server just when it was asked: that is no answer."""
    is_broken = isinstance(error, (httpcore.NetworkError, httpcore.RemoteProtocolError))
    return is_broken and not budget.get().has_come


def _options(policy: FetchPolicy, origin: httpcore.Origin) -> dict[str, Any]:
    # otherwise each connection would read all certificates of the system anew
    needs_context = origin.scheme == b"https" and policy.ssl_context is None
    return {
        "ssl_context": httpcore.default_ssl_context() if needs_context else policy.ssl_context,
        "proxy": None if policy.proxy is None else httpcore.Proxy(policy.proxy),
        "keepalive_expiry": _KEPT,
        "retries": 0,
    }


def _allows_private(policy: FetchPolicy) -> bool:
    # all that is connected to is the proxy then, which the operator has named
    return policy.allow_private or policy.proxy is not None
