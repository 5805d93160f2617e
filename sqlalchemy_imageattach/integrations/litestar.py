"""Litestar: a plugin that knows the store, serves it, and answers what is wrong with an upload.

::

    app = Litestar(handlers, plugins=[ImageAttachPlugin(store, "/images")])

Handlers may ask for ``image_store: NamedDependency[Store]``.  It needs Litestar 2.
"""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, asgi
from litestar.config.app import AppConfig
from litestar.di import Provide
from litestar.middleware import DefineMiddleware
from litestar.plugins import InitPluginProtocol
from litestar.types import Receive, Scope, Send

from ..arguments import check_type
from ..errors import RejectedImageError
from ..serving.lookup import Authorise
from ..store import Store
from ..stores.endpoint import ServedStore, StoreEndpoint
from ..uploads import UploadEndpoint, Uploads
from .mounting import path_of
from .storecontext import StoreMiddleware

__all__ = ["ImageAttachPlugin"]


class ImageAttachPlugin(InitPluginProtocol):
    """The plugin.

    :param store: the store; within each request it is the current one
    :param url_path: below which path the application serves it; by default it does not
    :param authorise: says who may see which picture; without, everybody may
    :param uploads: uploads whose ``endpoint`` the application is to be
    :raises InvalidTypeError: an argument has the wrong type
    :raises InvalidValueError: the endpoint of ``uploads`` is no path of the application
    """

    def __init__(
        self,
        store: Store,
        url_path: str | None = None,
        *,
        authorise: Authorise | None = None,
        uploads: Uploads | None = None,
    ) -> None:
        self.store = check_type("store", store, Store)
        self._mounts: dict[str, Any] = {}
        if url_path is not None:
            path = f"/{url_path.strip('/')}"
            self._mounts[path] = StoreEndpoint(store, authorise=authorise).asgi
            self.store = ServedStore(store, f"{path}/")
        if uploads is not None:
            self._mounts[path_of(uploads)] = UploadEndpoint(uploads).asgi

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Called by Litestar."""
        for path, application in self._mounts.items():
            app_config.route_handlers.append(_mounted(path, application))
        app_config.middleware.append(DefineMiddleware(StoreMiddleware, store=self.store))  # type: ignore[arg-type]
        app_config.dependencies["image_store"] = Provide(lambda: self.store, sync_to_thread=False)
        app_config.exception_handlers[RejectedImageError] = _refuse
        return app_config


def _mounted(path: str, application: Any) -> Any:
    @asgi(path, is_mount=True, copy_scope=True)
    async def mounted(scope: Scope, receive: Receive, send: Send) -> None:
        # Litestar puts a slash behind every path
        await application({**scope, "path": scope["path"].rstrip("/")}, receive, send)

    return mounted


def _refuse(_request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    assert isinstance(error, RejectedImageError)
    return Response({"code": error.code, "detail": str(error), "params": error.params}, status_code=422)
