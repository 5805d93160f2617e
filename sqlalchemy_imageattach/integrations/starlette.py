"""Starlette, and what stands upon it: a store while the application runs, pictures below a path, errors as answers.

::

    app = Starlette(routes=routes, lifespan=images_lifespan(store, uploads))
    mount_images(app, "/images", store)
    refuse_images(app)

It needs Starlette.  For the store of a single request there is
:class:`~sqlalchemy_imageattach.integrations.storecontext.StoreMiddleware`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from ..context import set_default_store
from ..errors import RejectedImageError
from ..serving.lookup import Authorise
from ..store import Store
from ..stores.endpoint import ServedStore, StoreEndpoint
from ..uploads import UploadEndpoint, Uploads, set_default_uploads
from .mounting import path_of
from .storecontext import StoreMiddleware

__all__ = ["StoreMiddleware", "images_lifespan", "mount_images", "mount_uploads", "refuse_images"]


def images_lifespan(store: Store, uploads: Uploads | None = None) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """The ``lifespan`` of an application: as long as it runs, ``store`` and ``uploads`` are those of the process.

    :param store: the store
    :param uploads: the uploads, if there are any
    """

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        set_default_store(store)
        set_default_uploads(uploads)
        try:
            yield
        finally:
            set_default_uploads(None)
            set_default_store(None)

    return lifespan


def mount_images(app: Starlette, path: str, store: Store, *, authorise: Authorise | None = None) -> ServedStore:
    """Serve what ``store`` has below ``path``, and give the store whose URLs lead there.

    :param authorise: says who may see which picture; without, everybody may
    """
    app.mount(path, StoreEndpoint(store, authorise=authorise).asgi)
    return ServedStore(store, f"{path.rstrip('/')}/")


def mount_uploads(app: Starlette, uploads: Uploads, *, path: str | None = None) -> None:
    """Take the files of uploads whose store cannot be written to by others, at their ``endpoint``.

    :param path: where, if the endpoint is a whole URL, or another path as seen from outside
    :raises InvalidValueError: it is no path
    """
    # no mount, which would take what is below the path, and redirect from the path itself
    app.router.routes.append(Route(path_of(uploads, path), UploadEndpoint(uploads).asgi, name="image_uploads"))


def refuse_images(app: Starlette, status_code: int = 422) -> None:
    """Have each :exc:`~sqlalchemy_imageattach.errors.RejectedImageError` answered by what it says to the visitor.

    The answer is JSON: ``code``, ``detail`` and ``params``.
    """

    async def refuse(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RejectedImageError)
        return JSONResponse({"code": error.code, "detail": str(error), "params": error.params}, status_code)

    app.add_exception_handler(RejectedImageError, refuse)
