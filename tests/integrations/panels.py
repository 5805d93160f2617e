"""A panel of each kind over the same models, and how a browser finds its way in it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.applications import Starlette
from werkzeug.serving import make_server

from .models import Product

__all__ = ["PANELS", "Panel", "served"]


@dataclass(frozen=True)
class Panel:
    """What is called how in a panel.

    :param make: makes its application
    :param is_asgi: whether it is one for ASGI
    :param items: the path of the list
    :param create: that of the form for a new product
    :param edit: that of the form for the first one
    :param file: the name of the file input
    :param remove: the name of the checkbox by which a picture is removed
    :param error: the selector of a message at the field
    :param keeps: whether what was chosen survives a form that is refused
    """

    make: Callable[[Any], Any]
    is_asgi: bool
    items: str
    create: str
    edit: str
    file: str
    remove: str
    error: str
    keeps: bool = True


def flask_admin(engine: Engine) -> Any:
    from flask_admin import Admin

    from sqlalchemy_imageattach.integrations.flask_admin import PictureModelView

    class ProductView(PictureModelView):
        column_list = ["name", "photo"]

    app = Flask("panel")
    app.secret_key = "of a test"
    app.config["SQLALCHEMY_DATABASE_URI"] = engine.url
    (db := SQLAlchemy()).init_app(app)
    Admin(app, name="Panel").add_view(ProductView(Product, db, endpoint="product"))
    return app


def sqladmin(engine: Engine | AsyncEngine) -> Any:
    from sqladmin import Admin

    from sqlalchemy_imageattach.integrations.sqladmin import PictureModelView

    class ProductAdmin(PictureModelView, model=Product):
        column_list = ["name", "photo"]

    app = Starlette()
    Admin(app, engine).add_view(ProductAdmin)
    return app


def starlette_admin(engine: Engine | AsyncEngine) -> Any:
    from starlette_admin.contrib.sqla import Admin

    from sqlalchemy_imageattach.integrations.starlette_admin import PictureModelView

    app = Starlette()
    admin = Admin(engine, title="Panel", secret_key="a secret of a test, of more than 32 bytes")
    admin.add_view(PictureModelView(Product))
    admin.mount_to(app)
    return app


_SQLADMIN = Panel(
    make=sqladmin,
    is_asgi=True,
    items="/admin/product/list",
    create="/admin/product/create",
    edit="/admin/product/edit/1",
    file="photo-file",
    remove="photo-remove",
    error=".invalid-feedback",
)
_STARLETTE_ADMIN = Panel(
    make=starlette_admin,
    is_asgi=True,
    items="/admin/product/list",
    create="/admin/product/create",
    edit="/admin/product/edit?pk=1",
    file="photo",
    remove="_photo-delete",
    error=".invalid-feedback",
    keeps=False,
)
PANELS = {
    "Flask-Admin": Panel(
        make=flask_admin,
        is_asgi=False,
        items="/admin/product/",
        create="/admin/product/new/",
        edit="/admin/product/edit/?id=1",
        file="photo-file",
        remove="photo-remove",
        error=".invalid-feedback, .help-block",
    ),
    "SQLAdmin": _SQLADMIN,
    "starlette-admin": _STARLETTE_ADMIN,
}


@contextmanager
def served(app: Any, *, is_asgi: bool) -> Iterator[str]:
    """The URL at which an application is served within the block."""
    if not is_asgi:
        with make_server("127.0.0.1", 0, app, threaded=True) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.port}"
            finally:
                server.shutdown()
                thread.join()
        return
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        runner = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=runner.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            runner.should_exit = True
            thread.join()
