"""What a real browser makes of hostile pictures that are opened from our URLs: nothing of them runs."""

from __future__ import annotations

import io
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.wrappers import Request, Response

from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.serving.wsgi import StaticServerMiddleware
from sqlalchemy_imageattach.stores.endpoint import StoreEndpoint
from sqlalchemy_imageattach.stores.fs import FileSystemStore

from ..browser import Browser
from .servers import serve

KEY = ImageKey("user-picture", 1, 60, 40, "image/svg+xml", "Xk3v9QpLm2wAbCdE")
SVG = b"""<svg xmlns="http://www.w3.org/2000/svg" width="60" height="40" onload="fetch('/ran?onload')">
<script>fetch('/ran?script'); document.documentElement.setAttribute('data-ran', '1')</script>
<script href="/script.js"/><image href="/ran?image" width="1" height="1"/>
<foreignObject><body xmlns="http://www.w3.org/1999/xhtml"><img src="/ran?img" onerror="fetch('/ran?onerror')"/>
<iframe src="/ran?iframe"/></body></foreignObject><use href="/ran?use#x"/>
<rect width="60" height="40" fill="red"/></svg>"""
GIF = b"GIF89a/*\x00\x00\x00\x00\x00\x00\x00\x00*/=1;fetch('/ran?gif')//"
HTML = b"\xff\xd8\xff\xe0<html><body><script>fetch('/ran?html')</script></body></html>"
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog/OpenAction<</S/URI/URI(/ran?pdf)>>>>endobj\ntrailer<</Root 1 0 R>>"


class Site:
    """A site that notes what has run; what is hostile is below ``/naked`` without our headers, to compare with."""

    def __init__(self, root: Path) -> None:
        self.store = FileSystemStore(root, "/files/")
        self.ran: list[str] = []
        self.asked = threading.Event()
        endpoint = StoreEndpoint(self.store)
        self.app: Any = DispatcherMiddleware(
            StaticServerMiddleware(self._page, "files", root), {"/pictures": endpoint.wsgi}
        )

    def put(self, key: ImageKey, content: bytes) -> None:
        self.store.put(key, io.BytesIO(content), reproducible=False)

    def _page(self, environ: Any, start_response: Any) -> Any:
        request = Request(environ)
        response = Response("<!doctype html><p>a page", mimetype="text/html")
        if request.path == "/ran":
            self.ran.append(request.query_string.decode())
            self.asked.set()
        elif request.path == "/naked.svg":
            response = Response(SVG, mimetype="image/svg+xml")
        elif request.path == "/including":
            page = f"<!doctype html><script src='{request.args['src']}'></script><p>a page"
            response = Response(page, mimetype="text/html")
        return response(environ, start_response)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_hostile_svg_would_run_without_our_headers(site: Site, shared_window: Browser) -> None:
    with serve(site.app) as port:
        shared_window.open(f"http://127.0.0.1:{port}/naked.svg")
        assert site.asked.wait(60)
    assert site.ran


@pytest.mark.parametrize("mounted", ["pictures", "files"])
@pytest.mark.parametrize(
    ("mimetype", "content"),
    [("image/svg+xml", SVG), ("image/jpeg", HTML), ("image/gif", GIF), ("application/pdf", PDF), ("text/html", HTML)],
)
def test_nothing_runs_that_is_opened(
    site: Site, shared_window: Browser, mounted: str, mimetype: str, content: bytes
) -> None:
    key = replace(KEY, mimetype=mimetype)
    site.put(key, content)
    with serve(site.app) as port:
        shared_window.open(f"http://127.0.0.1:{port}/{mounted}/{key.file_path()}")
        shared_window.open(f"http://127.0.0.1:{port}/")  # all that was to be loaded before is over
    assert site.ran == []


def test_a_picture_is_no_script(site: Site, shared_window: Browser) -> None:
    for mimetype in ("image/gif", "image/jpeg"):
        key = replace(KEY, mimetype=mimetype)
        site.put(key, GIF)
        with serve(site.app) as port:
            shared_window.open(f"http://127.0.0.1:{port}/including?src=/pictures/{key.object_name()}")
            shared_window.open(f"http://127.0.0.1:{port}/")
    assert site.ran == []


def test_a_hostile_svg_is_still_shown_as_a_picture(site: Site, shared_window: Browser) -> None:
    site.put(KEY, SVG)
    with serve(site.app) as port:
        shared_window.open(f"http://127.0.0.1:{port}/")
        script = """
            const url = arguments[0], image = new Image();
            return new Promise(done => {
                image.onload = () => done(image.naturalWidth); image.onerror = () => done(0); image.src = url;
            });
        """
        assert shared_window.run(script, f"/pictures/{KEY.object_name()}") == 60
    assert site.ran == []
