"""Which store is meant while a request is handled: a middleware for any ASGI application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from ..arguments import check_callable, check_type
from ..context import store_context
from ..store import Store

__all__ = ["StoreMiddleware"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]


class StoreMiddleware:
    """Within each request ``store`` is the current store; endpoints that run in threads see it too.

    ::

        app.add_middleware(StoreMiddleware, store=store)         # Starlette, FastAPI

    :param app: the application
    :param store: the store, or a function of the ASGI scope that gives it, as for a store for each tenant
    :raises InvalidTypeError: ``app`` cannot be called, or ``store`` is none
    """

    def __init__(self, app: App, store: Store | Callable[[Scope], Store]) -> None:
        check_callable("app", app, "an ASGI application")
        if not isinstance(store, Store):
            check_callable("store", store, "a store, or a function that gives one")
        self.app = app
        self.store = store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        store = self.store if isinstance(self.store, Store) else check_type("store", self.store(scope), Store)
        with store_context(store):
            await self.app(scope, receive, send)
