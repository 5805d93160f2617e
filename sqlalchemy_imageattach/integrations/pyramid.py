"""Pyramid: ``config.include("sqlalchemy_imageattach.integrations.pyramid")``.

The store is that of the URL in the setting ``imageattach.store``, or of ``config.set_image_store(store)``.  Within each
request it is the current one, and ``request.image_store``; with ``imageattach.path = images`` the application serves it
there, to everybody or, after ``config.set_image_store(store, authorise=may_see)``, to who may see it.  It stands above
``pyramid_tm``, so what zope.sqlalchemy commits at the end of a request finds it too: pictures are kept if the
transaction is committed, and go if it is aborted.  It needs Pyramid 2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyramid.config import Configurator
from pyramid.exceptions import ConfigurationError
from pyramid.tweens import MAIN
from pyramid.wsgi import wsgiapp2

from ..arguments import check_type
from ..context import store_context
from ..serving.lookup import Authorise
from ..store import Store
from ..stores.endpoint import ServedStore, StoreEndpoint

__all__ = ["includeme", "store_tween_factory"]

_KEY = "sqlalchemy_imageattach.store"
_TWEEN = f"{__name__}.store_tween_factory"


def includeme(config: Configurator) -> None:
    """Called by Pyramid.

    :raises pyramid.exceptions.ConfigurationError: when the configuration is complete, if there is no store
    """
    config.add_directive("set_image_store", _set_image_store)
    config.add_tween(_TWEEN, over=["pyramid_tm.tm_tween_factory", MAIN])
    config.add_request_method(lambda request: request.registry[_KEY], "image_store", reify=True)
    if url := config.get_settings().get("imageattach.store"):
        config.set_image_store(Store.from_url(url))
    config.action("imageattach", lambda: _require_store(config), order=1000)


def store_tween_factory(handler: Callable[[Any], Any], registry: Any) -> Callable[[Any], Any]:
    """Within each request the store is the current one."""

    def tween(request: Any) -> Any:
        with store_context(registry[_KEY]):
            return handler(request)

    return tween


def _set_image_store(config: Configurator, store: Store, *, authorise: Authorise | None = None) -> None:
    check_type("store", store, Store)
    path = (config.get_settings().get("imageattach.path") or "").strip("/")
    if path:
        config.add_route("imageattach", f"/{path}/*subpath")
        config.add_view(wsgiapp2(StoreEndpoint(store, authorise=authorise).wsgi), route_name="imageattach")
        store = ServedStore(store, f"/{path}/")
    config.registry[_KEY] = store


def _require_store(config: Configurator) -> None:
    if _KEY not in config.registry:
        msg = "expected a store, got none: set imageattach.store, or call config.set_image_store(store)"
        raise ConfigurationError(msg)
