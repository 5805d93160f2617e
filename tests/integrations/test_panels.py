"""Admin panels, used by a real browser: a picture is uploaded, shown, replaced, refused and removed."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, event
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.stores.fs import FileSystemStore
from tests.pictures import picture

from ..browser import Browser
from .models import Product
from .panels import PANELS, Panel, served

# the panels leave uploads, and some of their connections, to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What is left is collected here, where it is known whose it is, and not in whichever test comes later."""
    yield
    gc.collect()


@pytest.fixture(params=PANELS)
def panel(request: pytest.FixtureRequest) -> Panel:
    return PANELS[request.param]


@pytest.fixture
def site(panel: Panel, engine: Engine, store: FileSystemStore) -> Iterator[str]:
    with served(panel.make(engine), is_asgi=panel.is_asgi) as url:
        yield url


def photo(engine: Engine) -> tuple[str, tuple[int, int] | None]:
    """The name of the first product, and the size of its photograph."""
    with Session(engine) as session:
        product = session.get_one(Product, 1)
        return product.name, product.photo.size if product.photo else None


def file(directory: Path, name: str, content: bytes) -> str:
    (directory / name).write_bytes(content)
    return str(directory / name)


def fill_in(window: Browser, panel: Panel, *, name: str = "", file: str = "", remove: bool = False) -> None:
    window.run("document.querySelectorAll('form').forEach(form => form.noValidate = true)")  # what a browser checks
    window.run("document.querySelector('[name=name]').value = arguments[0]", name)
    window.run("document.querySelector('[name=price]').value = '3'")
    if file:
        window.find(f"[name='{panel.file}']").type(file)
    if remove:
        window.run(f"document.querySelector('[name=\"{panel.remove}\"]').click()")
    window.run("document.former = true")
    window.run("const f = document.querySelector('[name=price]').form; setTimeout(() => f.requestSubmit())")
    deadline = time.monotonic() + 60  # of a test that fails anyway
    while window.run("return document.former || document.readyState !== 'complete'"):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_picture_is_uploaded_shown_replaced_and_removed(
    panel: Panel, site: str, shared_window: Browser, engine: Engine, store: FileSystemStore, tmp_path: Path
) -> None:
    shared_window.open(site + panel.create)
    fill_in(shared_window, panel, name="Lamp", file=file(tmp_path, "lamp.png", picture(80, 60, "red", "PNG")))
    assert photo(engine) == ("Lamp", (80, 60))

    shared_window.open(site + panel.items)
    with Session(engine) as session:
        url = session.get_one(Product, 1).photo.locate()
    pictures = "[...document.querySelectorAll('img, .avatar')].map(e => e.src || e.style.cssText)"
    shown = f"return {pictures}.some(found => found.includes(arguments[0]))"
    deadline = time.monotonic() + 60
    while not shared_window.run(shown, url):  # one of them fetches its rows by a script
        assert time.monotonic() < deadline
        time.sleep(0.02)

    shared_window.open(site + panel.edit)
    assert shared_window.run(shown, url)
    fill_in(shared_window, panel, name="Lamp 2", file=file(tmp_path, "lamp2.jpg", picture(90, 50, "blue", "JPEG")))
    assert photo(engine) == ("Lamp 2", (90, 50))
    assert len(list(store.list_blobs())) == 1

    shared_window.open(site + panel.edit)
    fill_in(shared_window, panel, name="Lamp 3")
    assert photo(engine) == ("Lamp 3", (90, 50)), "no file, no change"

    shared_window.open(site + panel.edit)
    fill_in(shared_window, panel, name="Lamp 4", remove=True)
    assert photo(engine) == ("Lamp 4", None)
    assert list(store.list_blobs()) == []


def test_what_is_refused_is_said_at_the_field(
    panel: Panel, site: str, shared_window: Browser, engine: Engine, store: FileSystemStore, tmp_path: Path
) -> None:
    for name, content, said in (
        ("text.png", b"no picture", "expected an image, got bytes of no known image type"),
        ("long.png", picture(9, 9, "red", "PNG") + bytes(100_000), "expected a file of at most 100,000 bytes"),
        ("cut.jpg", picture(80, 60, "red", "JPEG")[:300], ""),
    ):
        shared_window.open(site + panel.create)
        fill_in(shared_window, panel, name="Lamp", file=file(tmp_path, name, content))
        errors = shared_window.run(
            f"return [...document.querySelectorAll('{panel.error}')].map(e => e.innerText).join()"
        )
        assert errors.strip()
        assert said in errors
        assert shared_window.run("return document.querySelector('[name=name]').value") == "Lamp"
    with Session(engine) as session:
        assert session.query(Product).all() == []
    assert list(store.list_blobs()) == []


@pytest.mark.parametrize("panel", [panel for panel in PANELS.values() if panel.keeps], ids=["Flask-Admin", "SQLAdmin"])
def test_a_picture_survives_a_form_that_is_refused_for_another_reason(
    panel: Panel, site: str, shared_window: Browser, engine: Engine, store: FileSystemStore, tmp_path: Path
) -> None:
    shared_window.open(site + panel.create)
    fill_in(shared_window, panel, name="", file=file(tmp_path, "lamp.png", picture(80, 60, "red", "PNG")))
    with Session(engine) as session:
        assert session.query(Product).all() == []
    fill_in(shared_window, panel, name="Lamp")
    assert photo(engine) == ("Lamp", (80, 60))
    blobs = [blob for blob in store.list_blobs() if not blob.name.startswith(".")]
    assert len(blobs) == 1


def test_a_list_of_many_products_takes_one_statement_more(
    panel: Panel, site: str, engine: Engine, store: FileSystemStore
) -> None:
    with Session(engine) as session:
        for number in range(8):
            session.add(product := Product(name=f"Lamp {number}", price=3))
            product.photo.from_blob(picture(8, 8, "red", "PNG"))
        session.commit()
    sent: list[str] = []

    def note(*args: object) -> None:
        sent.append(str(args[2]))

    event.listen(Engine, "before_cursor_execute", note)  # of whichever engine
    try:
        assert httpx.get(site + panel.items).status_code == 200
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert sum("FROM product" in statement for statement in sent) >= 1
    assert sum("FROM photo" in statement for statement in sent) <= 1


def test_several_pictures_are_left_out_of_the_form_and_alone(
    panel: Panel, site: str, engine: Engine, store: FileSystemStore, shared_window: Browser
) -> None:
    with Session(engine) as session:
        session.add(product := Product(id=1, name="Lamp", price=3))
        product.details.get_image_set(number=1).from_blob(picture(8, 8, "red", "PNG"))
        session.commit()
    shared_window.open(site + panel.edit)
    assert not shared_window.run("return document.querySelector('[name^=details]')")
    fill_in(shared_window, panel, name="Lamp 2")
    with Session(engine) as session:
        product = session.get_one(Product, 1)
        assert product.name == "Lamp 2"
        assert [image.size for image in product.details] == [(8, 8)]


@pytest.mark.parametrize("name", ["SQLAdmin", "starlette-admin"])
def test_a_panel_works_below_an_async_engine(
    name: str, engine: Engine, store: FileSystemStore, shared_window: Browser, tmp_path: Path
) -> None:
    panel = PANELS[name]
    asynchronous = create_async_engine(f"sqlite+aiosqlite:///{engine.url.database}")
    with served(panel.make(asynchronous), is_asgi=True) as site:
        shared_window.open(site + panel.create)
        fill_in(shared_window, panel, name="Lamp", file=file(tmp_path, "lamp.png", picture(80, 60, "red", "PNG")))
        assert photo(engine) == ("Lamp", (80, 60))
        assert httpx.get(site + panel.items).status_code == 200
        shared_window.open(site + panel.edit)
        fill_in(shared_window, panel, name="Lamp", file=file(tmp_path, "lamp.jpg", picture(90, 50, "red", "JPEG")))
        assert photo(engine) == ("Lamp", (90, 50))
        shared_window.open(site + panel.edit)
        fill_in(shared_window, panel, name="Lamp", remove=True)
        assert photo(engine) == ("Lamp", None)
    asyncio.run(asynchronous.dispose())
