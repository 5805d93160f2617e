"""What answers the requests below one path, to be mounted in an application of either kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

from ..arguments import check_callable
from .answer import Answer
from .asgi import AsgiDoor
from .lookup import Authorise, Lookup
from .request import Request
from .wsgi import WsgiDoor

__all__ = ["Endpoint"]


class Endpoint(ABC):
    """What answers the requests below one path.

    :attr:`wsgi` and :attr:`asgi` are the applications to mount::

        app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/pictures": endpoint.wsgi})  # Flask, Werkzeug
        app.mount("/pictures", endpoint.asgi)                                            # FastAPI, Starlette

    :param authorise: says who may see which picture, before any byte or row is touched.  It gets the
        :class:`~sqlalchemy_imageattach.serving.request.Request` and what was
        :class:`~sqlalchemy_imageattach.serving.request.Asked` for, and returns ``True`` or ``False``
    :raises InvalidTypeError: ``authorise`` cannot be called
    """

    def __init__(self, authorise: Authorise | None = None) -> None:
        if authorise is not None:
            check_callable("authorise", authorise, "a function of a request and of what it asks for")
        self.authorise = authorise

    @abstractmethod
    def look(self, request: Request) -> Answer | Lookup:
        """What the request comes to.  It does no I/O, so a forged one costs next to nothing."""

    @cached_property
    def wsgi(self) -> WsgiDoor:
        """The endpoint as a WSGI application."""
        return WsgiDoor(self)

    @cached_property
    def asgi(self) -> AsgiDoor:
        """The endpoint as an ASGI application."""
        return AsgiDoor(self)
