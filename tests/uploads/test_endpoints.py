"""The endpoints for what no store takes by itself: both doors, and what must not get in."""

from __future__ import annotations

import asyncio
import io
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import httpx
import pytest
from werkzeug.middleware.lint import LintMiddleware
from werkzeug.test import Client

from sqlalchemy_imageattach.errors import InvalidTypeError, InvalidValueError
from sqlalchemy_imageattach.imaging import ImagePolicy
from sqlalchemy_imageattach.stores.fs import FileSystemStore, HttpExposedFileSystemStore
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.testing import FaultyStore
from sqlalchemy_imageattach.uploads import UploadEndpoint, Uploads
from tests.pictures import picture

from .conftest import SECRET
from .models import Photo, Picture

JPEG = picture(60, 40, "red", "JPEG")
ORIGIN = "https://www.example.com"

Answered = tuple[int, dict[str, str], str]
Door = Callable[..., Answered]


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore(MemoryStore())


@pytest.fixture
def uploads(store: FaultyStore) -> Uploads:
    return Uploads(SECRET, store, endpoint="https://www.example.com/uploads")


def through_wsgi(uploads: Uploads) -> Door:
    app = UploadEndpoint(uploads, origins=[ORIGIN]).wsgi
    strict = validator(app)

    def ask(method: str = "POST", *, body: bytes = b"", headers: dict[str, str] | None = None) -> Answered:
        for each in (LintMiddleware(app), strict):  # of the two, each finds something else
            with Client(each).open(
                "/",
                method=method,
                input_stream=io.BytesIO(body),
                headers={"Content-Length": str(len(body)), **(headers or {})},
            ) as answer:
                result = answer.status_code, {n.lower(): v for n, v in answer.headers}, answer.get_data(as_text=True)
        return result

    return ask


def through_asgi(uploads: Uploads) -> Door:
    app = UploadEndpoint(uploads, origins=[ORIGIN]).asgi

    def ask(method: str = "POST", *, body: bytes = b"", headers: dict[str, str] | None = None) -> Answered:
        async def chunks():
            for start in range(0, len(body), 10_000):
                yield body[start : start + 10_000]

        async def use() -> Answered:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
                answer = await client.request(method, "/", content=chunks(), headers=headers)
                return answer.status_code, dict(answer.headers), answer.text

        return asyncio.run(use())

    return ask


@pytest.fixture(params=[through_wsgi, through_asgi], ids=["wsgi", "asgi"])
def door(request: pytest.FixtureRequest, uploads: Uploads) -> Door:
    made: Door = request.param(uploads)
    return made


def noting(statuses: list[str]) -> Any:
    """The ``start_response`` of WSGI."""
    return lambda status, headers, exc_info=None: statuses.append(status)


def form(*parts: tuple[str, str | bytes]) -> dict:
    """What a browser sends: a part of bytes is a file."""
    body = b""
    for name, value in parts:
        is_file = isinstance(value, bytes)
        more = '; filename="p.jpg"\r\nContent-Type: image/jpeg' if is_file else ""
        head = f'--limit\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode()
        body += head + (value if isinstance(value, bytes) else value.encode()) + b"\r\n"
    return {"body": body + b"--limit--\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=limit"}}


def file(content: bytes = JPEG) -> tuple[str, bytes]:
    return "file", content


def test_a_form_with_a_token_brings_a_file(door: Door, uploads: Uploads, store: FaultyStore) -> None:
    token = uploads.direct_upload(Picture, user=1).token
    status, headers, text = door(**form(("upload", token), file()))
    assert (status, text) == (201, "Created\n")
    assert headers["cache-control"] == "no-store"
    assert uploads.take(token, Picture, user=1).open().read() == JPEG
    assert door(**form(("upload", token), file(long := JPEG + bytes(199_000))))[0] == 201, "in many pieces"
    assert uploads.take(token, Picture, user=1).open().read() == long


def test_a_browser_without_a_script_is_led_back_with_its_token(door: Door, uploads: Uploads) -> None:
    permit = uploads.direct_upload(Picture, user=1, redirect="https://app.example.com/me/{token}?tab=2#top")
    status, headers, _ = door(**form(*permit.target.fields.items(), file()))
    assert status == 303
    assert headers["location"] == f"https://app.example.com/me/{permit.token}?tab=2#top"


def test_what_is_refused_leaves_nothing_and_says_why(door: Door, uploads: Uploads, store: FaultyStore) -> None:
    token = uploads.direct_upload(Picture, user=1).token
    expired = uploads._token(uploads.check(token), 1)
    jpeg_only = uploads.direct_upload(Picture, user=1, mimetype="image/jpeg").token
    for parts, expected in (
        ([("upload", token), file(JPEG + bytes(200_000))], 413),
        ([("upload", token), file(b"<html><script>")], 415),
        ([("upload", jpeg_only), file(picture(9, 9, "red", "PNG"))], 415),
        ([("upload", token), file(b"")], 400),
        ([("upload", token)], 400),
        ([file(), ("upload", token)], 403),
        ([("upload", "forged"), file()], 403),
        ([("upload", token + "x"), file()], 403),
        ([("upload", expired), file()], 410),
        ([("upload", "x" * 20_000), file()], 403),
        ([("upload", "x" * 80_000), file()], 413),
        ([("more", "y" * 60_000)] * 5 + [("upload", token), file()], 413),
        ([("upload", token), *[file()] * 30], 400),
    ):
        status, headers, text = door(**form(*parts))
        assert status == expected, (expected, text)
        assert text.strip()
        assert headers["content-type"] == "text/plain; charset=utf-8"
    assert store.blobs == {}


def test_forms_that_are_none_are_refused(door: Door, uploads: Uploads, store: FaultyStore) -> None:
    token = uploads.direct_upload(Picture, user=1).token
    whole = form(("upload", token), file())
    cut = {**whole, "body": whole["body"][:-20]}
    for asked, expected in (
        ({"method": "GET"}, 405),
        ({"method": "PUT", "body": JPEG}, 405),
        ({"body": JPEG, "headers": {"Content-Type": "image/jpeg"}}, 415),
        ({"body": JPEG}, 415),
        ({"body": JPEG, "headers": {"Content-Type": "multipart/form-data"}}, 415),
        ({"body": JPEG, "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, 400),
        ({"body": b"", "headers": whole["headers"]}, 400),
        (cut, 400),
    ):
        assert door(**asked)[0] == expected, asked
    assert store.blobs == {}


def test_what_comes_after_the_file_changes_nothing(door: Door, uploads: Uploads) -> None:
    permit = uploads.direct_upload(Picture, user=1, redirect="https://app.example.com/me/{token}")
    token = ("upload", permit.token)
    for more in (("upload", "\r\nSet-Cookie: a=b"), ("upload", "/elsewhere"), ("file", "<script>"), file(b"<script>")):
        status, headers, _ = door(**form(token, file(), more))
        assert (status, headers["location"]) == (303, f"https://app.example.com/me/{permit.token}")
        assert "set-cookie" not in headers
        assert uploads.take(permit.token, Picture, user=1).open().read() == JPEG


def test_a_file_can_be_sent_for_the_lifetime_and_taken_for_longer(door: Door, uploads: Uploads) -> None:
    token = uploads.direct_upload(Picture, user=1).token
    ticket, now = uploads.check(token), time.time()
    assert door(**form(("upload", uploads._token(ticket, now - uploads.lifetime + 60)), file()))[0] == 201
    late = uploads._token(ticket, now - uploads.lifetime)
    assert door(**form(("upload", late), file(JPEG + b"more")))[0] == 410
    assert uploads.take(late, Picture, user=1).open().read() == JPEG


def test_a_field_is_no_file(door: Door, uploads: Uploads, store: FaultyStore) -> None:
    token = uploads.direct_upload(Picture, user=1).token
    assert door(**form(("file", "text")))[0] == 400
    assert door(**form(("upload", token), ("file", "text")))[0] == 400
    assert store.blobs == {}


def test_lengths_that_are_none_are_no_lengths(uploads: Uploads) -> None:
    asked = form(("upload", uploads.direct_upload(Picture, user=1).token), file())
    for length in ("9" * 5000, "-1", "1e3", "\u0661"):
        environ = {
            "REQUEST_METHOD": "POST",
            "CONTENT_TYPE": asked["headers"]["Content-Type"],
            "CONTENT_LENGTH": length,
            "wsgi.input": io.BytesIO(asked["body"]),
        }
        answered: list[str] = []
        list(UploadEndpoint(uploads).wsgi(environ, noting(answered)))
        assert answered == ["400 Bad Request"]


def test_head_has_no_body(uploads: Uploads) -> None:
    endpoint = UploadEndpoint(uploads)
    environ = {"REQUEST_METHOD": "HEAD", "wsgi.input": io.BytesIO()}
    assert list(endpoint.wsgi(environ, noting([]))) == []
    assert through_asgi(uploads)("HEAD")[::2] == (405, "")


def test_scripts_of_named_origins_alone_may_send(door: Door, uploads: Uploads) -> None:
    status, headers, _ = door("OPTIONS", headers={"Origin": ORIGIN, "Access-Control-Request-Method": "POST"})
    assert (status, headers["access-control-allow-origin"], headers["vary"]) == (200, ORIGIN, "Origin")
    for origin in ("https://evil.example.com", "null", f"{ORIGIN}.evil.example"):
        _, headers, _ = door("OPTIONS", headers={"Origin": origin, "Access-Control-Request-Method": "POST"})
        assert "access-control-allow-origin" not in headers
        assert headers["vary"] == "Origin"


def test_a_store_that_fails_is_tried_again_later(door: Door, uploads: Uploads, store: FaultyStore) -> None:
    token = uploads.direct_upload(Picture, user=1).token
    store.fail("put")
    status, headers, text = door(**form(("upload", token), file()))
    assert (status, headers["retry-after"]) == (503, "10")
    assert "told to fail" not in text
    store.heal()
    assert door(**form(("upload", token), file()))[0] == 201


def test_a_client_that_leaves_in_the_middle_leaves_nothing(uploads: Uploads, store: FaultyStore) -> None:
    asked = form(("upload", uploads.direct_upload(Picture, user=1).token), file())
    messages = [
        {"type": "http.request", "body": asked["body"][:-30], "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[dict] = []

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    headers = [(b"content-type", asked["headers"]["Content-Type"].encode())]
    scope = {"type": "http", "method": "POST", "headers": headers}
    asyncio.run(UploadEndpoint(uploads).asgi(scope, receive, send))
    assert sent == []
    assert store.blobs == {}


def test_the_event_loop_turns_while_a_file_is_stored(uploads: Uploads, store: FaultyStore) -> None:
    released, turns = threading.Event(), []

    class Slow(MemoryStore):
        def put(self, *args, **kwargs):
            released.wait()
            super().put(*args, **kwargs)

    slow = Uploads(SECRET, Slow(), endpoint="/uploads")
    asked = form(("upload", slow.direct_upload(Picture, user=1).token), file())

    async def use() -> int:
        async def turn() -> None:
            await asyncio.sleep(0.01)
            turns.append(1)
            released.set()

        app = UploadEndpoint(slow).asgi
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            answer, _ = await asyncio.gather(client.post("/", content=asked["body"], headers=asked["headers"]), turn())
            return answer.status_code

    assert asyncio.run(use()) == 201
    assert turns == [1]


def test_a_websocket_is_no_upload(uploads: Uploads) -> None:
    with pytest.raises(InvalidValueError, match="expected 'http'"):
        asyncio.run(UploadEndpoint(uploads).asgi({"type": "websocket"}, None, None))  # type: ignore[arg-type]


def test_no_web_server_gives_out_what_is_in_quarantine(tmp_path: Path) -> None:
    store = HttpExposedFileSystemStore(tmp_path, "images", host_url_getter=lambda: "http://localhost/")
    uploads = Uploads(SECRET, store, endpoint="/uploads")
    token = uploads.keep(Picture, io.BytesIO(JPEG))
    [blob] = store.list_blobs()
    client = Client(store.wsgi_middleware(lambda environ, start: [b""]))
    assert client.get(f"/images/{blob.name}").status_code == 404
    assert uploads.take(token, Picture).open().read() == JPEG


# --- what is known at start-up ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "midway", "after"])
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration])
def test_a_store_that_is_interrupted_keeps_nobody_waiting_and_the_file_can_be_sent_again(
    error: type[BaseException], when: Any, uploads: Uploads, store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    spooled = tempfile.SpooledTemporaryFile

    def note(*args: Any, **kwargs: Any) -> Any:
        opened.append(spooled(*args, **kwargs))
        return opened[-1]

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", note)
    token = uploads.direct_upload(Picture).token
    for make in (through_wsgi, through_asgi):
        store.fail("put", on=1, when=when, error=error)
        with pytest.raises((error, RuntimeError)):
            make(uploads)(**form(("upload", token), file()))
        store.heal()
        assert make(uploads)(**form(("upload", token), file()))[0] == 201
    assert len(opened) >= 4
    assert all(each.closed for each in opened)


def test_who_hangs_up_while_the_file_is_stored_takes_nothing_from_under_the_store(uploads: Uploads) -> None:
    begun, go, ends = threading.Event(), threading.Event(), []

    class Slow(MemoryStore):
        def put(self, key, file, *, reproducible):
            begun.set()
            assert go.wait(60)
            super().put(key, file, reproducible=reproducible)
            ends.append("stored")

    slow = Slow()
    others = Uploads(SECRET, slow, endpoint="/uploads")
    sent = form(("upload", others.direct_upload(Picture).token), file())

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": sent["body"], "more_body": False}

    async def send(message: Any) -> None:
        ends.append("answered")

    async def use() -> None:
        headers = [(name.lower().encode(), value.encode()) for name, value in sent["headers"].items()]
        app = UploadEndpoint(others).asgi
        task = asyncio.create_task(app({"type": "http", "method": "POST", "headers": headers}, receive, send))
        await asyncio.to_thread(begun.wait, 60)
        task.cancel()
        await asyncio.sleep(0)
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(use())
    assert ends == ["stored"]
    assert list(slow.blobs.values()) == [JPEG]


def test_what_cannot_work_is_refused_at_start_up(tmp_path: Path) -> None:
    store = MemoryStore()
    for options, message in (
        ({"secret": "short"}, "32 bytes"),
        ({"secret": ""}, "32 bytes"),
        ({"secret": None}, "32 bytes"),
        ({"endpoint": None}, "nobody else can write to this store"),
        ({"lifetime": 0}, "lifetime: expected seconds"),
        ({"keep": 86401}, "keep: expected seconds"),
        ({"keep": 60}, "keep: expected as many seconds as lifetime"),
    ):
        with pytest.raises(InvalidValueError, match=message):
            Uploads(**({"secret": SECRET, "store": store, "endpoint": "/"} | options))  # type: ignore[arg-type]
    for wrong in ({"store": "s3://"}, {"endpoint": 1}, {"lifetime": 1.5}):
        with pytest.raises(InvalidTypeError):
            Uploads(**({"secret": SECRET, "store": store, "endpoint": "/"} | wrong))  # type: ignore[arg-type]
    for wrapped in (FaultyStore(store), FileSystemStore(tmp_path, "/images/")):
        with pytest.raises(InvalidValueError, match="UploadEndpoint"):
            Uploads(SECRET, wrapped)


def test_an_endpoint_names_origins_and_no_patterns(uploads: Uploads) -> None:
    for origins in (["*"], ["www.example.com"], ["https://www.example.com/"]):
        with pytest.raises(InvalidValueError, match="origins: expected an origin"):
            UploadEndpoint(uploads, origins=origins)
    for wrong in ("https://www.example.com", [1]):
        with pytest.raises(InvalidTypeError):
            UploadEndpoint(uploads, origins=wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match="uploads: expected Uploads"):
        UploadEndpoint(SECRET)  # type: ignore[arg-type]


def test_a_permit_is_for_an_image_class_that_has_a_limit(uploads: Uploads) -> None:
    for wrong in (int, Picture(), "Picture"):
        with pytest.raises(InvalidTypeError, match="image_class: expected an image class"):
            uploads.direct_upload(wrong)  # type: ignore[arg-type]
    for user in (1.5, object(), True):
        with pytest.raises(InvalidTypeError, match="user: expected what users are known by"):
            uploads.direct_upload(Photo, user=user)  # type: ignore[arg-type]

    class Unlimited:
        image_policy = ImagePolicy(max_bytes=None)

    with pytest.raises(InvalidValueError, match="redirect: expected a URL with {token}"):
        uploads.direct_upload(Picture, redirect="https://app.example.com/me")
    with pytest.raises(InvalidValueError, match="max_bytes"):
        uploads.direct_upload(Unlimited)


def test_a_permit_tells_forms_and_scripts_what_to_send(uploads: Uploads) -> None:
    permit = uploads.direct_upload(Picture, user='"><script>')
    assert permit.fields() == f'<input type="hidden" name="upload" value="{permit.token}">'
    told = permit.to_json()
    assert told["token"] == permit.token
    assert (told["url"], told["method"], told["fields"]) == (uploads.endpoint, "POST", {"upload": permit.token})
    assert told["maxBytes"] == 200_000
