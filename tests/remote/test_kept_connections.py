"""Connections that are kept, and closed to make room for others, while many threads fetch from many hosts."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpcore
import pytest

from sqlalchemy_imageattach.errors import RemoteError
from sqlalchemy_imageattach.remote import AsyncFetcher, Fetched, Fetcher, FetchPolicy, keeping
from sqlalchemy_imageattach.remote.keeping import _Shelf

from .servers import Answer, ok, server

BODY = bytes(2000)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)

    def log_message(self, *_: object) -> None: ...


class _Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def handle_error(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with _Server(("0.0.0.0", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_no_download_fails_when_idle_connections_make_room_for_others(port: int) -> None:
    # all of 127.0.0.0/8 is this machine, and each of its addresses is a host of its own
    urls = [f"http://127.0.0.{number % 40 + 1}:{port}/{number}" for number in range(3000)]
    policy = FetchPolicy(allow_private=True, wait_seconds=30)
    with Fetcher(policy, connections=8) as fetcher, ThreadPoolExecutor(24) as pool:
        assert {fetched.content.byte_size for fetched in pool.map(fetcher.fetch, urls)} == {len(BODY)}


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def fetch_each(request: pytest.FixtureRequest) -> Callable[..., list[Fetched | RemoteError]]:
    """Fetches these by one fetcher, one after another."""
    policy = FetchPolicy(allow_private=True, max_seconds=20)

    def one_by_one(*urls: str, connections: int = 4) -> list[Fetched | RemoteError]:
        found: list[Fetched | RemoteError] = []
        with Fetcher(policy, connections=connections) as fetcher:
            for url in urls:
                try:
                    found.append(fetcher.fetch(url))
                except RemoteError as error:
                    found.append(error)
        return found

    async def one_by_one_async(*urls: str, connections: int = 4) -> list[Fetched | RemoteError]:
        found: list[Fetched | RemoteError] = []
        async with AsyncFetcher(policy, connections=connections) as fetcher:
            for url in urls:
                try:
                    found.append(await fetcher.fetch(url))
                except RemoteError as error:
                    found.append(error)
        return found

    return (lambda *urls, **options: asyncio.run(one_by_one_async(*urls, **options))) if request.param else one_by_one


def _bodies(found: list[Fetched | RemoteError]) -> list[bytes]:
    assert not [each for each in found if isinstance(each, RemoteError)]
    return [each.content.open().read() for each in found if isinstance(each, Fetched)]


def test_one_connection_serves_a_host_as_long_as_it_stays_open(fetch_each: Callable[..., Any]) -> None:
    with server({"/": ok(b"first"), "/more": ok(b"second")}) as web:
        assert _bodies(fetch_each(f"{web.url}/", f"{web.url}/more", f"{web.url}/")) == [b"first", b"second", b"first"]
    assert web.connections == 1


def test_what_a_server_does_not_want_to_be_kept_is_not_kept(fetch_each: Callable[..., Any]) -> None:
    with server({"/": ok(b"picture", "Connection: close")}) as web:
        _bodies(fetch_each(f"{web.url}/", f"{web.url}/"))
    assert web.connections == 2


def test_a_connection_that_its_server_closes_just_as_it_is_asked_is_no_failure(fetch_each: Callable[..., Any]) -> None:
    with server({}) as web:

        def only_the_first(_: str, connection: socket.socket) -> None:
            asked = len(web.asked)
            if asked == 2:  # as a server does whose patience is over, without having seen the request
                connection.shutdown(socket.SHUT_RDWR)
            else:
                connection.sendall(ok(b"picture"))

        web.answers["/"] = only_the_first
        assert _bodies(fetch_each(f"{web.url}/", f"{web.url}/")) == [b"picture", b"picture"]
    assert web.connections == 2


def test_what_has_no_answer_is_not_asked_by_each_connection_that_is_kept() -> None:
    together = threading.Barrier(4)

    def all_at_once(_: str, connection: socket.socket) -> None:
        together.wait(20)
        connection.sendall(ok(b"picture"))

    answers: dict[str, bytes | Answer] = {
        "/": all_at_once,
        "/gone": lambda _, connection: connection.shutdown(socket.SHUT_RDWR),
    }
    with server(answers) as web, Fetcher(FetchPolicy(allow_private=True), connections=4) as fetcher:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(fetcher.fetch, [f"{web.url}/"] * 4))
        with pytest.raises(RemoteError, match="broken-answer"):
            fetcher.fetch(f"{web.url}/gone")
        assert (web.connections, len(web.asked)) == (5, 6)


def test_a_new_connection_without_an_answer_is_one(fetch_each: Callable[..., Any]) -> None:
    with server({"/": lambda _, connection: connection.shutdown(socket.SHUT_RDWR)}) as web:
        assert [error.params["reason"] for error in fetch_each(f"{web.url}/")] == ["broken-answer"]
    assert len(web.asked) == 1


def test_a_kept_connection_that_breaks_in_the_middle_of_its_answer_is_not_asked_again(
    fetch_each: Callable[..., Any],
) -> None:
    def half(_: str, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200")
        connection.shutdown(socket.SHUT_RDWR)

    with server({"/": ok(b"picture"), "/half": half}) as web:
        whole, broken = fetch_each(f"{web.url}/", f"{web.url}/half")
    assert isinstance(whole, Fetched)
    assert broken.params["reason"] == "broken-answer"
    assert len(web.asked) == 2


def test_there_are_never_more_connections_than_allowed(fetch_each: Callable[..., Any]) -> None:
    with server({"/": ok(b"picture")}) as web:
        # the same server by three names, of which two can be kept
        urls = [web.url.replace("localhost", name) + "/" for name in ("localhost", "127.0.0.1", "127.0.0.2")]
        found = fetch_each(*urls[:2], urls[0], connections=2)
        assert web.connections == 2
        found += fetch_each(*urls[:2], urls[2].replace("127.0.0.2", "localhost."), urls[0], connections=1)
    _bodies(found)


def test_a_connection_waits_behind_those_of_other_hosts_until_there_is_room() -> None:
    shelf: _Shelf[Any] = _Shelf(2)
    first, second = _Idle(), _Idle()
    one, other, third = (b"http", b"one", 80), (b"http", b"other", 80), (b"http", b"third", 80)
    assert shelf.take(one) == shelf.take(other) == (None, [])
    assert shelf.put(one, first) == shelf.put(other, second) == []
    assert shelf.take(third) == (None, [first])  # the one that has waited longest
    assert shelf.take(other) == (second, [])
    assert shelf.put(other, None) == []  # it could not be made


def test_a_connection_that_nobody_asks_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf: _Shelf[Any] = _Shelf(9)
    first, second, now = _Idle(), _Idle(), 100.0
    monkeypatch.setattr("sqlalchemy_imageattach.remote.keeping.time.monotonic", lambda: now)
    one, other = (b"http", b"one", 80), (b"http", b"other", 80)
    shelf.take(one)
    shelf.take(one)
    shelf.put(one, first)
    now = 104.0
    shelf.put(one, second)
    now = 106.0
    assert shelf.take(other) == (None, [first])
    assert shelf.close() == [second]
    assert shelf.put(other, first) == [first]


class _Idle:
    def is_available(self) -> bool:
        return True

    def has_expired(self) -> bool:
        return False


def test_closing_a_fetcher_leaves_what_is_under_way_to_its_end() -> None:
    closed = threading.Event()

    def slow(_: str, connection: socket.socket) -> None:
        answer = ok(b"picture")
        connection.sendall(answer[:-1])
        closed.wait(10)
        connection.sendall(answer[-1:])

    with server({"/": slow}) as web, ThreadPoolExecutor(1) as pool:
        fetcher = Fetcher(FetchPolicy(allow_private=True))
        under_way = pool.submit(fetcher.fetch, f"{web.url}/")
        while not web.asked:
            pass
        fetcher.close()
        closed.set()
        assert under_way.result().content.byte_size == 7


def test_certificates_are_read_once_for_all_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    def make() -> ssl.SSLContext:
        made.append(1)
        return ssl.create_default_context()

    monkeypatch.setattr(httpcore, "default_ssl_context", make)
    with Fetcher(FetchPolicy(allow_private=True)) as fetcher, server({}) as web:
        for _ in range(3):
            with pytest.raises(RemoteError):
                fetcher.fetch(web.url.replace("http:", "https:"))
    assert made == [1]


def test_what_was_sent_before_it_was_asked_for_is_no_answer(fetch_each: Callable[..., Any]) -> None:
    with server({}) as web:

        def answer(head: str, connection: socket.socket) -> None:
            path = head.split()[1]
            more = ok(b"evil") if path == "/first" else b""
            connection.sendall(ok(path.encode()) + more)

        web.answers |= dict.fromkeys(("/first", "/second", "/third"), answer)
        paths = ["/first", "/second", "/third"]
        assert _bodies(fetch_each(*[web.url + path for path in paths])) == [path.encode() for path in paths]
    assert web.connections == 2


def test_what_is_to_be_closed_is_closed_when_its_request_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "_KEPT", 0.05)
    closed: list[object] = []
    close = httpcore.AsyncHTTPConnection.aclose

    async def aclose(self: httpcore.AsyncHTTPConnection) -> None:
        closed.append(self)
        try:
            await asyncio.sleep(0)  # here the first one is cancelled
        finally:
            await close(self)

    monkeypatch.setattr(httpcore.AsyncHTTPConnection, "aclose", aclose)

    async def fetch(urls: list[str]) -> None:
        async with AsyncFetcher(FetchPolicy(allow_private=True), connections=8) as fetcher:
            for url in urls:
                await fetcher.fetch(url)
            shelf = fetcher._connections._shelf
            kept = list(shelf._waiting)
            assert len(kept) == len(urls)
            await asyncio.sleep(0.1)
            task = asyncio.create_task(fetcher.fetch(urls[0]))
            while shelf._waiting:
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert set(closed) >= set(kept)

    with ExitStack() as servers:
        webs = [servers.enter_context(server({"/": ok(b"picture")})) for _ in range(5)]
        asyncio.run(fetch([f"{web.url}/" for web in webs]))
