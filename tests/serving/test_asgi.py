"""What is different at the door for ASGI: the event loop, and the scope.  What both doors do is in ``test_wsgi.py``."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette

from sqlalchemy_imageattach.errors import InvalidTypeError, InvalidValueError, StoreError, UnknownHostError
from sqlalchemy_imageattach.serving.answer import Answer, Body, message
from sqlalchemy_imageattach.serving.asgi import RequestUrlMiddleware, StaticServerMiddleware
from sqlalchemy_imageattach.serving.endpoint import Endpoint
from sqlalchemy_imageattach.serving.lookup import Lookup
from sqlalchemy_imageattach.serving.request import Asked, Request
from sqlalchemy_imageattach.stores.fs import HttpExposedFileSystemStore

from .conformance import conforming

PICTURE = bytes(range(256)) * 1000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "1.1x1.jpe").write_bytes(PICTURE)
    return tmp_path


def http_scope(path: str, method: str = "GET", headers: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    pairs = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": pairs,
        "server": ("localhost", 80),
        **more,
    }


def get(app: Any, path: str, root_path: str = "", **headers: str) -> httpx.Response:
    """What a client of a server gets."""

    async def visit() -> httpx.Response:
        transport = httpx.ASGITransport(app, root_path=root_path)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(visit())


async def ask(
    app: Any, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]] | None = None
) -> tuple[int, bytes]:
    """Status and body; whether it speaks as ASGI has it is checked on the way."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def wait() -> Any:
        await asyncio.Event().wait()

    await conforming(app)(scope, receive or wait, send)
    return sent[0]["status"], b"".join(message["body"] for message in sent[1:])


class Answering(Endpoint):
    """An endpoint that does what it is told."""

    def __init__(self, fetch: Callable[[], Any], authorise: Any = None) -> None:
        super().__init__(authorise)
        self.fetch = fetch

    def look(self, request: Request) -> Answer | Lookup:
        return Lookup(self.fetch, Asked(None, (1,), None))


class Slow:
    """A file that is read by somebody's permission only, and in another thread than the event loop's."""

    def __init__(self, size: int) -> None:
        self.rest = size
        self.gate = threading.Semaphore(0)
        self.threads: set[int] = set()
        self.closed = False

    def read(self, size: int) -> bytes:
        self.threads.add(threading.get_ident())
        assert self.gate.acquire(timeout=60)
        block = b"x" * min(size, self.rest)
        self.rest -= len(block)
        return block

    def close(self) -> None:
        self.closed = True


def slow(file: Slow, length: int) -> Callable[[], Answer]:
    body: Any = file
    return lambda: Answer(200, [("Content-Length", str(length))], Body(body, length))


# --- the event loop --------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_the_event_loop_turns_while_a_file_is_slow() -> None:
    file = Slow(100_000)
    turned: list[int] = []

    async def turn() -> None:
        for number in range(10):
            await asyncio.sleep(0)
            turned.append(number)
        file.gate.release(10)

    answer, _ = await asyncio.gather(ask(Answering(slow(file, 100_000)).asgi, http_scope("/")), turn())
    assert answer == (200, b"x" * 100_000)
    assert len(turned) == 10
    assert threading.get_ident() not in file.threads
    assert file.closed


@pytest.mark.asyncio
async def test_what_is_looked_for_is_looked_for_in_a_thread() -> None:
    threads: list[int] = []

    def fetch() -> Answer:
        threads.append(threading.get_ident())
        return message(200)

    def authorise(request: Request, asked: Asked) -> bool:
        threads.append(threading.get_ident())
        return True

    await ask(Answering(fetch, authorise).asgi, http_scope("/"))
    assert len(threads) == 2
    assert threading.get_ident() not in threads


@pytest.mark.asyncio
async def test_a_hook_may_be_a_coroutine_function() -> None:
    async def authorise(request: Request, asked: Asked) -> bool:
        await asyncio.sleep(0)
        return request.raw["user"] == "admin"

    endpoint = Answering(lambda: message(200), authorise)
    assert (await ask(endpoint.asgi, http_scope("/", user="admin")))[0] == 200
    assert (await ask(endpoint.asgi, http_scope("/", user="guest")))[0] == 403


@pytest.mark.parametrize("answer", [None, 1, "yes", object()])
@pytest.mark.asyncio
async def test_a_hook_that_says_neither_yes_nor_no_is_an_error(answer: Any) -> None:
    endpoint = Answering(lambda: message(200), lambda request, asked: answer)
    with pytest.raises(InvalidTypeError, match="authorise: expected True or False as its result"):
        await ask(endpoint.asgi, http_scope("/"))


@pytest.mark.asyncio
async def test_a_client_that_hangs_up_ends_the_reading_and_closes_the_file() -> None:
    file = Slow(10**9)
    file.gate.release()
    hung_up = asyncio.Event()
    bodies: list[bytes] = []

    async def receive() -> Any:
        await hung_up.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            bodies.append(message["body"])
            if len(bodies) == 3:
                hung_up.set()
                await asyncio.sleep(0)
        file.gate.release()

    await Answering(slow(file, 10**9)).asgi(http_scope("/"), receive, send)
    assert len(bodies) <= 5
    assert file.closed


@pytest.mark.asyncio
async def test_a_request_that_is_cancelled_while_it_reads_closes_the_file() -> None:
    file = Slow(10**9)
    task = asyncio.create_task(ask(Answering(slow(file, 10**9)).asgi, http_scope("/")))
    while not file.threads:
        await asyncio.sleep(0)
    task.cancel()
    file.gate.release()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert file.closed


@pytest.mark.asyncio
async def test_a_body_that_ends_early_ends_the_connection() -> None:
    file = Slow(70_000)
    file.gate.release(10)
    with pytest.raises(StoreError, match="expected 100000 bytes to send, got 70000: the file ends early"):
        await ask(Answering(slow(file, 100_000)).asgi, http_scope("/"))
    assert file.closed


@pytest.mark.asyncio
async def test_a_store_that_fails_is_a_bad_gateway_and_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def fetch() -> Answer:
        raise StoreError("the disk is on fire")

    status, body = await ask(Answering(fetch).asgi, http_scope("/"))
    assert (status, body) == (502, b"BAD GATEWAY\n")
    assert "the disk is on fire" in caplog.text


# --- the scope -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mounted", [True, False])
@pytest.mark.asyncio
async def test_lifespan_is_answered_by_an_endpoint_and_handed_on_by_a_middleware(root: Path, mounted: bool) -> None:
    started: list[bool] = []

    class Lifespan:
        async def __aenter__(self) -> None:
            started.append(True)

        async def __aexit__(self, *_: object) -> None:
            started.append(False)

    app: Any = Answering(lambda: message(200)).asgi
    if not mounted:
        app = StaticServerMiddleware(Starlette(lifespan=lambda app: Lifespan()), "images", root)
    received = iter(["lifespan.startup", "lifespan.shutdown"])
    sent: list[str] = []

    async def receive() -> Any:
        return {"type": next(received)}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert started == ([] if mounted else [True, False])


@pytest.mark.asyncio
async def test_a_web_socket_is_closed() -> None:
    sent: list[str] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await Answering(lambda: message(200)).asgi({"type": "websocket", "path": "/"}, send, send)  # type: ignore[arg-type]
    assert sent == ["websocket.close"]


def test_is_mounted_in_an_application(root: Path) -> None:
    app = FastAPI()
    app.mount("/pictures", StaticServerMiddleware(Starlette(), "/", root))
    outer = Starlette()
    outer.mount("/outer", app)
    assert get(app, "/pictures/1.1x1.jpe").content == PICTURE
    assert get(outer, "/outer/pictures/1.1x1.jpe").content == PICTURE


def test_a_server_behind_a_path_is_mounted_below_it(root: Path) -> None:
    app = StaticServerMiddleware(Starlette(), "images", root)
    assert get(app, "/shop/images/1.1x1.jpe", "/shop").content == PICTURE
    assert get(app, "/images/1.1x1.jpe", "/shop").content == PICTURE
    assert get(app, "/images/1.1x1.jpe", "/im").content == PICTURE


@pytest.mark.asyncio
async def test_a_header_that_comes_twice_counts_as_one_list(root: Path) -> None:
    app = StaticServerMiddleware(Starlette(), "images", root)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        tag = (await client.get("/images/1.1x1.jpe")).headers["ETag"]
        headers = [("If-None-Match", '"other"'), ("If-None-Match", tag)]
        assert (await client.get("/images/1.1x1.jpe", headers=headers)).status_code == 304


@pytest.mark.asyncio
async def test_the_middleware_speaks_as_asgi_has_it(root: Path) -> None:
    app = StaticServerMiddleware(Starlette(), "images", root)
    for method in ("GET", "HEAD", "POST"):
        for headers in ({}, {"Range": "bytes=0-9"}, {"Range": "bytes=9999999-"}, {"If-Match": '"x"'}):
            for path in ("/images/1.1x1.jpe", "/images/none", "/images/\ufffd"):
                await ask(app, http_scope(path, method, headers))


# --- the host of URLs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/async"])
def test_urls_have_the_host_of_the_request(root: Path, path: str) -> None:
    store = HttpExposedFileSystemStore(root, "images")
    app = FastAPI()
    app.get("/")(lambda: store.base_url)

    @app.get("/async")
    async def asynchronous() -> str:
        return store.base_url

    served = store.asgi_middleware(app)
    for host in ("one.example.com", "two.example.com:8080"):
        assert get(served, path, host=host).json() == f"http://{host}/images/"
    assert get(served, "/images/1.1x1.jpe").content == PICTURE
    with pytest.raises(UnknownHostError):
        store.base_url  # noqa: B018


@pytest.mark.parametrize("host", ["a/../b", "user@example.com", "exam ple.com", "a:b", 'x"><script>'])
def test_a_hostile_host_never_becomes_part_of_a_url(root: Path, host: str) -> None:
    store = HttpExposedFileSystemStore(root, "images")
    seen: list[str | None] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with pytest.raises(UnknownHostError):
            store.base_url  # noqa: B018
        seen.append(None)

    asyncio.run(store.asgi_middleware(app)(http_scope("/", headers={"Host": host}), None, None))  # type: ignore[arg-type]
    assert seen == [None]


@pytest.mark.parametrize(
    ("server", "root_path", "expected"),
    [
        (("localhost", 80), "", "http://localhost/images/"),
        (("localhost", 8000), "/my shop", "http://localhost:8000/my%20shop/images/"),
    ],
)
def test_without_a_host_header_the_server_is_named(root: Path, server: Any, root_path: str, expected: str) -> None:
    store = HttpExposedFileSystemStore(root, "images")
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(store.base_url)

    scope = http_scope("/", server=server, root_path=root_path)
    asyncio.run(store.asgi_middleware(app)(scope, None, None))  # type: ignore[arg-type]
    assert seen == [expected]


# --- bad input -------------------------------------------------------------------------------------------------------


def test_what_is_no_application_is_refused(root: Path) -> None:
    wrong: Any = "app"
    for make in (RequestUrlMiddleware, lambda app: StaticServerMiddleware(app, "images", root)):
        with pytest.raises(InvalidTypeError, match="app: expected an ASGI application"):
            make(wrong)


def test_wrong_arguments_are_refused(root: Path) -> None:
    with pytest.raises(InvalidValueError, match="block_size"):
        StaticServerMiddleware(Starlette(), "images", root, 0)
    with pytest.raises(InvalidTypeError, match="url_path"):
        StaticServerMiddleware(Starlette(), None, root)  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match="authorise"):
        Answering(lambda: message(200), "everybody")
