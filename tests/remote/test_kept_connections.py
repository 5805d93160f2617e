"""Connections that are kept, and closed to make room for others, while many threads fetch from many hosts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpcore
import pytest

from sqlalchemy_imageattach.errors import RemoteAnswerError
from sqlalchemy_imageattach.remote import Fetcher, FetchPolicy
from sqlalchemy_imageattach.remote.connection import ClosedHere, GuardedBackend, _Stream

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


class _Closing(httpcore.NetworkStream):
    """Is closed by the pool while somebody reads."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = list(answers)
        self.stream = _Stream(self)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._answers:
            return self._answers.pop(0)
        self.stream.close()
        return b""

    def write(self, buffer: bytes, timeout: float | None = None) -> None: ...

    def close(self) -> None: ...

    def get_extra_info(self, info: str) -> object:
        return None


def _connect_to_closing(monkeypatch: pytest.MonkeyPatch, *closing: _Closing) -> None:
    """Have the next connections be these, and then real ones."""
    streams, connect = list(closing), GuardedBackend.connect_tcp

    def connect_tcp(*args: object, **options: object) -> httpcore.NetworkStream:
        return streams.pop(0).stream if streams else connect(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(GuardedBackend, "connect_tcp", connect_tcp)


def test_what_was_closed_before_its_answer_is_asked_again(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    _connect_to_closing(monkeypatch, _Closing(), _Closing(), _Closing(b"HTTP/1.1 200"))
    with Fetcher(FetchPolicy(allow_private=True)) as fetcher:
        assert fetcher.fetch(f"http://127.0.0.1:{port}/").content.byte_size == len(BODY)


def test_what_was_closed_in_the_middle_of_its_answer_is_told(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    _connect_to_closing(monkeypatch, _Closing(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"))
    with Fetcher(FetchPolicy(allow_private=True)) as fetcher, pytest.raises(RemoteAnswerError) as caught:
        fetcher.fetch(f"http://127.0.0.1:{port}/")
    assert isinstance(caught.value.__cause__, ClosedHere)
