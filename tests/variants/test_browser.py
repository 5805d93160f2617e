"""What a browser makes of ``picture()``: which file it takes, what it shows first, and that nothing moves."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import PIL.Image
import pytest
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from sqlalchemy_imageattach.entity import Image, SingleImageSet, image_attachment
from sqlalchemy_imageattach.imaging.variant import Variant
from sqlalchemy_imageattach.stores.fs import FileSystemStore

from ..browser import Browser
from ..entity.support import database, picture

TYPES = {".avif": "image/avif", ".webp": "image/webp", ".jpe": "image/jpeg"}
PAGE = """<!doctype html><meta name="viewport" content="width=device-width">
<style>body {{ margin: 0 }} .fluid img {{ width: 100%; height: auto }}</style>
<script>
let shift = 0;
const noted = entries => shift = entries.reduce((sum, entry) => sum + entry.value, shift);
const watch = new PerformanceObserver(list => noted(list.getEntries()));
watch.observe({{type: "layout-shift", buffered: true}});
</script>
<div class="{kind}">{element}</div><p>what stands below</p>"""


class Base(DeclarativeBase):
    pass


class Product(Base):
    __tablename__ = "product"
    id: Mapped[int] = mapped_column(primary_key=True)
    photo: Mapped[SingleImageSet[Photo]] = image_attachment()


class Photo(Base, Image):
    __tablename__ = "photo"
    product_id: Mapped[int] = mapped_column(ForeignKey("product.id"), primary_key=True)
    image_variants = {
        "card": Variant(widths=(200, 400, 800), formats=("avif", "webp", "jpeg")),
        "avatar": Variant(width=60, height=60, fit="fill", densities=(1, 2), formats=("webp", "jpeg")),
    }


@dataclass
class Site:
    """Pages by their paths, and the files of a store, which can be held back."""

    root: Path
    pages: dict[str, str] = field(default_factory=dict)
    released: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def show(self, window: Browser, element: str, kind: str = "fluid") -> None:
        path = f"/{len(self.pages)}"  # another one each time, so that nothing comes from a cache of pages
        self.pages[path] = PAGE.format(kind=kind, element=element)
        window.open(self.url + path)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    found = Site(tmp_path / "images")
    found.released.set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            if path in found.pages:
                return self._send(found.pages[path].encode(), "text/html; charset=utf-8")
            if not path.startswith("/images/"):
                return self.send_error(404)
            found.released.wait()
            file = found.root / path.removeprefix("/images/")
            return self._send(file.read_bytes(), TYPES[file.suffix])

        def _send(self, body: bytes, mimetype: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", mimetype)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield found
    finally:
        found.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def photo(site: Site) -> Iterator[SingleImageSet[Photo]]:
    store = FileSystemStore(site.root, f"{site.url}/images/")
    with database(Base.metadata) as engine, Session(engine, info={"image_store": store}) as session:
        session.add(product := Product())
        product.photo.from_blob(picture(900, 600, "red", "JPEG"))
        session.commit()
        yield product.photo


def chosen(window: Browser) -> tuple[int, str]:
    """The width and the type of the file that the browser has taken, and could decode."""
    found = "const image = document.images[0]; return image.decode().then(() => image.currentSrc)"
    size, _, extension = urlsplit(window.run(found)).path.rpartition("/")[2].split(".")[1:]
    return int(size.partition("x")[0]), TYPES[f".{extension}"]


def painted(window: Browser) -> None:
    """Afterwards the page has been painted as it is."""
    window.run("return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))")


def shift(window: Browser) -> float:
    """By how much the layout has moved since the page was opened."""
    painted(window)
    script = "return noted(watch.takeRecords())"
    moved: float = window.run(script)
    return moved


def test_the_file_is_chosen_by_viewport_density_and_format(
    window: Browser, site: Site, photo: SingleImageSet[Photo]
) -> None:
    element = photo.picture("card", alt="", sizes="(min-width: 600px) 50vw, 100vw")
    for unknown, mimetype in (([], "image/avif"), (["avif"], "image/webp"), (["avif", "webp"], "image/jpeg")):
        window.disable_types(*unknown)
        found = {}
        # the smallest first: a browser that has a larger one already takes that
        for width, density in ((200, 1), (700, 1), (390, 2)):
            window.resize(width, 900, density)
            site.show(window, element)
            found[width, density] = chosen(window)
        assert found == {(200, 1): (200, mimetype), (700, 1): (400, mimetype), (390, 2): (800, mimetype)}


def test_of_one_size_the_file_is_chosen_by_density(window: Browser, site: Site, photo: SingleImageSet[Photo]) -> None:
    for density, width in ((1, 60), (2, 120)):
        window.resize(700, 900, density)
        site.show(window, photo.picture("avatar", alt=""), kind="fixed")
        assert chosen(window) == (width, "image/webp")
        assert window.run("return document.images[0].getBoundingClientRect().width") == 60


def test_the_placeholder_is_seen_first_and_nothing_moves_when_the_picture_comes(
    window: Browser, site: Site, photo: SingleImageSet[Photo], tmp_path: Path
) -> None:
    box = "const {width, height} = document.images[0].getBoundingClientRect(); return [width, height]"
    window.resize(600, 900)
    element = photo.picture("card", alt="")
    unsized = element.replace('width="800" height="533"', "")
    assert unsized != element
    moved = {}
    for html in (element, unsized):
        site.released.clear()
        site.show(window, html)
        assert not window.run("return document.images[0].complete")
        painted(window)
        before = window.run(box)
        if html is element:
            window.screenshot(tmp_path / "before.png")
            with PIL.Image.open(io.BytesIO((tmp_path / "before.png").read_bytes())) as shown:
                red, green, blue = shown.convert("RGB").getpixel((300, 200))  # type: ignore[misc]
            assert red > 200 > 60 > max(green, blue), "its colour, where the picture is going to be"
        site.released.set()
        assert chosen(window) == (800, "image/avif")  # it has come
        moved[html] = (shift(window), window.run(box) == before)
    assert moved[element] == (0, True)
    assert moved[unsized][0] > 0, "the sizes are what keeps it in its place"
    assert not moved[unsized][1]
