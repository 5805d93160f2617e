"""Any store over HTTP, through both doors: the same answers, whatever kind of store it is."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest
from werkzeug.middleware.lint import WSGIWarning

from sqlalchemy_imageattach.context import LocalProxyStore
from sqlalchemy_imageattach.errors import BlobNotFoundError, InvalidTypeError, InvalidValueError, StoreError
from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.serving.request import Asked, Request
from sqlalchemy_imageattach.store import Store
from sqlalchemy_imageattach.stores.endpoint import ServedStore, StoreEndpoint
from sqlalchemy_imageattach.stores.fs import FileSystemStore
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.stores.mirror import MirrorStore
from sqlalchemy_imageattach.stores.overlay import OverlayStore
from sqlalchemy_imageattach.testing import FaultyStore
from tests.onex import FourMethodStore
from tests.serving.doors import DOORS, Door
from tests.test_paths import put_in_place
from tests.variants.models import Product, ProductPhoto

from .s3.conftest import bucket
from .s3.support import store_at

__all__ = ["bucket"]

PICTURE = bytes(range(256)) * 1000
REVISION = "Xk3v9QpLm2wAbCdE"
KEY = ImageKey("product-photo", 1234, 640, 480, "image/jpeg", REVISION)
OLD_KEY = replace(KEY, revision=None)
FOREVER = "public, max-age=31536000, immutable"
OUTSIDE = ["../secret.jpe", "x/../../secret.jpe", "%2e%2e/secret.jpe", "..%2fsecret.jpe", "%252e%252e/x", "..%5cx"]


class Piped(io.RawIOBase):
    """What some stores give: it cannot be positioned, and nobody knows its length."""

    def __init__(self, content: bytes) -> None:
        self._source = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self._source.read(len(buffer))
        buffer[: len(part)] = part
        return len(part)


class StreamingStore(FourMethodStore):
    """One of 1.x that gives such files."""

    def get_file(self, *args: Any) -> IO[bytes]:
        return io.BufferedReader(Piped(super().get_file(*args).read()))


def _memory() -> MemoryStore:
    return MemoryStore("https://images.example.com/")


LOCAL: dict[str, Callable[[Path], Store]] = {
    "memory": lambda _: _memory(),
    "directory": lambda path: FileSystemStore(path / "images", "https://images.example.com/"),
    "mirror": lambda _: MirrorStore(_memory(), _memory()),
    "overlay": lambda _: OverlayStore(_memory(), _memory()),
    "proxy": lambda _: (store := _memory()) and LocalProxyStore(lambda: store),
}


@pytest.fixture(params=[*LOCAL, "s3", "azure", "google"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param in LOCAL:
        yield LOCAL[request.param](tmp_path)
    elif request.param == "s3":
        seaweed, name = request.getfixturevalue("seaweed"), request.getfixturevalue("bucket")
        yield store_at(seaweed, name)
    else:
        yield from _cloud(request)


def _cloud(request: pytest.FixtureRequest) -> Iterator[Store]:
    import secrets

    from sqlalchemy_imageattach.stores.objectstore import ObjectStore

    name = f"pictures-{secrets.token_hex(6)}"
    options = {"public_base_url": "https://images.example.com"}
    if request.param == "google":
        server = request.getfixturevalue("gcs")
        server.create_bucket(name)
        yield ObjectStore(server.bucket(name), **options)  # type: ignore[arg-type]
        server.delete_bucket(name)
        return
    server = request.getfixturevalue("azurite")
    with server.client() as client, client.create_container(name) as container:
        yield ObjectStore(server.container(name), **options)  # type: ignore[arg-type]
        container.delete_container()


@pytest.fixture
def filled(store: Store) -> Store:
    for key in (KEY, OLD_KEY):
        store.put(key, io.BytesIO(PICTURE), reproducible=False)
    return store


@pytest.fixture(params=DOORS, ids=str)
def door(request: pytest.FixtureRequest) -> Door:
    found: Door = request.param
    return found


@pytest.fixture
def memory() -> MemoryStore:
    store = _memory()
    store.put(KEY, io.BytesIO(PICTURE), reproducible=False)
    return store


# --- every store -----------------------------------------------------------------------------------------------------


def test_a_blob_is_served_whole_and_in_parts(filled: Store, door: Door) -> None:
    endpoint = StoreEndpoint(filled)
    for path in (KEY.file_path(), KEY.object_name()):
        answer = door.ask(endpoint, path)
        assert (answer.status, answer.body) == (200, PICTURE)
        expected = {
            "content-type": "image/jpeg",
            "content-length": str(len(PICTURE)),
            "cache-control": FOREVER,
            "x-content-type-options": "nosniff",
            "accept-ranges": "bytes",
            "etag": f'"{REVISION}"',
        }
        assert {name: answer.headers[name] for name in expected} == expected
        head = door.ask(endpoint, path, "HEAD")
        assert (head.status, head.headers) == (200, answer.headers)
    for asked, start, end in (
        ("bytes=0-9", 0, 10),
        ("bytes=1000-", 1000, len(PICTURE)),
        ("bytes=-5", len(PICTURE) - 5, len(PICTURE)),
        ("bytes=-9999999", 0, len(PICTURE)),
        ("bytes=255999-", 255_999, len(PICTURE)),
    ):
        part = door.ask(endpoint, KEY.object_name(), headers={"Range": asked})
        assert (part.status, part.body) == (206, PICTURE[start:end])
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{len(PICTURE)}"


def test_conditions_hold(filled: Store, door: Door) -> None:
    endpoint, path = StoreEndpoint(filled), KEY.object_name()
    etag, modified = f'"{REVISION}"', door.ask(endpoint, path).headers["last-modified"]
    for headers, status in (
        ({"If-None-Match": etag}, 304),
        ({"If-None-Match": f'"other", W/{etag}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"other"'}, 200),
        ({"If-None-Match": '"other"', "If-Modified-Since": modified}, 200),
        ({"If-Modified-Since": modified}, 304),
        ({"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 200),
        ({"If-Modified-Since": "yesterday"}, 200),
        ({"If-Match": etag}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": f"W/{etag}"}, 412),
        ({"If-Match": '"other"', "If-None-Match": etag}, 412),
        ({"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 412),
        ({"If-Unmodified-Since": modified}, 200),
        ({"Range": "bytes=0-9", "If-Range": etag}, 206),
        ({"Range": "bytes=0-9", "If-Range": modified}, 206),
        ({"Range": "bytes=0-9", "If-Range": '"other"'}, 200),
        ({"Range": "bytes=0-9", "If-Range": f"W/{etag}"}, 200),
        ({"Range": "bytes=0-9", "If-Range": "yesterday"}, 200),
        ({"Range": "bytes=0-9", "If-None-Match": etag}, 304),
        ({"Range": "bytes=9999999-"}, 416),
        ({"Range": "bytes=-0"}, 416),
    ):
        answer = door.ask(endpoint, path, headers=headers)
        assert (answer.status, headers) == (status, headers)
        assert (answer.body == PICTURE) is (status == 200)
        assert ("cache-control" in answer.headers) is (status in {200, 206, 304})


@pytest.mark.parametrize(
    "asked", ["bytes=", "bytes=-", "bytes=a-b", "pixels=0-9", "bytes=9-1", "bytes=0-1,3-4", "bytes=" + "0-0," * 9000]
)
def test_a_range_bomb_is_one_answer(filled: Store, asked: str, door: Door) -> None:
    answer = door.ask(StoreEndpoint(filled), KEY.object_name(), headers={"Range": asked})
    assert (answer.status, answer.body) == (200, PICTURE)


def test_a_blob_without_a_revision_is_asked_for_again(filled: Store, door: Door) -> None:
    endpoint, path = StoreEndpoint(filled), OLD_KEY.object_name()
    answer = door.ask(endpoint, path)
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-cache")
    assert door.ask(endpoint, path, headers={"If-None-Match": answer.headers["etag"]}).status == 304
    part = door.ask(endpoint, path, headers={"Range": "bytes=0-9", "If-Range": answer.headers["etag"]})
    assert (part.status, part.body) == (206, PICTURE[:10])


def test_what_is_not_there_is_not_found(store: Store, door: Door) -> None:
    for headers in ({}, {"Range": "bytes=0-9"}, {"If-Match": "*"}):
        for method in ("GET", "HEAD"):
            answer = door.ask(StoreEndpoint(store), KEY.object_name(), method, headers)
            assert (answer.status, answer.headers["cache-control"]) == (404, "no-store")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "product-photo",
        "product-photo/",
        f"{KEY.object_name()}/",
        f"/{KEY.object_name()}",
        f"{KEY.object_name()}x",
        f"x/../{KEY.object_name()}",
        f"./{KEY.object_name()}",
        KEY.object_name().replace("640", "0640"),
        KEY.object_name().replace("1234", "01234"),
        KEY.object_name().replace("product", ".product"),
        KEY.object_name() + "%00",
        KEY.object_name() + "%0d%0aX-Evil:%201",
        "%ff%fe/1/1x1.jpe",
        *OUTSIDE,
    ],
)
def test_no_other_path_leads_anywhere(filled: Store, path: str, door: Door) -> None:
    answer = door.ask(StoreEndpoint(filled), path)
    assert (answer.status, answer.headers["cache-control"]) == (404, "no-store")
    assert "x-evil" not in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        f"{KEY.file_path()}/1/640x480.jpe",  # below a file
        f"{KEY.object_name()}/1/640x480.jpe",
        f"{'a' * 300}/1/640x480.jpe",  # longer than names of files are
        f"{'a/' * 500}a/1/640x480.jpe",
        f"product-photo/{'9' * 300}/640x480.jpe",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_where_no_blob_can_be_there_is_none(tmp_path: Path, path: str, method: str, door: Door) -> None:
    store = FileSystemStore(tmp_path, "/images/")
    store.put(KEY, io.BytesIO(PICTURE), reproducible=False)
    assert door.ask(StoreEndpoint(store), path, method).status == 404


def test_redirects_to_the_url_of_the_store(filled: Store, door: Door) -> None:
    answer = door.ask(StoreEndpoint(filled, send="redirect"), KEY.object_name())
    assert (answer.status, answer.headers["cache-control"]) == (302, "no-store")
    located = filled.url_of(KEY)
    assert answer.headers["location"].partition("?")[0] == located.partition("?")[0]


# --- what a range costs ----------------------------------------------------------------------------------------------


class Noting(MemoryStore):
    """Notes what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Any] = []

    def get_part(self, key: ImageKey, start: int = 0, length: int | None = None) -> Any:
        self.asked.append((start, length))
        return super().get_part(key, start, length)

    def stat_key(self, key: ImageKey) -> Any:
        self.asked.append("stat")
        return MemoryStore.get_part(self, key).stat


def test_a_range_is_fetched_as_a_range(door: Door) -> None:
    store = Noting()
    store.put(KEY, io.BytesIO(PICTURE), reproducible=False)
    endpoint, path = StoreEndpoint(store), KEY.object_name()
    for headers, asked in (
        ({}, [(0, None)]),
        ({"Range": "bytes=10-19"}, ["stat", (10, 10)]),
        ({"Range": "bytes=-10"}, ["stat", (len(PICTURE) - 10, 10)]),
        ({"Range": "bytes=999999999-"}, ["stat"]),
        ({"If-None-Match": f'"{REVISION}"'}, []),
        ({"If-None-Match": f'"{REVISION}"', "Range": "bytes=0-1"}, []),
    ):
        store.asked.clear()
        door.ask(endpoint, path, headers=headers)
        assert store.asked == asked


@pytest.mark.parametrize("make", [FourMethodStore, StreamingStore])
def test_a_store_of_1x_is_served(make: type[FourMethodStore], door: Door) -> None:
    store = make()
    store.put(OLD_KEY, io.BytesIO(PICTURE), reproducible=False)
    endpoint, path = StoreEndpoint(store), OLD_KEY.object_name()
    answer = door.ask(endpoint, path)
    assert (answer.status, answer.body) == (200, PICTURE)
    part = door.ask(endpoint, path, headers={"Range": "bytes=10-19"})
    # where nobody knows the length, a server sends the whole
    assert (part.status, part.body) == ((206, PICTURE[10:20]) if make is FourMethodStore else (200, PICTURE))


# --- what it is ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mimetype", "served", "is_confined"),
    [
        ("image/png", "image/png", False),
        ("image/svg+xml", "image/svg+xml", True),
        ("application/pdf", "application/pdf", True),
        ("text/html", "application/octet-stream", True),
        ("image/html", "application/octet-stream", True),
        ("application/javascript", "application/octet-stream", True),
    ],
)
def test_no_blob_is_run_by_a_browser(mimetype: str, served: str, is_confined: bool, door: Door) -> None:
    store, key = MemoryStore(), replace(KEY, mimetype=mimetype)
    polyglot = b"GIF89a/*" + b"<script>alert(1)</script>" + b"*/=1;alert(1)"
    store.put(key, io.BytesIO(polyglot), reproducible=False)
    headers = door.ask(StoreEndpoint(store), key.object_name()).headers
    assert (headers["content-type"], headers["x-content-type-options"]) == (served, "nosniff")
    policy = headers.get("content-security-policy", "")
    assert ("sandbox" in policy and "default-src 'none'" in policy and "script" not in policy) is is_confined


# --- who may see it --------------------------------------------------------------------------------------------------


def test_one_hook_decides_before_the_store_is_asked(door: Door) -> None:
    store, asked = Noting(), []
    store.put(KEY, io.BytesIO(PICTURE), reproducible=False)

    def authorise(request: Request, what: Asked) -> bool:
        asked.append(what)
        return request.header("x-user") == "admin"

    endpoint = StoreEndpoint(store, authorise=authorise, classes=[ProductPhoto])
    for path in (KEY.object_name(), KEY.object_name().replace("1234", "999")):
        refused = door.ask(endpoint, path)
        assert (refused.status, refused.headers["cache-control"]) == (403, "no-store")
        conditional = door.ask(endpoint, path, headers={"If-None-Match": f'"{REVISION}"'})
        assert conditional.status == 403
    assert not store.asked
    allowed = door.ask(endpoint, KEY.object_name(), headers={"X-User": "admin"})
    assert (allowed.status, allowed.headers["cache-control"]) == (200, "private, no-cache")
    assert asked[0] == Asked(ProductPhoto, (1234,), KEY)


def test_other_classes_than_those_named_are_not_served(memory: MemoryStore, door: Door) -> None:
    other = replace(KEY, object_type="secret-photo")
    memory.put(other, io.BytesIO(PICTURE), reproducible=False)
    endpoint = StoreEndpoint(memory, classes=[ProductPhoto])
    assert door.ask(endpoint, KEY.object_name()).status == 200
    assert door.ask(endpoint, other.object_name()).status == 404


def test_the_host_and_what_proxies_say_make_no_difference(memory: MemoryStore, door: Door) -> None:
    endpoint = StoreEndpoint(memory, send="redirect")
    plain = door.ask(endpoint, KEY.object_name())
    for headers in (
        {"X-Forwarded-Host": "evil.example.com", "X-Forwarded-Proto": "javascript", "X-Forwarded-Prefix": "//evil"},
        {"Forwarded": "host=evil.example.com", "X-Original-URL": "/../secret", "X-Rewrite-URL": "/secret"},
        {"X-HTTP-Method-Override": "DELETE", "Accept": "text/html"},
    ):
        assert door.ask(endpoint, KEY.object_name(), headers=headers) == plain
    assert KEY in memory


@pytest.mark.parametrize("query", ["", "x=1", "_ts=2", "%00", "a" * 5000])
def test_a_query_changes_nothing(memory: MemoryStore, query: str, door: Door) -> None:
    assert door.ask(StoreEndpoint(memory), KEY.object_name(), query=query).body == PICTURE


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_store_that_fails_is_a_bad_gateway(memory: MemoryStore, door: Door, caplog: pytest.LogCaptureFixture) -> None:
    store = FaultyStore(memory)
    store.fail("get", error=StoreError("the secret endpoint of the bucket is down"))
    answer = door.ask(StoreEndpoint(store), KEY.object_name())
    assert (answer.status, answer.body, answer.headers["cache-control"]) == (502, b"BAD GATEWAY\n", "no-store")
    assert "the secret endpoint" in caplog.text


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_named_pipe_in_the_place_of_a_blob_is_a_bad_gateway_at_once(tmp_path: Path, door: Door, method: str) -> None:
    store = FileSystemStore(tmp_path, "https://images.example.com/")
    path = tmp_path / KEY.file_path()
    path.parent.mkdir(parents=True)
    put_in_place(path, "named pipe")
    for headers in ({}, {"Range": "bytes=0-9"}):
        assert door.ask(StoreEndpoint(store), KEY.file_path(), method, headers).status == 502


def test_a_blob_that_vanishes_in_the_middle_ends_the_connection(memory: MemoryStore, door: Door) -> None:
    store = FaultyStore(memory)
    store.fail("get", when="midway", error=BlobNotFoundError("it is gone"))
    # never an answer that looks whole
    with pytest.raises((BlobNotFoundError, WSGIWarning)):  # the latter says that less was sent than was announced
        door.ask(StoreEndpoint(store), KEY.object_name())


def test_a_url_of_a_store_that_would_end_the_header_is_a_bad_gateway(door: Door) -> None:
    class Hostile(MemoryStore):
        def url_of(self, key: ImageKey) -> str:
            return "https://example.com/\r\nSet-Cookie: a=b"

    answer = door.ask(StoreEndpoint(Hostile(), send="redirect"), KEY.object_name())
    assert answer.status == 502
    assert "set-cookie" not in answer.headers


# --- by the web server -----------------------------------------------------------------------------------------------


def test_the_web_server_is_told_the_path(tmp_path: Path, door: Door) -> None:
    store = FileSystemStore(tmp_path / "images", "https://images.example.com/")
    key = replace(KEY, object_type="bücher 50%")
    store.put(key, io.BytesIO(PICTURE), reproducible=False)
    for send, internal_url, expected in (
        ("X-Accel-Redirect", "/protected/", "/protected/b%C3%BCcher%2050%25/234/1/1234."),
        ("X-Sendfile", "", f"{tmp_path}/images/b%C3%BCcher%2050%25/234/1/1234."),
    ):
        endpoint = StoreEndpoint(store, send=send, internal_url=internal_url)  # type: ignore[arg-type]
        answer = door.ask(endpoint, "b%C3%BCcher%2050%25/1234/640x480.Xk3v9QpLm2wAbCdE.jpe")
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers[send.lower()].startswith(expected)
        assert answer.headers["content-type"] == "image/jpeg"


def test_only_directories_are_sent_by_the_web_server(memory: MemoryStore) -> None:
    for send, internal_url in (("X-Accel-Redirect", "/protected/"), ("X-Sendfile", "")):
        with pytest.raises(InvalidValueError, match="has no directory to send from"):
            StoreEndpoint(memory, send=send, internal_url=internal_url)  # type: ignore[arg-type]


# --- URLs of the endpoint --------------------------------------------------------------------------------------------


def test_a_served_store_has_the_urls_of_the_endpoint(memory: MemoryStore, door: Door) -> None:
    store = ServedStore(memory, "/pictures")
    url = store.url_of(KEY)
    assert url == store.get_url("product-photo", 1234, 640, 480, "image/jpeg", revision=REVISION)
    assert door.ask(StoreEndpoint(store), url.removeprefix("/pictures/")).body == PICTURE
    assert store.is_same_place(memory)
    image = ProductPhoto(width=640, height=480, mimetype="image/jpeg", original=True, revision=REVISION)
    image.product_id = 1234
    assert store.locate(image) == url


# --- bad input -------------------------------------------------------------------------------------------------------


class Second(ProductPhoto):
    object_type = "product-photo"


class Depends:
    @property
    def object_type(self) -> str:
        return "depends"


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"store": "s3://pictures"}, InvalidTypeError, "store: expected Store"),
        ({"authorise": "admin"}, InvalidTypeError, "authorise"),
        ({"classes": [Product]}, InvalidTypeError, "classes: expected image classes"),
        ({"classes": [Depends]}, InvalidValueError, "classes: expected classes with one object_type each"),
        ({"classes": [ProductPhoto, Second]}, InvalidValueError, "classes: expected one class for each object_type"),
        ({"prefix": None}, InvalidTypeError, "prefix"),
        ({"send": "pigeon"}, InvalidValueError, "send: expected one of 'stream', 'redirect'"),
        ({"send": "X-Accel-Redirect"}, InvalidValueError, "internal_url: expected the path of an internal location"),
        ({"send": "X-Accel-Redirect", "internal_url": "x"}, InvalidValueError, "internal_url: expected a path with"),
        ({"internal_url": "/protected/"}, InvalidValueError, "internal_url"),
    ],
)
def test_wrong_arguments_are_refused(changed: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        StoreEndpoint(**{"store": MemoryStore(), **changed})


def test_a_base_url_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="base_url"):
        ServedStore(MemoryStore(), "/a b/")
