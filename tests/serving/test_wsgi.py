from __future__ import annotations

import contextlib
import io
import os
import re
import socket
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import flask
import pytest
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from sqlalchemy_imageattach.errors import InvalidTypeError, InvalidValueError, UnknownHostError
from sqlalchemy_imageattach.key import EXTENSIONS, ImageKey
from sqlalchemy_imageattach.serving import asgi
from sqlalchemy_imageattach.serving.host import request_url
from sqlalchemy_imageattach.serving.wsgi import RequestUrlMiddleware, StaticServerMiddleware
from sqlalchemy_imageattach.stores.fs import HttpExposedFileSystemStore

from ..test_paths import put_in_place
from .servers import Answer, ask, ask_raw, serve, with_uvicorn, with_werkzeug, with_wsgiref

PICTURE = bytes(range(256)) * 100
REVISION = "Xk3v9QpLm2wAbCdE"
NAME = f"user-picture/234/1/1234.640x480.{REVISION}.jpe"
OLD_NAME = "user-picture/234/1/1234.640x480.jpe"
KEY = ImageKey("user-picture", 1234, 640, 480, "image/jpeg", REVISION)


def page(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """The application behind the middleware."""
    body = f"page {environ['REQUEST_METHOD']} {environ['PATH_INFO']}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


async def asgi_page(scope: Any, receive: Any, send: Any) -> None:
    """The same."""
    body = f"page {scope['method']} {scope['path']}".encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


# --- a directory to serve --------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    for name in (
        NAME,
        OLD_NAME,
        "user-picture/.hidden",
        ".secret",
        f"user-picture/234/1/.{os.path.basename(NAME)}.tmp",
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PICTURE)
    (tmp_path / "secret.jpe").write_bytes(b"secret")
    (tmp_path / "images-private").mkdir()
    (tmp_path / "images-private/secret.jpe").write_bytes(b"secret")
    return root


@pytest.fixture(params=[with_wsgiref, with_werkzeug, with_uvicorn])
def port(request: pytest.FixtureRequest, root: Path) -> Iterator[int]:
    """By each door."""
    app: Any = StaticServerMiddleware(page, "images/", root)
    if request.param is with_uvicorn:
        app = asgi.StaticServerMiddleware(asgi_page, "images/", root)
    with serve(app, request.param) as port:
        yield port


# --- what is served --------------------------------------------------------------------------------------------------


def test_serves_a_picture(port: int) -> None:
    answer = ask(port, f"/images/{NAME}")
    assert (answer.status, answer.body) == (200, PICTURE)
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert answer.headers["Content-Length"] == str(len(PICTURE))


def test_no_browser_is_left_to_guess_the_type(port: int) -> None:
    assert ask(port, f"/images/{NAME}").headers["X-Content-Type-Options"] == "nosniff"


def test_head_is_get_without_the_body(port: int) -> None:
    get, head = (ask(port, f"/images/{NAME}", method) for method in ("GET", "HEAD"))
    assert (head.status, head.body) == (200, b"")
    assert _without_date(head) == _without_date(get)


def _without_date(answer: Answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in {"Date", "Connection", "Server"}}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
def test_other_methods_are_not_allowed_and_do_nothing(port: int, root: Path, method: str) -> None:
    answer = ask(port, f"/images/{NAME}", method)
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"
    assert (root / NAME).read_bytes() == PICTURE


@pytest.mark.parametrize("path", ["/", "/page", "/imagesque", "/image", "/x/images/a.jpe", "/Images/a.jpe"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_paths_are_the_applications(port: int, path: str, method: str) -> None:
    answer = ask(port, path, method)
    assert answer.status == 200
    assert answer.body.decode().startswith(f"page {method} /")


def test_a_doubled_slash_is_the_applications(root: Path) -> None:
    # no request to a server: these join the slashes before anybody sees them
    assert list(StaticServerMiddleware(page, "images", root)(_request("//images/x"), _ignore)) == [
        b"page GET //images/x"
    ]


@pytest.mark.parametrize(
    ("path", "missing"),
    [
        ("/images", "the directory itself"),
        ("/images/", "the directory itself"),
        ("/images/user-picture", "a directory"),
        ("/images/user-picture/", "a directory"),
        (f"/images/{NAME}/", "a file as a directory"),
        (f"/images/{NAME}x", "no file"),
        ("/images/nothing/here.jpe", "no directory"),
        ("/images/.secret", "a hidden file"),
        ("/images/user-picture/.hidden", "a hidden file"),
        (f"/images/user-picture/234/1/.{os.path.basename(NAME)}.tmp", "a temporary file"),
        (f"/images//{NAME}", "an empty segment"),
        (f"/images/./{NAME}", "a dot"),
    ],
)
def test_what_is_no_picture_is_not_found(port: int, path: str, missing: str) -> None:
    answer = ask(port, path)
    assert answer.status == 404, missing
    assert PICTURE not in answer.body


HOSTILE = [
    b"/images/../secret.jpe",
    b"/images/user-picture/../../secret.jpe",
    b"/images/user-picture/../../../../../../../../etc/passwd",
    b"/images/%2e%2e/secret.jpe",
    b"/images/%2E%2E%2Fsecret.jpe",
    b"/images/..%2fsecret.jpe",
    b"/images/%252e%252e/secret.jpe",
    b"/images/..%5csecret.jpe",
    b"/images/..\\secret.jpe",
    b"/images//etc/passwd",
    b"/images///etc/passwd",
    b"/images/%2fetc/passwd",
    b"/images/%2f%2fetc%2fpasswd",
    b"/images/..//secret.jpe",
    b"/images/....//secret.jpe",
    b"/images/.%00./secret.jpe",
    b"/images/user-picture%00.jpe",
    b"/images/%00",
    b"/images/" + NAME.encode() + b"%00.png",
    b"/images/\xc0\xae\xc0\xae/secret.jpe",
    b"/images/%c0%ae%c0%ae/secret.jpe",
    b"/images/%ff%fe",
    b"/images/%ed%b2%80",
    b"/images/../images-private/secret.jpe",
    b"/images/../images/" + NAME.encode(),
    b"/images/C:/secret.jpe",
    b"/images/con:x",
    b"/images/file.jpe%0d%0aX-Evil:%201",
    b"/images/" + b"a" * 5000,
    b"/images/" + b"a/" * 2000,
]


@pytest.mark.parametrize("path", HOSTILE)
def test_no_path_leads_out(port: int, path: bytes) -> None:
    answer = ask_raw(port, b"GET " + path + b" HTTP/1.0\r\nHost: example.com\r\n\r\n")
    # the server itself may refuse, or resolve the dots before the application sees them
    assert answer.status in {400, 404, 414} or answer.body.startswith(b"page")
    assert b"secret" not in answer.body.replace(path, b"").replace(b"page GET", b"").replace(b"/secret.jpe", b"")
    assert b"root:" not in answer.body
    assert "X-Evil" not in answer.headers


@pytest.mark.parametrize("path", HOSTILE)
def test_no_path_leads_out_without_a_server_that_tidies_up(root: Path, path: bytes) -> None:
    from urllib.parse import unquote_to_bytes

    wsgi_path = unquote_to_bytes(path).decode("latin-1")
    middleware = StaticServerMiddleware(page, "images", root)
    statuses: list[str] = []
    b"".join(middleware(_request(wsgi_path), lambda status, headers: statuses.append(status)))  # type: ignore[arg-type]
    assert statuses == ["404 NOT FOUND"]


def test_links_that_lead_out_are_not_followed_unless_it_is_meant(root: Path, tmp_path: Path) -> None:
    (root / "link.jpe").symlink_to(tmp_path / "secret.jpe")
    (root / "private").symlink_to(tmp_path / "images-private")
    with serve(StaticServerMiddleware(page, "images", root)) as port:
        assert ask(port, "/images/link.jpe").status == 404
        assert ask(port, "/images/private/secret.jpe").status == 404
    with serve(StaticServerMiddleware(page, "images", root, follow_symlinks=True)) as port:
        assert ask(port, "/images/link.jpe").body == b"secret"


@pytest.mark.parametrize("kind", ["named pipe", "socket", "device", "directory"])
def test_what_is_no_file_does_not_hang_the_server(root: Path, kind: str) -> None:
    put_in_place(root / "pipe.jpe", kind)
    with serve(StaticServerMiddleware(page, "images", root, follow_symlinks=True)) as port:
        assert ask(port, "/images/pipe.jpe", "HEAD").status == 404
        assert ask(port, "/images/pipe.jpe").status == 404


def test_names_outside_of_ascii_are_served(root: Path) -> None:
    (root / "café 50%.jpe").write_bytes(PICTURE)
    with serve(StaticServerMiddleware(page, "bücher", root)) as port:
        assert ask(port, "/b%C3%BCcher/caf%C3%A9%2050%25.jpe").body == PICTURE


def test_the_root_can_be_served(root: Path) -> None:
    with serve(StaticServerMiddleware(page, "/", root)) as port:
        assert ask(port, f"/{NAME}").body == PICTURE
        assert ask(port, "/other").status == 404


# --- types -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mimetype", "extension"), EXTENSIONS.items())
def test_types_are_those_of_our_table(root: Path, mimetype: str, extension: str) -> None:
    (root / f"1.1x1{extension}").write_bytes(PICTURE)
    with serve(StaticServerMiddleware(page, "images", root)) as port:
        assert ask(port, f"/images/1.1x1{extension}").headers["Content-Type"] == mimetype


@pytest.mark.parametrize(
    ("name", "mimetype", "is_confined"),
    [
        ("1.1x1.jpe", "image/jpeg", False),
        ("1.jpg", "image/jpeg", False),
        ("1.1x1.svg", "image/svg+xml", True),
        ("1.1x1.pdf", "application/pdf", True),
        ("1.html", "text/html", True),
        ("1.xhtml", "application/xhtml+xml", True),
        ("1.xml", "text/xml", True),
        ("1.SVG", "image/svg+xml", True),
        ("1.svgz", "application/octet-stream", True),
        ("1.swf", "application/x-shockwave-flash", True),
        ("none", "application/octet-stream", True),
        ("1.60x40None", "application/octet-stream", True),
        ("1.css", "text/css", False),
        ("1.js", "text/javascript", False),
        ("1.woff2", "font/woff2", False),
        ("1.txt", "text/plain", False),
        # what a store wrote is a picture or nothing, whatever its owner called its type
        ("1.1x1.js", "application/octet-stream", True),
        ("-1.1x1.Xk3v9QpLm2wAbCdE.html", "application/octet-stream", True),
        ("1.1x1.Xk3v9QpLm2wAbCdE.text+html", "application/octet-stream", True),
    ],
)
def test_what_could_run_in_a_browser_is_confined(root: Path, name: str, mimetype: str, is_confined: bool) -> None:
    (root / name).write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")
    with serve(StaticServerMiddleware(page, "images", root)) as port:
        headers = ask(port, f"/images/{name}").headers
    assert headers["Content-Type"] == mimetype
    policy = headers.get("Content-Security-Policy", "")
    assert ("sandbox" in policy and "default-src 'none'" in policy and "script" not in policy) is is_confined


def test_other_sites_may_read_only_if_it_is_said(root: Path, tmp_path: Path) -> None:
    (root / "1.1x1.png").write_bytes(b"a picture")
    store = HttpExposedFileSystemStore(root, "images", cors=True)
    for app, expected in (
        (StaticServerMiddleware(page, "images", root), None),
        (StaticServerMiddleware(page, "images", root, 8192, True), "*"),
        (HttpExposedFileSystemStore(root, "images").wsgi_middleware(page), None),
        (HttpExposedFileSystemStore(root, "images").wsgi_middleware(page, cors=True), "*"),
        (store.wsgi_middleware(page), "*"),
    ):
        with serve(app) as port:
            answers = [ask(port, "/images/1.1x1.png"), ask(port, "/images/1.1x1.png", headers={"Range": "bytes=0-1"})]
            assert [answer.headers.get("Access-Control-Allow-Origin") for answer in answers] == [expected, expected]
            assert "Access-Control-Allow-Origin" not in ask(port, "/elsewhere").headers


# --- caching, conditions, ranges -------------------------------------------------------------------------------------


def test_a_picture_with_a_revision_never_changes(port: int) -> None:
    assert ask(port, f"/images/{NAME}").headers["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize("name", [OLD_NAME, "1.1x1.x.foo.jpe", "1.jpe"])
def test_other_pictures_are_asked_for_again(root: Path, port: int, name: str) -> None:
    (root / name).write_bytes(PICTURE)
    assert ask(port, f"/images/{name}").headers["Cache-Control"] == "no-cache"


def test_what_did_not_change_is_not_sent_again(port: int) -> None:
    first = ask(port, f"/images/{OLD_NAME}")
    for condition in ({"If-None-Match": first.headers["ETag"]}, {"If-Modified-Since": first.headers["Last-Modified"]}):
        again = ask(port, f"/images/{OLD_NAME}", headers=condition)
        assert (again.status, again.body) == (304, b"")


def test_what_changed_is_sent_again(root: Path, port: int) -> None:
    first = ask(port, f"/images/{OLD_NAME}")
    (root / OLD_NAME).write_bytes(b"another")
    again = ask(port, f"/images/{OLD_NAME}", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body) == (200, b"another")


def test_a_precondition_that_fails_is_answered_without_the_picture_and_not_kept(port: int) -> None:
    answer = ask(port, f"/images/{NAME}", headers={"If-Match": '"another"'})
    assert answer.status == 412
    assert PICTURE not in answer.body
    assert "Cache-Control" not in answer.headers


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=100-", 100, len(PICTURE)),
        ("bytes=-5", len(PICTURE) - 5, len(PICTURE)),
        (f"bytes=-{len(PICTURE)}", 0, len(PICTURE)),
        ("bytes=-999999", 0, len(PICTURE)),
        ("BYTES = 0-9", 0, 10),
    ],
)
def test_a_range_is_sent_alone(port: int, asked: str, start: int, end: int) -> None:
    answer = ask(port, f"/images/{NAME}", headers={"Range": asked})
    assert (answer.status, answer.body) == (206, PICTURE[start:end])
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(PICTURE)}"


def test_a_range_beyond_the_end_is_refused(port: int) -> None:
    answer = ask(port, f"/images/{NAME}", headers={"Range": "bytes=999999-"})
    assert answer.status == 416
    assert answer.headers["Content-Range"] == f"bytes */{len(PICTURE)}"


@pytest.mark.parametrize("asked", ["bytes=", "pixels=1-2", "bytes=9-1", "bytes=a-b", "bytes=0-9,20-29", "bytes=0-0,-1"])
def test_a_range_that_is_not_understood_is_ignored(port: int, asked: str) -> None:
    answer = ask(port, f"/images/{NAME}", headers={"Range": asked})
    assert (answer.status, answer.body) == (200, PICTURE)
    assert "Content-Range" not in answer.headers


# --- how it is sent --------------------------------------------------------------------------------------------------


def _request(path: str, method: str = "GET", file_wrapper: Any = None, **more: Any) -> WSGIEnvironment:
    if file_wrapper is not None:
        more["wsgi.file_wrapper"] = file_wrapper
    return {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        **more,
    }


def _ignore(*_: Any) -> Any: ...


class FileWrapper:
    """That of a server which sends files in a way of its own."""

    def __init__(self, file: Any, block_size: int) -> None:
        self.file = file
        self.block_size = block_size

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.file.read(self.block_size), b"")

    def close(self) -> None:
        self.file.close()


@pytest.mark.parametrize("block_size", [1, 1000, 8192, 10**6])
def test_is_sent_in_blocks_of_the_size_asked_for(root: Path, block_size: int) -> None:
    middleware = StaticServerMiddleware(page, "images", root, block_size)
    for content in (PICTURE, PICTURE * 10):
        (root / NAME).write_bytes(content)
        body: Any = middleware(_request(f"/images/{NAME}"), _ignore)
        blocks = list(body)
        getattr(body, "close", lambda: None)()  # as servers do
        assert b"".join(blocks) == content
        assert max(map(len, blocks)) == min(block_size, len(content))


def test_the_servers_own_way_of_sending_files_is_used(root: Path) -> None:
    middleware = StaticServerMiddleware(page, "images", root, 1000)
    (root / NAME).write_bytes(PICTURE * 10)
    body: Any = middleware(_request(f"/images/{NAME}", file_wrapper=FileWrapper), _ignore)
    assert type(body) is FileWrapper
    assert body.block_size == 1000
    body.close()


def test_what_fits_into_one_block_of_the_server_is_sent_at_once(root: Path) -> None:
    # which takes less than the way of most servers
    middleware = StaticServerMiddleware(page, "images", root, 1000)
    assert middleware(_request(f"/images/{NAME}", file_wrapper=FileWrapper), _ignore) == [PICTURE]


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", {}),
        ("HEAD", {}),
        ("GET", {"HTTP_RANGE": "bytes=0-9"}),
        ("GET", {"HTTP_RANGE": "bytes=999999-"}),
        ("GET", {"HTTP_IF_MODIFIED_SINCE": "Fri, 01 Jan 2100 00:00:00 GMT"}),
        ("GET", {"HTTP_IF_MATCH": '"another"'}),
    ],
)
@pytest.mark.parametrize("file_wrapper", [None, FileWrapper])
def test_the_file_is_closed_with_the_response(
    root: Path, file_wrapper: Any, method: str, headers: dict[str, str]
) -> None:
    middleware = StaticServerMiddleware(page, "images", root)
    environ = _request(f"/images/{NAME}", method, file_wrapper, **headers)
    body: Any = middleware(environ, _ignore)
    for _ in body:
        break  # the client hangs up
    getattr(body, "close", lambda: None)()  # as servers do
    assert _open_files(root) == []


def _open_files(root: Path) -> list[str]:
    paths = (os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd"))
    return [path for path in paths if path.startswith(str(root))]


# --- the host of URLs ------------------------------------------------------------------------------------------------


@pytest.fixture
def store(root: Path) -> HttpExposedFileSystemStore:
    return HttpExposedFileSystemStore(root, "images")


def _locating(store: HttpExposedFileSystemStore) -> Any:
    """An application that answers with a picture's URL."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            body = store.get_url("user-picture", 1234, 640, 480, "image/jpeg", revision=REVISION).encode()
        except UnknownHostError as error:
            body = f"error: {error}".encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    return application


def test_a_picture_is_found_at_the_url_that_the_application_gives(store: HttpExposedFileSystemStore) -> None:
    middleware = store.wsgi_middleware(_locating(store))
    assert isinstance(middleware, StaticServerMiddleware)
    with serve(middleware) as port:
        url = ask(port, "/").body.decode()
        assert url == f"http://127.0.0.1:{port}/images/{NAME}"
        assert ask(port, url.removeprefix(f"http://127.0.0.1:{port}")).body == PICTURE


def test_each_request_has_its_own_host(store: HttpExposedFileSystemStore) -> None:
    with serve(store.wsgi_middleware(_locating(store))) as port:
        for host in ("one.example.com", "two.example.com:8080", "one.example.com", "[2001:db8::1]:80", "my_host"):
            answer = ask(port, "/", headers={"Host": host})
            assert answer.body.decode() == f"http://{host}/images/{NAME}"


def test_requests_at_the_same_time_do_not_mix_their_hosts(store: HttpExposedFileSystemStore) -> None:
    count = 6
    meeting = threading.Barrier(count, timeout=60)
    locate = _locating(store)

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        meeting.wait()  # all of them are within a request now
        return locate(environ, start_response)

    answers: dict[int, str] = {}

    def visit(number: int) -> None:
        answers[number] = ask(address, "/", headers={"Host": f"{number}.example.com"}).body.decode()

    with serve(store.wsgi_middleware(application)) as address:
        threads = [threading.Thread(target=visit, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == {number: f"http://{number}.example.com/images/{NAME}" for number in range(count)}


def test_a_response_that_is_generated_little_by_little_has_the_host_to_its_end(
    store: HttpExposedFileSystemStore,
) -> None:
    ended: list[str] = []

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        try:
            for _ in range(3):
                yield store.base_url.encode() + b"\n"
        finally:
            ended.append(store.base_url)

    with serve(store.wsgi_middleware(application)) as port:
        answer = ask(port, "/", headers={"Host": "example.com"})
    assert answer.body == b"http://example.com/images/\n" * 3
    assert ended == ["http://example.com/images/"]


def test_nothing_of_a_request_is_left_behind(store: HttpExposedFileSystemStore) -> None:
    middleware = store.wsgi_middleware(_locating(store))
    body = middleware(_request("/", HTTP_HOST="example.com"), _ignore)
    assert b"".join(body) == f"http://example.com/images/{NAME}".encode()
    assert request_url.get() is None
    with pytest.raises(UnknownHostError):
        store.get_url("user-picture", 1234, 640, 480, "image/jpeg")


def test_nothing_of_a_request_is_left_behind_when_the_application_fails(store: HttpExposedFileSystemStore) -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        raise KeyError(store.base_url)

    with pytest.raises(KeyError, match=r"http://example\.com/images/"):
        store.wsgi_middleware(application)(_request("/", HTTP_HOST="example.com"), _ignore)
    assert request_url.get() is None


def test_the_applications_own_context_variables_last_to_the_end_of_its_response() -> None:
    from contextvars import ContextVar

    user: ContextVar[str] = ContextVar("user", default="nobody")

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        user.set("somebody")
        return (user.get().encode() for _ in range(2))

    assert list(RequestUrlMiddleware(application)(_request("/"), _ignore)) == [b"somebody", b"somebody"]
    assert user.get() == "nobody"


def test_the_getter_takes_precedence_over_the_request(root: Path) -> None:
    store = HttpExposedFileSystemStore(root, "images", lambda: "https://cdn.example.com")
    with serve(store.wsgi_middleware(_locating(store))) as port:
        answer = ask(port, "/", headers={"Host": "evil.example.com"})
    assert answer.body.decode() == f"https://cdn.example.com/images/{NAME}"


@pytest.mark.parametrize(
    "host",
    [
        b'example.com"><script>alert(1)</script>',
        b"example.com/../x",
        b"example.com\\@evil.com",
        b"user@example.com",
        b"example.com:80:80",
        b"example.com:http",
        b"example com",
        b"exa\xc3\xa9mple.com",
        b"[::1",
        b"javascript:alert(1)",
        b"a" * 300,
        b"%0d%0aX: 1",
        b"?",
        b"#",
        b"-",
        b".",
    ],
)
def test_a_hostile_host_never_becomes_part_of_a_url(store: HttpExposedFileSystemStore, host: bytes) -> None:
    with serve(store.wsgi_middleware(_locating(store))) as port:
        answer = ask_raw(port, b"GET / HTTP/1.0\r\nHost: " + host + b"\r\n\r\n")
    assert answer.status == 400 or answer.body.startswith(b"error: the host of image URLs is not known")


def test_without_a_host_header_the_server_is_named(store: HttpExposedFileSystemStore) -> None:
    with serve(store.wsgi_middleware(_locating(store)), with_wsgiref) as port:
        answer = ask_raw(port, b"GET / HTTP/1.0\r\n\r\n")
    assert re.fullmatch(rf"http://[\w.-]+:{port}/images/{re.escape(NAME)}", answer.body.decode())


@pytest.mark.parametrize(
    ("scheme", "port", "expected"), [("https", "443", "x"), ("http", "80", "x"), ("http", "8", "x:8")]
)
def test_the_port_is_named_where_it_matters(
    store: HttpExposedFileSystemStore, scheme: str, port: str, expected: str
) -> None:
    environ = _request("/", SERVER_NAME="x", SERVER_PORT=port, **{"wsgi.url_scheme": scheme})
    [body] = store.wsgi_middleware(_locating(store))(environ, _ignore)
    assert body.decode() == f"{scheme}://{expected}/images/{NAME}"


def test_an_application_that_is_mounted_below_a_path_has_its_pictures_there(store: HttpExposedFileSystemStore) -> None:
    mounted = DispatcherMiddleware(page, {"/my shop": store.wsgi_middleware(_locating(store))})
    with serve(mounted) as port:
        url = ask(port, "/my%20shop/").body.decode()
        assert url == f"http://127.0.0.1:{port}/my%20shop/images/{NAME}"
        assert ask(port, url.removeprefix(f"http://127.0.0.1:{port}")).body == PICTURE


def test_behind_a_proxy_the_middleware_that_knows_the_proxy_decides(store: HttpExposedFileSystemStore) -> None:
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example.com", "Host": "10.0.0.7"}
    middleware = store.wsgi_middleware(_locating(store))
    with serve(middleware) as port:
        assert ask(port, "/", headers=forwarded).body.startswith(b"http://10.0.0.7/")
    with serve(ProxyFix(middleware, x_proto=1, x_host=1)) as port:
        assert ask(port, "/", headers=forwarded).body.startswith(b"https://shop.example.com/")


def test_two_stores_can_be_exposed(store: HttpExposedFileSystemStore, tmp_path: Path) -> None:
    other = HttpExposedFileSystemStore(tmp_path / "images-private", "private")
    with serve(other.wsgi_middleware(store.wsgi_middleware(_locating(store)))) as port:
        assert ask(port, "/").body.decode() == f"http://127.0.0.1:{port}/images/{NAME}"
        assert ask(port, f"/images/{NAME}").body == PICTURE
        assert ask(port, "/private/secret.jpe").body == b"secret"


@pytest.mark.parametrize("documented_way", [lambda app: app.wsgi_app, lambda app: app])
def test_a_flask_application_is_wrapped_in_both_documented_ways(
    store: HttpExposedFileSystemStore, documented_way: Any
) -> None:
    app = flask.Flask("gallery")

    @app.get("/")
    def index() -> str:
        return store.get_url("user-picture", 1234, 640, 480, "image/jpeg", revision=REVISION)

    app.wsgi_app = store.wsgi_middleware(documented_way(app))  # type: ignore[method-assign]
    with serve(app) as port:
        url = ask(port, "/").body.decode()
        assert url == f"http://127.0.0.1:{port}/images/{NAME}"
        assert ask(port, f"/images/{NAME}").body == PICTURE


def test_a_flask_application_as_a_whole_can_be_wrapped(store: HttpExposedFileSystemStore) -> None:
    app = flask.Flask("gallery")
    app.add_url_rule("/", view_func=lambda: store.base_url)
    application = store.wsgi_middleware(app)
    app.wsgi_app = ProxyFix(app.wsgi_app, x_host=1)  # type: ignore[method-assign]  # later, and not bypassed
    with serve(application) as port:
        assert ask(port, "/").body.decode() == f"http://127.0.0.1:{port}/images/"


def test_servers_still_see_lists_and_their_own_file_wrappers() -> None:
    wrapped = FileWrapper(io.BytesIO(), 1)
    results: list[Any] = [[b"a"], (b"a",), wrapped]
    for result in results:
        middleware = RequestUrlMiddleware(lambda *_, result=result: result)
        assert middleware(_request("/", file_wrapper=FileWrapper), _ignore) is result


def test_the_response_of_the_application_is_closed() -> None:
    closed: list[bool] = []

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"a", b"b"])

        def close(self) -> None:
            closed.append(True)

    body: Any = RequestUrlMiddleware(lambda *_: Body())(_request("/"), _ignore)
    assert list(body) == [b"a", b"b"]
    body.close()
    assert closed == [True]


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("app", "images", "/tmp"), InvalidTypeError, "app"),
        ((page, None, "/tmp"), InvalidTypeError, "url_path"),
        ((page, "images", "/tmp", "8192"), InvalidTypeError, "block_size"),
        ((page, "images", "/tmp", True), InvalidTypeError, "block_size"),
        ((page, "images", "/tmp", 0), InvalidValueError, "block_size"),
        ((page, "images", None), InvalidTypeError, "dir_path"),
    ],
)
def test_wrong_arguments_are_refused(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        StaticServerMiddleware(*arguments)


def test_what_is_no_application_is_refused(store: HttpExposedFileSystemStore) -> None:
    with pytest.raises(InvalidTypeError, match="WSGI application"):
        store.wsgi_middleware("app")  # type: ignore[arg-type]


# --- slow clients ----------------------------------------------------------------------------------------------------


def test_clients_that_do_not_read_keep_nobody_waiting(root: Path) -> None:
    (root / "1.1x1.jpe").write_bytes(PICTURE * 1000)  # more than the buffers of sockets hold
    app: Any = asgi.StaticServerMiddleware(asgi_page, "images", root)
    with serve(app, with_uvicorn) as port, contextlib.ExitStack() as slow:
        for _ in range(100):  # more than there are threads
            client = slow.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            client.sendall(b"GET /images/1.1x1.jpe HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.recv(10)
        assert ask(port, f"/images/{NAME}").body == PICTURE


def test_clients_that_do_not_write_keep_nobody_waiting(root: Path) -> None:
    app: Any = asgi.StaticServerMiddleware(asgi_page, "images", root)
    with serve(app, with_uvicorn) as port, contextlib.ExitStack() as slow:
        for _ in range(100):
            client = slow.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            client.sendall(f"GET /images/{NAME} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n".encode())
            assert client.recv(10)  # what is sent with it is not waited for
        assert ask(port, f"/images/{NAME}").body == PICTURE


@pytest.mark.parametrize("with_server", [with_werkzeug, with_uvicorn])
def test_a_file_that_becomes_shorter_while_it_is_sent_ends_the_connection(root: Path, with_server: Any) -> None:
    path = root / "1.1x1.jpe"
    path.write_bytes(PICTURE * 1000)
    app: Any = StaticServerMiddleware(page, "images", root)
    if with_server is with_uvicorn:
        app = asgi.StaticServerMiddleware(asgi_page, "images", root)
    with serve(app, with_server) as port, socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(b"GET /images/1.1x1.jpe HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = client.recv(10_000)
        os.truncate(path, 1000)
        count = len(head.partition(b"\r\n\r\n")[2])
        with contextlib.suppress(ConnectionError):
            while part := client.recv(1_000_000):
                count += len(part)
    assert f"Content-Length: {len(PICTURE) * 1000}".lower().encode() in head.lower()
    assert count < len(PICTURE) * 1000
