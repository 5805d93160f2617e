"""The glue for frameworks, each with the real one: the store of a request, pictures served, refusals answered."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
import transaction
import zope.sqlalchemy
from fastapi import Depends, FastAPI, Request, UploadFile
from flask import Flask, render_template_string, request
from flask_sqlalchemy import SQLAlchemy
from litestar import Litestar, get, post
from litestar.datastructures import UploadFile as LitestarUpload
from litestar.di import NamedDependency
from litestar.enums import RequestEncodingType
from litestar.params import Body
from pydantic import BaseModel, ConfigDict
from pyramid.config import Configurator
from pyramid.exceptions import ConfigurationError
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from werkzeug.test import Client

from sqlalchemy_imageattach.context import get_current_store
from sqlalchemy_imageattach.errors import ContextError, InvalidTypeError, InvalidValueError
from sqlalchemy_imageattach.integrations import fastapi as glue
from sqlalchemy_imageattach.integrations.flask import ImageAttach
from sqlalchemy_imageattach.integrations.litestar import ImageAttachPlugin
from sqlalchemy_imageattach.integrations.storecontext import StoreMiddleware
from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.uploads import Uploads
from tests.pictures import picture

from .models import Photo, Product

RED, BLUE = picture(80, 60, "red", "PNG"), picture(90, 50, "blue", "JPEG")
SECRET = "a secret of these tests, of more than 32 bytes"


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore()


def no_store() -> None:
    """Nothing is left of what a framework has set up."""
    with pytest.raises(ContextError):
        get_current_store()


def ask(app: Any, *requests: tuple[str, str, dict[str, Any]]) -> list[httpx.Response]:
    """The answers of an ASGI application, within its lifespan."""

    async def use() -> list[httpx.Response]:
        incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        outgoing: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        running = asyncio.ensure_future(app({"type": "lifespan", "state": {}}, incoming.get, outgoing.put))
        await incoming.put({"type": "lifespan.startup"})
        assert (await outgoing.get())["type"] == "lifespan.startup.complete"
        try:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return [await client.request(method, path, **options) for method, path, options in requests]
        finally:
            await incoming.put({"type": "lifespan.shutdown"})
            await outgoing.get()
            await running

    return asyncio.run(use())


# --- Flask -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def flask_app(engine: Engine, memory: MemoryStore) -> Iterator[Flask]:
    app = Flask("shop")
    app.config["SQLALCHEMY_DATABASE_URI"] = engine.url
    db = SQLAlchemy()
    db.init_app(app)
    uploads = Uploads(SECRET, memory, endpoint="/uploads")
    db.Model = Product.__mapper__.registry  # type: ignore[assignment]  # the tables of these tests
    ImageAttach(app, store=memory, url_path="images", uploads=uploads, db=db)
    app.extensions["uploads"] = uploads

    @app.post("/products")
    def create() -> str:
        db.session.add(product := Product(id=1, name="Lamp", price=3))
        product.photo.from_file(request.files["photo"])
        product.photo.generate_thumbnail(width=40)
        db.session.commit()
        return render_template_string("{{ photo|thumbnail(width=40, alt='Lamp') }}", photo=product.photo)

    @app.get("/empty")
    def empty() -> str:
        return render_template_string("[{{ photo|thumbnail(width=40) }}]", photo=Product().photo)

    yield app
    with app.app_context():
        db.engine.dispose()


def test_flask_knows_the_store_in_a_request_and_serves_it(flask_app: Flask, memory: MemoryStore) -> None:
    client = Client(flask_app)
    shown = client.post("/products", data={"photo": (io.BytesIO(RED), "p.png")}).text
    assert shown.startswith('<img src="/images/photo/1/40x30.')
    url = shown.split('"')[1]
    served = client.get(url)
    assert (served.status_code, served.mimetype) == (200, "image/png")
    assert served.headers["Cache-Control"].endswith("immutable")
    assert client.get("/empty").text == "[]"
    no_store()


def test_flask_takes_uploads(flask_app: Flask, memory: MemoryStore) -> None:
    uploads: Uploads = flask_app.extensions["uploads"]
    permit = uploads.direct_upload(Photo)
    data = {**permit.target.fields, "file": (io.BytesIO(RED), "p.png")}
    assert Client(flask_app).post(permit.target.url, data=data).status_code == 201


def test_flask_leaves_alone_what_it_has_not_pushed(memory: MemoryStore) -> None:
    app = Flask("strict")
    app.before_request(lambda: ("log in first", 401))
    ImageAttach(app, store=memory)
    assert app.test_client().get("/").status_code == 401
    no_store()


def test_flask_has_commands_that_look_after_pictures(flask_app: Flask, memory: MemoryStore) -> None:
    Client(flask_app).post("/products", data={"photo": (io.BytesIO(RED), "p.png")})
    runner = flask_app.test_cli_runner()
    assert runner.invoke(args=["images", "check"]).output == "2 rows, 2 blobs\n"
    [(key, _), *_] = memory.blobs.items()
    memory.delete_key(key)
    found = runner.invoke(args=["images", "check"])
    assert (found.exit_code, "missing blob" in found.output) == (1, True)
    flask_app.extensions["uploads"].keep(Photo, io.BytesIO(RED))
    swept = runner.invoke(args=["images", "sweep", "--delete", "--grace", "0"])
    assert "1 deleted" in swept.output
    assert len(memory) == 1


def test_flask_wants_a_store_and_commands_a_database(memory: MemoryStore, tmp_path: Path) -> None:
    with pytest.raises(ContextError, match="IMAGEATTACH_STORE"):
        ImageAttach(Flask("shop"))
    with pytest.raises(InvalidTypeError):
        ImageAttach(store="memory://")  # type: ignore[arg-type]
    uploads = Uploads(SECRET, memory, endpoint="https://www.example.com/uploads")
    with pytest.raises(InvalidValueError, match="a path of the application"):
        ImageAttach(Flask("shop"), store=memory, uploads=uploads)
    with pytest.raises(InvalidValueError, match="a path of the application"):
        ImageAttachPlugin(memory, uploads=uploads)
    app = Flask("shop")
    app.config["IMAGEATTACH_STORE"] = f"file://{tmp_path}/images?base_url=/images/"
    images = ImageAttach(app)
    with app.app_context():
        assert str(tmp_path) in repr(images.store)
    assert "Flask-SQLAlchemy" in app.test_cli_runner().invoke(args=["images", "check"]).output


# --- Starlette and FastAPI -------------------------------------------------------------------------------------------


class ProductOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    name: str
    photo: glue.Picture


def open_session(request: Request) -> Iterator[Session]:
    with request.app.state.sessions() as session:
        yield session


def fastapi_app(engine: Engine, memory: MemoryStore) -> FastAPI:
    uploads = Uploads(SECRET, memory, endpoint="/uploads")
    app = FastAPI(lifespan=glue.images_lifespan(memory, uploads))
    served = glue.mount_images(app, "/images", memory)
    glue.mount_uploads(app, uploads)
    glue.refuse_images(app)
    app.add_middleware(glue.StoreMiddleware, store=served)
    app.state.sessions = sessionmaker(engine)

    @app.put("/products")
    def put(photo: UploadFile, session: Annotated[Session, Depends(open_session)]) -> ProductOut:
        product = session.merge(Product(id=1, name="Lamp", price=3))
        product.photo.from_file(photo)
        product.photo.generate_thumbnails([{"width": 40}, {"width": 20}])
        session.commit()
        return ProductOut.model_validate(product)

    @app.get("/empty")
    def empty() -> ProductOut:
        return ProductOut.model_validate(Product(name="Lamp"))

    @app.post("/permits")
    def permit(given: glue.CurrentUploads, store: glue.CurrentStore) -> dict[str, Any]:
        assert store is served
        return given.direct_upload(Photo).to_json()

    return app


def test_fastapi_knows_the_store_serves_it_and_tells_of_pictures(engine: Engine, memory: MemoryStore) -> None:
    app = fastapi_app(engine, memory)
    put, refused, empty, permit = ask(
        app,
        ("PUT", "/products", {"files": {"photo": ("p.png", RED)}}),
        ("PUT", "/products", {"files": {"photo": ("p.png", b"no picture")}}),
        ("GET", "/empty", {}),
        ("POST", "/permits", {}),
    )
    told = put.json()
    assert set(told["photo"]["original"]) == {"url", "width", "height", "mimetype"}
    assert [image["width"] for image in told["photo"]["thumbnails"]] == [20, 40]
    assert (refused.status_code, refused.json()["code"]) == (422, "unknown_type")
    assert empty.json() == {"name": "Lamp", "photo": None}
    told_permit = permit.json()
    got, sent = ask(
        app,
        ("GET", told["photo"]["original"]["url"], {}),
        ("POST", told_permit["url"], {"data": told_permit["fields"], "files": {"file": ("p.png", RED)}}),
    )
    assert (got.status_code, got.content) == (200, RED)
    assert sent.status_code == 201
    no_store()


def test_a_store_can_depend_on_the_request(memory: MemoryStore) -> None:
    stores = {"a": memory, "b": MemoryStore()}

    async def which(_request: Any) -> PlainTextResponse:
        return PlainTextResponse(next(name for name, store in stores.items() if store is get_current_store()))

    app = Starlette(routes=[Route("/{tenant}", which)])
    app.add_middleware(StoreMiddleware, store=lambda scope: stores[scope["path"].strip("/")])
    assert [answer.text for answer in ask(app, ("GET", "/a", {}), ("GET", "/b", {}))] == ["a", "b"]
    no_store()


def test_what_is_no_store_is_refused_when_the_middleware_is_made() -> None:
    with pytest.raises(InvalidTypeError, match="store: expected a store, or a function"):
        StoreMiddleware(Starlette(), "memory://")  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match="app: expected an ASGI application"):
        StoreMiddleware(None, MemoryStore())  # type: ignore[arg-type]


# --- Litestar --------------------------------------------------------------------------------------------------------


def test_litestar_knows_the_store_serves_it_and_takes_uploads(engine: Engine, memory: MemoryStore) -> None:
    @post("/products", sync_to_thread=True)
    def create(data: Annotated[LitestarUpload, Body(media_type=RequestEncodingType.MULTI_PART)]) -> str:
        with Session(engine) as session:
            session.add(product := Product(id=1, name="Lamp", price=3))
            product.photo.from_file(data.file)
            session.commit()
            return product.photo.locate()

    @get("/store", sync_to_thread=False)
    def which(image_store: NamedDependency[Any]) -> bool:
        return image_store is get_current_store()

    uploads = Uploads(SECRET, memory, endpoint="/uploads")
    app = Litestar([create, which], plugins=[ImageAttachPlugin(memory, "/images", uploads=uploads)])
    permit = uploads.direct_upload(Photo)
    created, refused, same, sent = ask(
        app,
        ("POST", "/products", {"files": {"data": ("p.png", RED)}}),
        ("POST", "/products", {"files": {"data": ("p.png", b"no picture")}}),
        ("GET", "/store", {}),
        ("POST", permit.target.url, {"data": permit.target.fields, "files": {"file": ("p.png", RED)}}),
    )
    assert created.status_code == 201, created.text
    assert (refused.status_code, refused.json()["code"]) == (422, "unknown_type")
    assert same.json() is True
    assert sent.status_code == 201, sent.text
    [got] = ask(app, ("GET", created.text, {}))
    assert (got.status_code, got.content) == (200, RED)
    no_store()


# --- Pyramid ---------------------------------------------------------------------------------------------------------


def pyramid_app(engine: Engine, store: MemoryStore) -> Any:
    sessions = sessionmaker(engine)
    zope.sqlalchemy.register(sessions)

    def create(request: Any) -> Any:
        assert request.image_store is get_current_store()
        session = sessions()
        session.add(product := Product(id=1, name="Lamp", price=3))
        product.photo.from_file(request.POST["photo"].file)
        session.flush()
        url = product.photo.locate()
        if "fail" in request.GET:
            raise RuntimeError
        request.response.text = url
        return request.response

    with Configurator(settings={"imageattach.path": "images"}) as config:
        config.include("pyramid_tm")
        config.include("sqlalchemy_imageattach.integrations.pyramid")
        config.set_image_store(store)
        config.add_route("create", "/products")
        config.add_view(create, route_name="create", request_method="POST")
        return config.make_wsgi_app()


def test_pyramid_keeps_pictures_in_step_with_its_transaction(engine: Engine, memory: MemoryStore) -> None:
    client = Client(pyramid_app(engine, memory))
    with pytest.raises(RuntimeError):
        client.post("/products?fail=1", data={"photo": (io.BytesIO(RED), "p.png")})
    assert len(memory) == 0
    url = client.post("/products", data={"photo": (io.BytesIO(RED), "p.png")}).text
    assert list(memory.blobs.values()) == [RED]
    served = client.get(url)
    assert (served.status_code, served.data) == (200, RED)
    with Session(engine) as session:
        assert session.get_one(Product, 1).photo.size == (80, 60)
    no_store()
    transaction.abort()


@pytest.mark.parametrize(("allowed", "expected"), [(True, 200), (False, 403)])
def test_pyramid_asks_who_may_see_a_picture(memory: MemoryStore, allowed: bool, expected: int) -> None:
    memory.put(key := ImageKey("photo", 1, 80, 60, "image/png"), io.BytesIO(RED), reproducible=False)
    seen: list[Any] = []

    def may_see(request: Any, asked: Any) -> bool:
        seen.append(asked.variant)
        return allowed

    with Configurator(settings={"imageattach.path": "images"}) as config:
        config.include("sqlalchemy_imageattach.integrations.pyramid")
        config.set_image_store(memory, authorise=may_see)
        served = Client(config.make_wsgi_app()).get(f"/images/{key.object_name()}")
    assert (served.status_code, seen) == (expected, [key])
    assert served.headers["Cache-Control"] in {"private, no-cache", "no-store"}


def test_pyramid_wants_a_store() -> None:
    config = Configurator()
    config.include("sqlalchemy_imageattach.integrations.pyramid")
    with pytest.raises(ConfigurationError, match=r"imageattach\.store"):
        config.commit()
    # by its URL alone, and without pyramid_tm
    with Configurator(settings={"imageattach.store": "file:///var/images?base_url=/images/"}) as found:
        found.include("sqlalchemy_imageattach.integrations.pyramid")
        assert found.make_wsgi_app()
