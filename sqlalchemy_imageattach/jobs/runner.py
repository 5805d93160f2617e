"""Does jobs: in a worker, with the sessions and the store of the application.

An application makes one :class:`JobRunner`, in the module that its workers import, and hands it to its queue::

    runner = JobRunner(Session, Base)                       # a sessionmaker, and the base of the mapped classes
    queue = CeleryQueue(celery_app, runner)
    Session.configure(info={"image_store": store, "image_queue": queue})

What a job of some kind consists of is said by a handler, a function that has the kind's name by :func:`handles`.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import UnboundExecutionError
from sqlalchemy.orm import Mapper, Session

from ..arguments import wrong_type, wrong_value
from ..bulk.classes import registry_of
from ..context import find_store, find_store_of_class
from ..entity import Image
from ..errors import InvalidValueError, TryAgainError, UnknownJobError
from ..observing import measured
from ..store import Store
from .job import Job, name_of_class
from .keys import decode_key
from .transient import is_transient

__all__ = ["Handler", "JobRunner", "Outcome", "Work", "handles"]

_log = logging.getLogger(__name__)


class Outcome(enum.StrEnum):
    """How a job has ended, if it has not failed."""

    #: It is done.
    DONE = "done"
    #: Its picture was replaced or deleted, or is not there yet: there is nothing to do.
    OUTDATED = "outdated"
    #: Nobody here knows its kind, or its class: that is logged as an error.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Work:
    """A job together with what is needed to do it: what a handler is given.

    :param job: the job
    :param runner: whose it is
    """

    job: Job
    runner: JobRunner

    @property
    def store(self) -> Store:
        """The store of the job's image class, or that of the runner.

        :raises ContextError: neither has one
        """
        return self.runner.store_of_class(self.mapper.class_) if self.job.image_class else self.runner.store

    def session(self) -> AbstractContextManager[Session]:
        """A new session, to be used as a context manager."""
        return self.runner.sessions()

    @property
    def mapper(self) -> Mapper[Any]:
        """That of the class of the job's image.

        :raises UnknownJobError: there is no such class, or none any more
        """
        return self.runner.find_mapper(self.job.image_class)

    def find_image(self, session: Session, *, for_update: bool = False) -> Any:
        """The image that the job is about, in ``session``; ``None`` if it is not there, or not the same any more.

        :param for_update: whether to lock its row until the end of the transaction
        """
        mapper = self.mapper
        try:
            identity = tuple(map(decode_key, self.job.identity, mapper.primary_key))
        except InvalidValueError:
            return None
        if len(self.job.identity) != len(mapper.primary_key):
            return None  # of an earlier version of the table
        image = session.get(mapper.class_, identity, populate_existing=for_update, with_for_update=for_update or None)
        return image if image is not None and getattr(image, "revision", None) == self.job.revision else None


#: What does the jobs of one kind; what it returns counts in a :class:`~sqlalchemy_imageattach.jobs.Spread` only.
Handler: TypeAlias = Callable[[Work], object]

_handlers: dict[str, Handler] = {}


def handles(kind: str) -> Callable[[Handler], Handler]:
    """A decorator: the function does the jobs of this kind, in each process that has imported its module.

    What holds for it: it may be called more than once for the same job, also at the same time, and may be broken off at
    any point; so it does what it does in transactions, and asks :meth:`Work.find_image` first.  What it raises is tried
    again if :func:`~sqlalchemy_imageattach.jobs.is_transient`, and is a failure of the job otherwise.  If the picture
    of the job has changed meanwhile, whatever it raises counts for nothing.

        >>> @handles("invert")
        ... def invert(work):
        ...     with work.session() as session:
        ...         if (image := work.find_image(session)) is not None:
        ...             ...

    :param kind: a name; use a prefix of your own, such as ``"shop.watermark"``
    :raises InvalidValueError: another function has that name
    """

    def register(handler: Handler) -> Handler:
        known = _handlers.get(kind, handler)
        if (known.__module__, known.__qualname__) != (handler.__module__, handler.__qualname__):
            raise wrong_value("kind", kind, "a name that no other handler has", f"it is that of {known!r}")
        _handlers[kind] = handler
        return handler

    return register


class JobRunner:
    """Does jobs.

    :param sessions: gives a new session when it is called, such as a :class:`~sqlalchemy.orm.sessionmaker`; of a plain
        engine also in an application with ``AsyncSession``, since workers are not asynchronous
    :param declarative_base: the base class of the mapped classes, or their registry.  Import *all* modules with image
        classes before the first job comes
    :param store: the store; by default the one that is bound to the sessions, or the current one
    :param handlers: handlers by kind, besides those of :func:`~sqlalchemy_imageattach.jobs.handles`, and before them
    :param stores: stores by name, for jobs that need others
    :raises InvalidTypeError: an argument is of the wrong type
    """

    def __init__(
        self,
        sessions: Callable[[], AbstractContextManager[Session]],
        declarative_base: Any,
        store: Store | None = None,
        *,
        handlers: Mapping[str, Handler] | None = None,
        stores: Mapping[str, Store] | None = None,
    ) -> None:
        if not callable(sessions) or isinstance(sessions, Session):
            raise wrong_type(
                "sessions", sessions, "something that gives a new session when called", "pass a sessionmaker"
            )
        if store is not None:
            find_store(store)
        self.sessions = sessions
        self._registry = registry_of(declarative_base)
        self._store = store
        self._handlers = dict(handlers or {})
        self._stores = dict(stores or {})

    @property
    def store(self) -> Store:
        """The store that is meant where none is named.

        :raises ContextError: there is none
        """
        if self._store is not None:
            return self._store
        with self.sessions() as session:
            return find_store(None, session.info)

    def store_of_class(self, image_class: type[Any], name: str | None = None) -> Store:
        """The store that an image class has for itself, or the one of this name, or the usual one.

        :raises ContextError: there is none
        :raises UnknownJobError: there is none of this name
        """
        if name is not None or self._store is not None:
            return find_store_of_class(image_class, self.named_store(name))
        with self.sessions() as session:
            return find_store_of_class(image_class, None, session.info)

    def binds(self) -> list[Engine | Connection]:
        """What the sessions speak with, each once; none if it takes a context to have a session."""
        found: dict[int, Engine | Connection] = {}
        with suppress(Exception), self.sessions() as session:
            for mapper in self._registry.mappers:
                with suppress(UnboundExecutionError):
                    bind = session.get_bind(mapper)
                    found[id(bind)] = bind
        return list(found.values())

    def named_store(self, name: str | None) -> Store:
        """One of ``stores``, or the usual one if no name is given.

        :raises UnknownJobError: there is none of this name
        """
        if name is None:
            return self.store
        try:
            return self._stores[name]
        except KeyError:
            msg = f"expected the name of a store of this runner, {sorted(self._stores)}, got {name!r}"
            raise UnknownJobError(msg) from None

    def find_mapper(self, name: str, base: type[Any] = Image) -> Mapper[Any]:
        """The mapper of a class by its name in jobs.

        :param name: ``"module:qualified name"``
        :param base: what the class has to be derived from
        :raises UnknownJobError: no such class is mapped here
        """
        # among those that are mapped here; never imported because a message says so
        for mapper in self._registry.mappers:
            cls = mapper.class_
            if name_of_class(cls) == name and issubclass(cls, base):
                return mapper
        kind = "an image class" if base is Image else "a class"
        raise UnknownJobError(
            f"expected the name of {kind} that is mapped here, got {name!r}; if it still exists, import its module"
            " where the runner is made"
        )

    def run(self, job: Job) -> Outcome:
        """Do ``job``, or find that there is nothing to do.

        :return: how it has ended
        :raises TryAgainError: it failed by what may pass; its cause is the error
        :raises Exception: it failed by something that will not pass
        """
        with measured("job", kind=job.kind) as told:
            outcome = self._run(job)
            told["outcome"] = outcome.name.lower()
        return outcome

    def _run(self, job: Job) -> Outcome:
        try:
            handler = self.find_handler(job.kind)
            work = Work(job, self)
            if job.image_class:
                self.find_mapper(job.image_class)
        except UnknownJobError as error:
            _log.error("%s is given up: %s", job, error)
            return Outcome.UNKNOWN
        return self._attempt(handler, work)

    def find_handler(self, kind: str) -> Handler:
        """The function that does jobs of this kind.

        :raises UnknownJobError: there is none
        """
        handler = self._handlers.get(kind) or _handlers.get(kind)
        if handler is None:
            known = sorted({*self._handlers, *_handlers})
            msg = f"expected a kind of job that is known here, one of {known}, got {kind!r}; import its module"
            raise UnknownJobError(msg)
        return handler

    def _attempt(self, handler: Handler, work: Work) -> Outcome:
        try:
            if not self._is_current(work):
                _log.info("%s is outdated", work.job)
                return Outcome.OUTDATED
            handler(work)
        except UnknownJobError as error:
            _log.error("%s is given up: %s", work.job, error)
            return Outcome.UNKNOWN
        except Exception as error:
            if self._is_outdated(work):
                _log.info("%s is outdated by now", work.job, exc_info=True)
                return Outcome.OUTDATED
            if is_transient(error):
                raise TryAgainError(f"{work.job} failed by what may pass: {type(error).__name__}: {error}") from error
            raise
        return Outcome.DONE

    @staticmethod
    def _is_current(work: Work) -> bool:
        if not work.job.image_class:
            return True
        with work.session() as session:
            return work.find_image(session) is not None

    def _is_outdated(self, work: Work) -> bool:
        """Whether the work has lost its picture meanwhile, as far as that can be found out."""
        try:
            return not self._is_current(work)
        except Exception:  # of the two errors the first one tells more
            return False
