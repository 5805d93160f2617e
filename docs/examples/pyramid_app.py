"""A Pyramid application that knows its store, and serves it."""

from __future__ import annotations

from typing import Any

from pyramid.config import Configurator

from sqlalchemy_imageattach.store import Store


def create_app(store: Store) -> Any:
    with Configurator(settings={"imageattach.path": "images"}) as config:
        config.include("sqlalchemy_imageattach.integrations.pyramid")
        config.set_image_store(store)
        return config.make_wsgi_app()
