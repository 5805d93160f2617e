"""Downloads by both doors, from servers that mean well and from those that do not."""

from __future__ import annotations

import asyncio
import gzip
import pickle
import socket
import ssl
import threading
import time
import traceback
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sqlalchemy_imageattach.errors import (
    InvalidTypeError,
    InvalidValueError,
    RemoteAddressError,
    RemoteAnswerError,
    RemoteError,
    RemoteStatusError,
    RemoteTimeoutError,
    RemoteTooLongError,
)
from sqlalchemy_imageattach.remote import AsyncFetcher, Fetched, Fetcher, FetchPolicy, afetch, fetch

from .servers import certificate, ok, redirect, server

INSIDE = FetchPolicy(allow_private=True, max_bytes=100_000)

Door = Callable[..., Fetched]


def by_event_loop(url: str, policy: FetchPolicy | None = None) -> Fetched:
    return asyncio.run(afetch(url, policy))


@pytest.fixture(params=[fetch, by_event_loop], ids=["sync", "async"])
def door(request: pytest.FixtureRequest) -> Door:
    return request.param


def blob(found: Fetched) -> bytes:
    with found.content.open() as file:
        return file.read()


def test_a_picture_is_fetched_with_its_headers(door: Door) -> None:
    with server({"/a.png?size=1%202": ok(b"picture", "X-Robots-Tag: noai", "ETag: 1")}) as running:
        found = door(f"{running.url}/a.png?size=1 2".replace(" ", "%20"), INSIDE)
    assert (blob(found), found.url) == (b"picture", f"{running.url}/a.png?size=1%202")
    assert found.headers["x-robots-tag"] == "noai"
    assert f"Host: localhost:{running.port}\r\n" in running.asked[0]
    assert "Accept-Encoding: identity\r\n" in running.asked[0]


def test_a_long_picture_is_not_held_in_memory_and_arrives_whole(door: Door) -> None:
    body = bytes(range(256)) * 50_000
    with server({"/": ok(body)}) as running:
        assert blob(door(running.url, replace(INSIDE, max_bytes=len(body)))) == body


def test_a_name_beyond_ascii_is_asked_in_its_ascii_form(door: Door) -> None:
    asked = []

    def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    policy = replace(INSIDE, resolve=resolve)
    with server({"/%C3%A4.png": ok(b"x")}) as running:
        assert blob(door(f"http://bücher.example:{running.port}/ä.png", policy)) == b"x"
    assert asked == ["xn--bcher-kva.example"]
    assert f"Host: xn--bcher-kva.example:{running.port}" in running.asked[0]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "images/a.png",
        "//example.com/a.png",
        "file:///etc/passwd",
        "ftp://example.com/a.png",
        "gopher://example.com/",
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
        "http:",
        "http:///a.png",
        "http://user@example.com/",
        "http://user:secret@example.com/",
        "http://@example.com/",
        "http://example.com@127.0.0.1/",
        "http://example.com:80@127.0.0.1/",
        "http://127.0.0.1\\@example.com/",
        "http://example.com\\.evil.example/",
        "http://exam ple.com/",
        "http://example.com/a\r\nHost: evil",
        "http://example.com/\ta",
        "\nhttp://example.com/",
        "http://example.com\x00.evil.example/",
        "http://example.com:99999/",
        "http://example.com:0/",
        "http://example.com:8o/",
        "http://[::1/",
        "http://::1/",
        "http://[not:an:address]/",
        "http://exa%6dple.com/",
        "http://%31%32%37.0.0.1/",
        f"http://{'a' * 64}.example/",
        f"http://example.com/{'a' * 9000}",
    ],
)
def test_what_is_no_url_of_a_web_server_is_refused_without_a_request(door: Door, url: str) -> None:
    def resolve(host: str, port: int) -> list[str]:
        raise AssertionError(host)

    with pytest.raises(RemoteAddressError):
        door(url, replace(INSIDE, resolve=resolve))


def test_what_is_no_string_is_an_error_of_the_program(door: Door) -> None:
    with pytest.raises(InvalidTypeError, match=r"expected a URL \(str\), got bytes"):
        door(b"http://example.com/", INSIDE)


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0",
     "LOCALHOST", "localhost.", "[::ffff:7f00:1]"],
)  # fmt: skip
def test_no_spelling_of_this_machine_is_asked(door: Door, host: str) -> None:
    with server({"/": ok(b"secret")}) as running:
        with pytest.raises(RemoteAddressError):
            door(f"http://{host}:{running.port}/")
        assert running.connections == 0


def test_the_address_that_was_checked_is_the_one_that_is_asked(door: Door) -> None:
    # a name server that says something else each time: the second answer is never heard
    answers = iter([["93.184.216.34"], ["127.0.0.1"], ["127.0.0.1"]])
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return next(answers)

    with server({"/": ok(b"secret")}) as running:
        with pytest.raises(RemoteError):  # nobody answers there, or this machine cannot reach it at all
            door(f"http://rebinding.example:{running.port}/", FetchPolicy(resolve=resolve, max_seconds=2))
        assert running.connections == 0
    assert asked == ["rebinding.example"]


def test_a_name_with_one_address_inside_is_not_asked(door: Door) -> None:
    with server({"/": ok(b"secret")}) as running:
        policy = FetchPolicy(resolve=lambda host, port: ["93.184.216.34", "127.0.0.1"])
        with pytest.raises(RemoteAddressError):
            door(f"http://both.example:{running.port}/", policy)
        assert running.connections == 0


@pytest.mark.parametrize(
    "location",
    ["http://169.254.169.254/latest/meta-data/", "file:///etc/passwd", "http://user@public.example/", "//127.0.0.2/",
     "http://[fd00:ec2::254]/", "ftp://public.example/", "http://[::1", "gopher://127.0.0.1:6379/_FLUSHALL"],
)  # fmt: skip
def test_where_a_redirect_leads_is_checked_as_the_first_url_was(door: Door, location: str, monkeypatch) -> None:
    # the first server counts as public here, the others do not
    monkeypatch.setattr("sqlalchemy_imageattach.remote.connection.public_addresses", _only_first)
    with server({"/": redirect(location)}) as running:
        with pytest.raises(RemoteAddressError):
            door(f"http://127.0.0.1:{running.port}/", FetchPolicy(max_seconds=5))
        assert len(running.asked) == 1


def _only_first(addresses: list[str]) -> list[str]:
    return addresses if addresses == ["127.0.0.1"] else []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_relative_ones_too(door: Door, status: int) -> None:
    with server({"/a/b": redirect("../c?d#e", status), "/c?d": ok(b"found")}) as running:
        found = door(f"{running.url}/a/b", INSIDE)
    assert (blob(found), found.url) == (b"found", f"{running.url}/c?d")


@pytest.mark.parametrize(
    ("location", "asked"),
    [
        ("/a b.png", "/a%20b.png"),
        ("/ä.png", "/%C3%A4.png"),  # as it is written by servers, and read by browsers
        ("/%C3%A4 ö.png", "/%C3%A4%20%C3%B6.png"),
        ("//localhost:{port}/c.png", "/c.png"),
    ],
)
def test_where_a_redirect_leads_is_read_as_browsers_read_it(door: Door, location: str, asked: str) -> None:
    with server({asked: ok(b"found")}) as running:
        running.answers["/"] = redirect(location.format(port=running.port))
        assert blob(door(f"{running.url}/", INSIDE)) == b"found"


def test_redirects_end_after_five(door: Door) -> None:
    answers: dict[str, Any] = {f"/{n}": redirect(f"/{n + 1}") for n in range(7)}
    with server({**answers, "/5": ok(b"x")}) as running:
        assert blob(door(f"{running.url}/0", INSIDE)) == b"x"
    with server(answers) as running:
        with pytest.raises(RemoteAnswerError, match="too-many-redirects") as caught:
            door(f"{running.url}/0", INSIDE)
        assert len(running.asked) == 6
    assert caught.value.params == {"reason": "too-many-redirects", "limit": 5}


def test_a_length_beyond_the_limit_is_refused_before_a_byte_is_taken(door: Door) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\n"
    with server({"/": answer}) as running, pytest.raises(RemoteTooLongError, match="at most 100000 bytes"):
        door(running.url, INSIDE)


def test_an_endless_body_ends_at_the_limit(door: Door) -> None:
    sent = 0

    def endless(_head: str, connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"10000\r\n" + bytes(0x10000) + b"\r\n")
            sent += 0x10000

    with server({"/": endless}) as running, pytest.raises(RemoteTooLongError):
        door(running.url, INSIDE)
    assert sent < 50 * 2**20  # what the buffers of the kernel took besides


@pytest.mark.parametrize(
    "tail", [b"", b"\r\n", b"X: " + bytes(range(65, 91)) * 4000], ids=["no end", "end", "one long line"]
)
def test_a_head_without_end_is_not_read_on(door: Door, tail: bytes) -> None:
    lines = b"".join(b"X-%d: %d\r\n" % (n, n) for n in range(20_000))
    with server({"/": b"HTTP/1.1 200 OK\r\n" + lines + tail}) as running, pytest.raises(RemoteAnswerError):
        door(running.url, INSIDE)


def test_a_body_that_comes_with_the_end_of_the_head_is_no_part_of_the_head(door: Door) -> None:
    body = bytes(500_000)

    def in_two(_head: str, connection: socket.socket) -> None:
        head, rest = ok(body).split(b"\r\n", 1)
        connection.sendall(head + b"\r\n")
        time.sleep(0.1)
        connection.sendall(rest)

    policy = replace(INSIDE, max_bytes=len(body))
    with server({"/": in_two, "/at-once": ok(body)}) as running:
        assert blob(door(running.url, policy)) == body
        assert blob(door(f"{running.url}/at-once", replace(policy, max_header_bytes=1000))) == body


def test_a_head_that_comes_at_once_can_be_too_long_as_well(door: Door) -> None:
    answer = ok(b"picture", f"X: {'a' * 2000}")
    with server({"/": answer}) as running, pytest.raises(RemoteAnswerError):
        door(running.url, replace(INSIDE, max_header_bytes=1000))


@pytest.mark.parametrize("extension", [b";" + b"a" * 15_000, b""], ids=["extensions", "one byte each"])
def test_a_body_of_chunks_that_are_mostly_about_themselves_ends(door: Door, extension: bytes) -> None:
    sent = 0

    def endless(_head: str, connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"1" + extension + b"\r\nx\r\n"
        while True:
            connection.sendall(chunk * (100_000 // len(chunk)))
            sent += 1

    with server({"/": endless}) as running, pytest.raises(RemoteTooLongError, match="at most 100000 bytes"):
        door(running.url, INSIDE)


def test_answers_before_the_answer_count_too(door: Door) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    with server({"/": early * 3 + ok(b"x"), "/more": early * 10_000 + ok(b"x")}) as running:
        assert blob(door(running.url, INSIDE)) == b"x"
        with pytest.raises(RemoteAnswerError):
            door(f"{running.url}/more", INSIDE)


def _slowly(data: bytes) -> Callable[[str, socket.socket], None]:
    def answer(_head: str, connection: socket.socket) -> None:
        for n in range(len(data)):
            connection.sendall(data[n : n + 1])
            time.sleep(0.02)

    return answer


@pytest.mark.parametrize(
    "answer",
    [_slowly(ok(bytes(10_000))), _slowly(b"HTTP/1.1 200 OK\r\nX: " + bytes(10_000))],
    ids=["body", "head"],
)
def test_the_time_is_that_of_the_whole_download_not_of_each_byte(door: Door, answer: Any) -> None:
    policy = replace(INSIDE, max_seconds=0.5, wait_seconds=60)
    with server({"/": answer}) as running, pytest.raises(RemoteTimeoutError):
        door(running.url, policy)


def test_redirects_do_not_start_the_time_anew(door: Door) -> None:
    def slowly(_head: str, connection: socket.socket) -> None:
        time.sleep(0.2)
        connection.sendall(redirect("/"))

    with server({"/": slowly}) as running, pytest.raises(RemoteTimeoutError):
        door(running.url, replace(INSIDE, max_seconds=0.5, max_redirects=1000))


def test_a_silent_server_is_left_after_the_wait(door: Door) -> None:
    with server({"/": lambda _head, _connection: time.sleep(3)}) as running, pytest.raises(RemoteTimeoutError):
        door(running.url, replace(INSIDE, wait_seconds=0.2))


def test_a_name_server_that_does_not_answer_is_left_when_the_time_is_over(door: Door) -> None:
    released = threading.Event()

    def resolve(_host: str, _port: int) -> list[str]:
        released.wait(20)
        return ["127.0.0.1"]

    policy = replace(INSIDE, max_seconds=0.3, resolve=resolve)
    if door is by_event_loop:  # the loop waits for its threads at its end
        threading.Timer(1, released.set).start()
    with pytest.raises(RemoteTimeoutError):
        door("http://slow.example/", policy)
    released.set()


def test_a_handshake_that_trickles_ends_with_the_time(door: Door) -> None:
    def trickle() -> None:
        connection, _ = listener.accept()
        try:
            connection.recv(10_000)
            for byte in b"\x16\x03\x03\x40\x00" + bytes(0x4000):
                connection.sendall(bytes([byte]))
                time.sleep(0.02)
        except OSError:
            pass
        finally:
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=trickle, daemon=True)
        thread.start()
        with pytest.raises(RemoteError):
            door(f"https://localhost:{listener.getsockname()[1]}/", replace(INSIDE, max_seconds=0.5))
        thread.join()


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_a_compressed_answer_is_decompressed_within_the_limit(door: Door, encoding: str, pack: Any) -> None:
    whole, bomb = pack(b"picture" * 1000), pack(bytes(50_000_000))
    header = f"Content-Encoding: {encoding}"
    with server({"/": ok(whole, header), "/bomb": ok(bomb, header), "/cut": ok(whole[:-9], header)}) as running:
        assert blob(door(running.url, INSIDE)) == b"picture" * 1000
        with pytest.raises(RemoteTooLongError):
            door(f"{running.url}/bomb", INSIDE)
        with pytest.raises(RemoteAnswerError, match="broken-encoding"):
            door(f"{running.url}/cut", INSIDE)


def test_an_answer_that_is_compressed_in_several_parts_is_whole(door: Door) -> None:
    parts, header = gzip.compress(b"pic" * 9) + gzip.compress(b"ture"), "Content-Encoding: gzip"

    def byte_by_byte(_head: str, connection: socket.socket) -> None:
        connection.sendall(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{header}\r\n\r\n".encode())
        connection.sendall(b"".join(b"1\r\n%c\r\n" % each for each in parts) + b"0\r\n\r\n")

    with server({"/": ok(parts, header), "/slow": byte_by_byte, "/cut": ok(parts[:-9], header)}) as running:
        running.answers["/padded"] = ok(parts + bytes(9), header)
        assert blob(door(running.url, INSIDE)) == b"pic" * 9 + b"ture"
        assert blob(door(f"{running.url}/padded", INSIDE)) == b"pic" * 9 + b"ture"
        assert blob(door(f"{running.url}/slow", INSIDE)) == b"pic" * 9 + b"ture"
        with pytest.raises(RemoteAnswerError, match="broken-encoding"):
            door(f"{running.url}/cut", INSIDE)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress", "x"])
def test_an_encoding_that_nobody_asked_for_is_refused(door: Door, encoding: str) -> None:
    answer = ok(b"x", f"Content-Encoding: {encoding}")
    with server({"/": answer}) as running, pytest.raises(RemoteAnswerError, match="unknown-encoding"):
        door(running.url, INSIDE)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nwhole",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"220 mail.example ESMTP\r\n",
        b"",
        b"\0" * 1000,
    ],
)
def test_an_answer_that_is_broken_gives_nothing(door: Door, answer: bytes) -> None:
    def once(_head: str, connection: socket.socket) -> None:
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_RDWR)

    with server({"/": once}) as running, pytest.raises(RemoteAnswerError):
        door(running.url, INSIDE)


@pytest.mark.parametrize("status", [100 + 104, 206, 304, 400, 404, 418, 429, 500, 503, 302])
def test_another_status_is_an_error_that_tells_it(door: Door, status: int) -> None:
    answer = f"HTTP/1.1 {status} No\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n".encode()
    with server({"/": answer}) as running, pytest.raises(RemoteStatusError) as caught:
        door(running.url, INSIDE)
    assert caught.value.params == {"status": status, "retry_after": "7"}


def test_ports_can_be_limited(door: Door) -> None:
    with server({"/": ok(b"x")}) as running:
        assert blob(door(running.url, replace(INSIDE, ports={running.port}))) == b"x"
        with pytest.raises(RemoteAddressError):
            door(running.url, replace(INSIDE, ports={80, 443}))


def test_proxies_of_the_environment_are_not_asked(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    with server({"/": ok(b"direct")}) as running, server({}) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert blob(door(running.url, INSIDE)) == b"direct"
        assert proxy.connections == 0


def test_a_proxy_is_asked_if_it_is_named(door: Door) -> None:
    with server({"http://public.example/a.png": ok(b"by proxy")}) as proxy:
        policy = FetchPolicy(proxy=proxy.url)
        assert blob(door("http://public.example/a.png", policy)) == b"by proxy"


def test_the_certificate_is_checked_against_the_name_that_was_asked(door: Door, tmp_path: Path) -> None:
    chain, key = certificate(tmp_path, "pictures.example")
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(chain, key)
    names: list[str | None] = []
    serving.sni_callback = lambda _socket, name, _context: names.append(name)
    believing = ssl.create_default_context(cafile=str(chain))
    policy = replace(INSIDE, ssl_context=believing, resolve=lambda host, port: ["127.0.0.1"])
    with server({"/": ok(b"safe")}, serving) as running:
        assert blob(door(f"https://pictures.example:{running.port}/", policy)) == b"safe"
        for wrong in ("other.example", "127.0.0.1"):
            with pytest.raises(RemoteAddressError):
                door(f"https://{wrong}:{running.port}/", policy)
        with pytest.raises(RemoteAddressError):  # nobody has signed it
            door(f"https://pictures.example:{running.port}/", replace(policy, ssl_context=None))
        assert names[0] == "pictures.example"
        assert len(running.asked) == 1


def test_messages_tell_nothing_of_the_inside(door: Door) -> None:
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    texts = set()
    for url, policy in (
        (f"http://localhost:{port}/", INSIDE),  # nobody listens
        (f"http://localhost:{port}/", FetchPolicy()),  # may not be asked
        ("http://no-such-name.invalid/", FetchPolicy()),
    ):
        with pytest.raises(RemoteAddressError) as caught:
            door(url, policy)
        texts.add(str(caught.value))
        assert "".join(traceback.format_exception(caught.value.__cause__)), "the log has what happened"
    assert len(texts) == 1
    assert "127" not in texts.pop()


def test_a_client_keeps_its_connections_and_can_go_on_after_an_error() -> None:
    answers: Any = {"/": ok(b"x"), "/cut": b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n"}
    with server(answers) as running, Fetcher(INSIDE) as fetcher:
        for _ in range(5):
            assert blob(fetcher.fetch(running.url)) == b"x"
        assert running.connections == 1
        with pytest.raises(RemoteTooLongError):
            fetcher.fetch(f"{running.url}/cut")
        assert blob(fetcher.fetch(running.url)) == b"x"


def test_many_downloads_run_at_once_each_with_its_own_time() -> None:
    def late(_head: str, connection: socket.socket) -> None:
        time.sleep(0.05)
        connection.sendall(ok(b"x"))

    async def all_of_them(url: str) -> list[Any]:
        async with AsyncFetcher(INSIDE, connections=8) as fetcher:
            return await asyncio.gather(*(fetcher.fetch(url) for _ in range(24)), return_exceptions=True)

    with server({"/": late}) as running:
        assert [blob(each) for each in asyncio.run(all_of_them(running.url))] == [b"x"] * 24
        assert running.connections == 8


@pytest.mark.parametrize(
    ("option", "error"),
    [
        ({"max_bytes": 0}, InvalidValueError),
        ({"max_bytes": "1"}, InvalidTypeError),
        ({"max_seconds": 0}, InvalidValueError),
        ({"max_seconds": float("nan")}, InvalidValueError),
        ({"max_redirects": -1}, InvalidValueError),
        ({"wait_seconds": True}, InvalidTypeError),
        ({"resolve": None}, InvalidTypeError),
        ({"allow_private": 1}, InvalidTypeError),
    ],
)
def test_a_policy_that_cannot_be_is_refused(option: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(option))):
        FetchPolicy(**option)


@pytest.mark.parametrize(
    "error",
    [
        RemoteAddressError(),
        RemoteTimeoutError(),
        RemoteTooLongError(limit=5),
        RemoteStatusError(status=503, retry_after="7"),
        RemoteAnswerError(reason="x", limit=5),
    ],
)
def test_errors_can_be_sent_to_another_process(error: RemoteError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.__dict__) == (type(error), str(error), error.__dict__)
    assert isinstance(error, OSError)
