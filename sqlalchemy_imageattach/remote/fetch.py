"""Guarded downloads, for threads and for event loops: the two doors only move bytes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import httpcore

from ..errors import RemoteAddressError, RemoteAnswerError, RemoteTimeoutError
from ..spool import Spool
from .connection import Budget, RefusedAddress, budget
from .journey import Body, Journey
from .keeping import AsyncConnections, Connections
from .policy import FetchPolicy

__all__ = ["AsyncFetcher", "FetchPolicy", "Fetched", "Fetcher", "afetch", "fetch"]

#: What stands between several headers of one name, where it is no comma.
_BETWEEN = {"x-robots-tag": "\n"}


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a URL named.

    :param url: where it was found in the end, after redirects
    :param content: the bytes
    :param headers: those of the last answer, by their names in lower case.  None of them is to be believed.  Several of
       one name are joined by commas, but ``x-robots-tag`` by line breaks, as each may speak to another program
    """

    url: str
    content: Spool
    headers: Mapping[str, str]


class Fetcher:
    """Downloads one URL after another, keeping connections.  Threads can share it; close it, or use it in a ``with``.

    ::

        with Fetcher(FetchPolicy(max_bytes=10 * 2**20)) as fetcher:
            for url in urls:
                picture = fetcher.fetch(url)

    :param policy: what may be asked, and what it may cost
    :param connections: how many there may be at once
    """

    def __init__(self, policy: FetchPolicy | None = None, *, connections: int = 10) -> None:
        self.policy = policy or FetchPolicy()
        self._connections = Connections(self.policy, connections)

    def fetch(self, url: str) -> Fetched:
        """Download what ``url`` names.  If this raises, nothing of it is left.

        :raises InvalidTypeError: ``url`` is no string
        :raises RemoteError: it could not be had; the subclass says why
        """
        journey = Journey(url, self.policy)
        with _errors(), _within(self.policy):
            while True:
                address, headers = journey.request()
                limits = budget.get()
                limits.begin_head()
                with self._connections.ask(address, headers) as response:
                    limits.begin_body()
                    found = _headers(response, self.policy)
                    if not journey.follow(response.status, found):
                        return Fetched(journey.url, _read(response, found, self.policy), found)

    def close(self) -> None:
        self._connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncFetcher:
    """:class:`Fetcher` for event loops.

    ::

        async with AsyncFetcher() as fetcher:
            picture = await fetcher.fetch(url)
    """

    def __init__(self, policy: FetchPolicy | None = None, *, connections: int = 10) -> None:
        self.policy = policy or FetchPolicy()
        self._connections = AsyncConnections(self.policy, connections)

    async def fetch(self, url: str) -> Fetched:
        """:meth:`Fetcher.fetch`, to be awaited."""
        journey = Journey(url, self.policy)
        with _errors(), _within(self.policy):
            while True:
                address, headers = journey.request()
                limits = budget.get()
                limits.begin_head()
                async with self._connections.ask(address, headers) as response:
                    limits.begin_body()
                    found = _headers(response, self.policy)
                    if not journey.follow(response.status, found):
                        return Fetched(journey.url, await _aread(response, found, self.policy), found)

    async def aclose(self) -> None:
        await self._connections.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def fetch(url: str, policy: FetchPolicy | None = None) -> Fetched:
    """Download what ``url`` names, asking public addresses only.  If this raises, nothing of it is left.

    ::

        picture = fetch("https://images.example.com/portrait.jpg", FetchPolicy(max_bytes=10 * 2**20))

    :param url: an ``http:`` or ``https:`` URL without user name and password
    :param policy: what may be asked, and what it may cost
    :raises InvalidTypeError: ``url`` is no string
    :raises RemoteAddressError: it names nothing that may be asked, or nobody answers there
    :raises RemoteTimeoutError: it took longer than the policy allows
    :raises RemoteTooLongError: there are more bytes than the policy allows
    :raises RemoteStatusError: the server answered by another status than 200
    :raises RemoteAnswerError: the answer is broken, ends in the middle, or redirects too often
    """
    with Fetcher(policy, connections=1) as fetcher:
        return fetcher.fetch(url)


async def afetch(url: str, policy: FetchPolicy | None = None) -> Fetched:
    """:func:`fetch`, to be awaited."""
    async with AsyncFetcher(policy, connections=1) as fetcher:
        return await fetcher.fetch(url)


def _read(response: httpcore.Response, headers: Mapping[str, str], policy: FetchPolicy) -> Spool:
    body = Body(headers, policy)
    try:
        for chunk in response.iter_stream():
            body.feed(chunk)
        return body.end()
    finally:
        body.close()


async def _aread(response: httpcore.Response, headers: Mapping[str, str], policy: FetchPolicy) -> Spool:
    body = Body(headers, policy)
    try:
        async for chunk in response.aiter_stream():
            body.feed(chunk)
        return body.end()
    finally:
        body.close()


def _headers(response: httpcore.Response, policy: FetchPolicy) -> dict[str, str]:
    if sum(len(name) + len(value) + 4 for name, value in response.headers) > policy.max_header_bytes:
        raise RemoteAnswerError(reason="broken-answer")  # it came with one read, which may be longer
    found: dict[str, str] = {}
    for name, value in response.headers:
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        found[key] = f"{found[key]}{_BETWEEN.get(key, ', ')}{text}" if key in found else text
    return found


@contextmanager
def _within(policy: FetchPolicy) -> Iterator[None]:
    token = budget.set(Budget(time.monotonic() + policy.max_seconds, policy.max_header_bytes, policy.max_bytes))
    try:
        yield
    finally:
        budget.reset(token)


@contextmanager
def _errors() -> Iterator[None]:
    """What went wrong, in words that tell a visitor nothing of the inside; the rest is their cause."""
    try:
        yield
    except (RefusedAddress, httpcore.ConnectError) as error:
        # in one: whether there is such a name, and whether anybody listens there, is nobody's business
        refused = RemoteAddressError()
        refused.may_be_tried_again = not isinstance(error, RefusedAddress)
        raise refused from error
    except httpcore.TimeoutException as error:
        raise RemoteTimeoutError from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError) as error:
        raise RemoteAnswerError(reason="broken-answer") from error
