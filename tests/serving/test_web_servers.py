"""The real nginx and lighttpd in front: they send what the application has allowed, and nothing else."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.serving.request import Asked, Request
from sqlalchemy_imageattach.stores.endpoint import StoreEndpoint
from sqlalchemy_imageattach.stores.fs import FileSystemStore

from ..needs import unavailable
from .servers import ask, serve, with_uvicorn, with_werkzeug

PICTURE = bytes(range(256)) * 1000
KEY = ImageKey("user-picture", 1234, 640, 480, "image/jpeg", "Xk3v9QpLm2wAbCdE")
GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "serving.rst"

CONFIGURATION = """
daemon off;
{user}
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port};
{locations}
    }}
}}
"""


LIGHTTPD = """
server.document-root = "{directory}"
server.bind = "127.0.0.1"
server.port = {port}
server.errorlog = "{directory}/error.log"
server.modules = ("mod_proxy")
{directives}
"""


def configuration_of(beginning: str) -> str:
    """A block of the guide."""
    text = GUIDE.read_text(encoding="utf-8")
    lines = [beginning]
    for line in text.split(beginning, 1)[1].splitlines()[1:]:
        if line.strip() and not line.startswith("   "):
            break
        lines.append(line)
    return "\n".join(lines)


@contextlib.contextmanager
def running(name: str, directory: Path, backend: int, root: Path) -> Iterator[int]:
    """A server before the application at the port ``backend``; gives its own port."""
    if shutil.which(name) is None:
        unavailable(f"no {name}: apt-get install {name}")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # the directories of pytest are their owner's alone
    user = "user root;" if os.geteuid() == 0 else ""
    block = configuration_of("location /protected-images/ {" if name == "nginx" else "proxy.server = (")
    for theirs, ours in (("/var/local/app/images", str(root)), ("8000", str(backend))):
        assert theirs in block
        block = block.replace(theirs, ours)
    file = directory / f"{name}.conf"
    if name == "nginx":
        file.write_text(CONFIGURATION.format(user=user, directory=directory, port=port, locations=block))
        command = ["nginx", "-c", str(file), "-e", str(directory / "error.log")]
    else:
        file.write_text(LIGHTTPD.format(directory=directory, port=port, directives=block))
        command = ["lighttpd", "-D", "-f", str(file)]
    process = subprocess.Popen(command)
    try:
        while not _answers(port):
            assert process.poll() is None, (directory / "error.log").read_text()
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def authorise(request: Request, asked: Asked) -> bool:
    return request.header("X-User") == "admin"


@pytest.fixture
def store(tmp_path: Path) -> FileSystemStore:
    tmp_path.chmod(0o755)
    (tmp_path / "images").mkdir()
    (tmp_path / "secret.jpe").write_bytes(b"secret")
    store = FileSystemStore(tmp_path / "images", "/pictures/")
    for key in (KEY, replace(KEY, object_type="bücher 50%#"), replace(KEY, mimetype="image/svg+xml")):
        store.put(key, io.BytesIO(PICTURE), reproducible=False)
    return store


@pytest.fixture(params=["nginx", "lighttpd"])
def server(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[with_werkzeug, with_uvicorn])
def port(request: pytest.FixtureRequest, server: str, store: FileSystemStore, tmp_path: Path) -> Iterator[int]:
    way: dict[str, Any] = {"send": "X-Sendfile"}
    if server == "nginx":
        way = {"send": "X-Accel-Redirect", "internal_url": "/protected-images/"}
    endpoint = StoreEndpoint(store, authorise=authorise, prefix="pictures", **way)
    (tmp_path / "server").mkdir()
    app = endpoint.asgi if request.param is with_uvicorn else endpoint.wsgi
    with serve(app, request.param) as backend, running(server, tmp_path / "server", backend, Path(store.path)) as port:
        yield port


def test_the_server_sends_what_the_application_allows(port: int) -> None:
    for path in ("/pictures/user-picture/234/1/1234.640x480.Xk3v9QpLm2wAbCdE.jpe", f"/pictures/{KEY.object_name()}"):
        assert ask(port, path).status == 403
        answer = ask(port, path, headers={"X-User": "admin"})
        assert (answer.status, answer.body) == (200, PICTURE)
        assert answer.headers["Content-Type"] == "image/jpeg"
        assert answer.headers["Cache-Control"] == "private, no-cache"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert not {"X-Accel-Redirect", "X-Sendfile"} & set(answer.headers)
        part = ask(port, path, headers={"X-User": "admin", "Range": "bytes=1000-1009"})
        assert (part.status, part.body) == (206, PICTURE[1000:1010])
        again = ask(port, path, headers={"X-User": "admin", "If-None-Match": answer.headers["ETag"]})
        assert (again.status, again.body) == (304, b"")
        assert ask(port, path, "HEAD", {"X-User": "admin"}).headers["Content-Length"] == str(len(PICTURE))


def test_names_of_any_kind_are_found(port: int) -> None:
    path = "/pictures/b%C3%BCcher%2050%25%23/1234/640x480.Xk3v9QpLm2wAbCdE.jpe"
    assert ask(port, path, headers={"X-User": "admin"}).body == PICTURE


def test_what_could_be_run_is_confined(port: int) -> None:
    path = "/pictures/user-picture/1234/640x480.Xk3v9QpLm2wAbCdE.svg"
    answer = ask(port, path, headers={"X-User": "admin"})
    assert answer.headers["Content-Type"] == "image/svg+xml"
    assert "sandbox" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "path",
    [
        "/protected-images/user-picture/234/1/1234.640x480.Xk3v9QpLm2wAbCdE.jpe",
        "/pictures/../protected-images/user-picture/234/1/1234.640x480.Xk3v9QpLm2wAbCdE.jpe",
        "/protected-images/../secret.jpe",
        "/protected-images..%2fsecret.jpe",
        "/protected-images%2f..%2fsecret.jpe",
        "/pictures/..%2fsecret.jpe",
        "/pictures/user-picture/1234/640x480.Xk3v9QpLm2wAbCdF.jpe",
    ],
)
def test_nothing_else_is_sent(port: int, path: str) -> None:
    answer = ask(
        port, path, headers={"X-User": "admin", "X-Accel-Redirect": "/protected-images/x", "X-Sendfile": "/etc/passwd"}
    )
    assert answer.status in {400, 404}
    assert PICTURE not in answer.body
    assert b"secret" not in answer.body
