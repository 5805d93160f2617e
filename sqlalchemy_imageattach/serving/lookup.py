"""The two steps of every request: a look at what is asked, which does no I/O, and the fetching of it.

Between the two, the application may say who may see what.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from ..arguments import wrong_type
from ..errors import StoreError
from .answer import Answer, message
from .request import Asked, Request

__all__ = ["NO_STORE", "Authorise", "Looking", "Lookup", "Waiting", "failed", "unless_refused"]

_log = logging.getLogger("sqlalchemy_imageattach.serving")

#: Says who may see which picture, before any byte or row is touched; the function may be an ``async def`` under ASGI.
Authorise: TypeAlias = Callable[[Request, Asked], "bool | Awaitable[bool]"]

#: For answers that hold for nobody else, and not for the next time either.
NO_STORE = ("Cache-Control", "no-store")


@dataclass(frozen=True, slots=True)
class Waiting:
    """What many requests may be waiting for at once, without holding a thread where there is an event loop.

    :param future: is done when it is there
    :param finish: gives the answer then; it may block
    """

    future: Future[Any]
    finish: Callable[[], Answer]


@dataclass(frozen=True, slots=True)
class Lookup:
    """What an endpoint makes of a request that it understands.

    :param fetch: gives the answer, or says what is to be waited for; it may block
    :param asked: what an ``authorise`` hook decides about; ``None`` where everybody may see it
    """

    fetch: Callable[[], Answer | Waiting]
    asked: Asked | None = None


class Looking(Protocol):
    """What doors need to know of an endpoint."""

    @property
    def authorise(self) -> Authorise | None: ...

    def look(self, request: Request) -> Answer | Lookup: ...


def unless_refused(allowed: object) -> Answer | None:
    """The answer if a hook said no.

    :raises InvalidTypeError: it said neither yes nor no.  A coroutine, which every ``if`` takes for a yes, is neither
    """
    if inspect.iscoroutine(allowed):
        allowed.close()  # or Python says in the wrong place that nobody has awaited it
    if not isinstance(allowed, bool):
        raise wrong_type("authorise", allowed, "True or False as its result", "a coroutine function needs ASGI")
    return None if allowed else message(403, [NO_STORE])


def failed(request: Request, error: StoreError) -> Answer:
    """The answer where the store failed; the log has what happened."""
    _log.error("cannot answer %r: %s", request, error, exc_info=error)
    return message(502, [NO_STORE])
