"""Makes pictures when they are first asked for: the endpoint that signed URLs lead to.

::

    sized = OnDemand(Session, secret, [ProductPhoto], base_url="/sized/", store=store)
    app.mount("/sized", sized.asgi)                # or, for WSGI, sized.wsgi

    product.photo.url(width=300, height=300, fit="fill", format="auto")
    product.photo.picture("card", alt=product.name)

Who asks first waits until it is made; who asks meanwhile waits for the same one, in other processes too.  What was made
has a row and a blob as any other thumbnail.  A URL that was not signed by the secret costs no statement, no look at the
store, and nothing is decoded.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ..arguments import check_callable, check_range, check_type, wrong_type
from ..context import find_store
from ..entity import Image, is_conflict
from ..errors import (
    ConcurrentReplacementError,
    ExpiredTokenError,
    InvalidTokenError,
    RejectedImageError,
    UnknownTokenError,
    VariantConflictError,
)
from ..serving.answer import Answer, message
from ..serving.endpoint import Endpoint
from ..serving.lookup import NO_STORE, Authorise, Lookup, Waiting
from ..serving.request import Asked, Request
from ..store import Store
from ..stores.delivery import Delivery, Send
from .demanded import Demand, OnDemandUrls
from .flights import Flights, FullError
from .making import NoPictureError, Place, Wish, find, make
from .negotiation import negotiated

__all__ = ["OnDemand"]

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

Sessions: TypeAlias = Callable[[], "AbstractContextManager[Session] | AbstractAsyncContextManager[Any]"]
_Run: TypeAlias = Callable[[Callable[[Session], Any]], Any]

#: The longest pauses, in seconds, before what another transaction got in the way of is tried again.
_PAUSES: Final = (0.05, 0.2, 0.8, 2)

#: How many pictures it is remembered of where they are, and for how many seconds that one cannot be made.
_REMEMBERED: Final = 10_000
_SECONDS_OF_FAILURE: Final = 60


class OnDemand(OnDemandUrls, Endpoint):
    """The endpoint, and at the same time the :class:`~sqlalchemy_imageattach.variants.OnDemandUrls` that lead to it.

    Answers besides the picture: 403 for what was not signed, or is not for this client; 410 for what has expired; 404
    for what is not known (any more); 422 for what cannot be made; 503 when as many wait as may.

    :param sessions: gives a new session when it is called, such as a :class:`~sqlalchemy.orm.sessionmaker`; with the
        ASGI application, an :class:`~sqlalchemy.ext.asyncio.async_sessionmaker` as well
    :param secret: as of :class:`~sqlalchemy_imageattach.variants.OnDemandUrls`, and so are ``classes``, ``base_url``
        and ``expires_in``
    :param store: the store; by default the one that is bound to the class or the sessions, or the default one
    :param authorise: says who may see which picture, before any byte or row is touched; without, everybody who has the
        URL may
    :param send: who sends the bytes, as of :class:`~sqlalchemy_imageattach.stores.endpoint.StoreEndpoint`
    :param internal_url: the same
    :param renders_at_once: how many pictures are made at a time by this process; by default one for each processor
    :param queue_length: how many more may wait to be made; beyond, the answer is 503
    :param retry_after: the seconds that a client is told to wait then
    :raises InvalidValueError: an argument has a value that cannot be used, or as of
        :class:`~sqlalchemy_imageattach.variants.OnDemandUrls`
    :raises InvalidTypeError: an argument has the wrong type
    """

    def __init__(
        self,
        sessions: Sessions,
        secret: str | bytes | Iterable[str | bytes],
        classes: Iterable[type[Image]] | Mapping[str, type[Image]],
        *,
        base_url: str,
        expires_in: float | None = None,
        store: Store | None = None,
        authorise: Authorise | None = None,
        send: Send = "stream",
        internal_url: str = "",
        renders_at_once: int | None = None,
        queue_length: int = 64,
        retry_after: int = 2,
    ) -> None:
        if isinstance(sessions, Session):
            raise wrong_type("sessions", sessions, "what gives a new session when called", "pass a sessionmaker")
        check_callable("sessions", sessions, "what gives a new session when called")
        at_once = renders_at_once if renders_at_once is not None else os.cpu_count() or 1
        for name, number, least in (
            ("renders_at_once", at_once, 1),
            ("queue_length", queue_length, 0),
            ("retry_after", retry_after, 0),
        ):
            check_range(name, check_type(name, number, int), f"{least} or more", least)
        self._delivery = Delivery(send, internal_url, is_private=authorise is not None)
        self.sessions = sessions
        self.store = None if store is None else find_store(store)
        if self.store is not None:
            self._delivery.check_store(self.store)
        self.retry_after = retry_after
        self._flights: Flights[Place] = Flights(at_once, queue_length)
        self._memory = _Memory()
        Endpoint.__init__(self, authorise)
        OnDemandUrls.__init__(self, secret, classes, base_url=base_url, expires_in=expires_in)  # which makes it known

    def look(self, request: Request) -> Answer | Lookup:
        if request.method not in {"GET", "HEAD"}:
            return message(405, [("Allow", "GET, HEAD")])
        try:
            demand = self.demand_of(request.path or "")
        except ExpiredTokenError:
            return message(410, [NO_STORE])
        except UnknownTokenError:
            return message(404, [NO_STORE])
        except InvalidTokenError:
            return message(403, [NO_STORE])
        rendition = demand.rendition
        if demand.negotiated:
            rendition = negotiated(rendition, request.header("accept"))
        wish = Wish(demand.image_class, demand.identity, demand.revision, rendition)
        asking = _Asking(self, request, demand, wish, self._runner())
        return Lookup(asking.fetch, Asked(demand.image_class, demand.identity, rendition))

    def close(self) -> None:
        """Make nothing more, and be known no more: ``url()`` gives no such URLs then."""
        super().close()
        self._flights.close()

    def _runner(self) -> _Run:
        """What does work with a session of its own; called where an event loop runs, if there is one."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None

        def run(work: Callable[[Session], _T]) -> _T:
            sessions = self.sessions()
            if isinstance(sessions, AbstractContextManager):
                with sessions as session:
                    return work(session)
            if loop is None:
                raise wrong_type("sessions", sessions, "a sessionmaker", "an async_sessionmaker needs ASGI")
            return asyncio.run_coroutine_threadsafe(_asynchronously(sessions, work), loop).result()

        return run


async def _asynchronously(sessions: Any, work: Callable[[Session], _T]) -> _T:
    async with sessions as session:
        result: _T = await session.run_sync(work)
        return result


@dataclass(frozen=True, slots=True)
class _Asking:
    """One request for one picture.

    :param run: does work with a session of its own
    """

    endpoint: OnDemand
    request: Request
    demand: Demand
    wish: Wish
    run: _Run

    def fetch(self) -> Answer | Waiting:
        """The answer if the picture is there, or if it cannot be; else it is being made."""
        memory = self.endpoint._memory
        try:
            known = self._remembered()
            if known is not None and (answer := self._deliver(known)).status != 404:
                return answer
            if memory.has_failed(self.wish):
                return message(422, [NO_STORE])
            found: Place | None = self.run(lambda session: find(session, self.wish, self.endpoint.store))
        except NoPictureError:
            return message(404, [NO_STORE])
        if found is not None:
            memory.keep(self.wish, found)
            return self._deliver(found)
        try:
            future = self.endpoint._flights.join(self.wish, self._make)
        except FullError:
            return message(503, [("Retry-After", str(self.endpoint.retry_after)), NO_STORE])
        return Waiting(future, lambda: self._finish(future.result))

    def _remembered(self) -> Place | None:
        place = self.endpoint._memory.place_of(self.wish)
        if place is None or self.endpoint._delivery.send == "stream":
            return place  # who streams it notices if it has gone since
        return place if place.store.has_key(place.key) else None

    def _make(self) -> Place:
        for pause in _PAUSES:
            try:
                return self._attempt()
            except Exception as error:  # somebody else was at it: see what is there now
                if not isinstance(error, ConcurrentReplacementError | IntegrityError) and not is_conflict(error):
                    raise
            time.sleep(pause * random.random())
        return self._attempt()

    def _attempt(self) -> Place:
        made: Place = self.run(lambda session: make(session, self.wish, self.endpoint.store))
        return made

    def _finish(self, result: Callable[[], Place]) -> Answer:
        try:
            place = result()
        except NoPictureError:
            return message(404, [NO_STORE])
        except (RejectedImageError, VariantConflictError) as error:
            _log.warning("cannot make %s: %s", self.wish, error)
            self.endpoint._memory.note_failure(self.wish)
            return message(422, [NO_STORE])
        self.endpoint._memory.keep(self.wish, place)
        return self._deliver(place)

    def _deliver(self, place: Place) -> Answer:
        more = [("Vary", "Accept")] if self.demand.negotiated else []
        return self.endpoint._delivery.answer(self.request, place.store, place.key, self._caching(place), more)

    def _caching(self, place: Place) -> str | None:
        expires_at = self.demand.expires_at
        if expires_at is None or self.endpoint.authorise is not None or place.key.revision is None:
            return None
        return f"public, max-age={max(0, int(expires_at - time.time()))}"


class _Memory:
    """Where pictures are, and which cannot be made, as far as it is worth to know it."""

    def __init__(self) -> None:
        # no locks, which a fork could leave held: what two threads do at once here is done once more, at worst
        self._places: dict[Wish, Place] = {}
        self._failures: dict[Wish, float] = {}

    def place_of(self, wish: Wish) -> Place | None:
        return self._places.get(wish)

    def keep(self, wish: Wish, place: Place) -> None:
        if len(self._places) >= _REMEMBERED:
            self._places.clear()
        self._places[wish] = place

    def has_failed(self, wish: Wish) -> bool:
        until = self._failures.get(wish)
        return until is not None and time.monotonic() < until

    def note_failure(self, wish: Wish) -> None:
        if len(self._failures) >= _REMEMBERED:
            self._failures.clear()
        self._failures[wish] = time.monotonic() + _SECONDS_OF_FAILURE
