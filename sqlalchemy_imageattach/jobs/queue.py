"""What a queue has to be, and which one is meant."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol, runtime_checkable

from ..arguments import wrong_type
from ..errors import ContextError
from .after_commit import on_commit, session_of
from .job import Job

__all__ = ["SESSION_QUEUE_KEY", "Queue", "enqueue_after_commit", "find_queue", "hand_over"]

#: The key of ``session.info`` under which the queue of a session is found, beside its ``image_store``.
SESSION_QUEUE_KEY = "image_queue"

_log = logging.getLogger(__name__)


@runtime_checkable
class Queue(Protocol):
    """Whatever has this method can be a queue."""

    def enqueue(self, job: Job) -> None:
        """Afterwards ``job`` will be done at least once, by a :class:`~sqlalchemy_imageattach.jobs.JobRunner`.

        :raises Exception: it will not, e.g. since the broker cannot be reached; within seconds, as somebody waits
        """


def find_queue(argument: Queue | None = None, session_info: Mapping[Any, Any] | None = None) -> Queue | None:
    """The queue to use: the one given, else the one bound to the session, else none.

    A queue is bound to sessions as a store is:
    ``sessionmaker(engine, info={"image_store": store, "image_queue": queue})``.

    :raises InvalidTypeError: what was found is no queue
    """
    found = argument if argument is not None else (session_info or {}).get(SESSION_QUEUE_KEY)
    if found is not None and (isinstance(found, type) or not isinstance(found, Queue)):
        raise wrong_type("queue", found, "an object with a method enqueue(job)")
    return found


def enqueue_after_commit(session: Any, job: Job, queue: Queue | None = None) -> None:
    """``job`` is handed to the queue once the outermost transaction of ``session`` has committed; otherwise never.

    If the queue cannot be reached then, the commit stands, and an error with the job in it is logged; what is missing
    can be found by what finds all that is missing, such as ``imageattach variants``.

    :param session: as for :func:`~sqlalchemy_imageattach.jobs.on_commit`
    :param queue: the queue; by default the one that is bound to the session
    :raises ContextError: there is none
    """
    own = session_of(session)
    found = find_queue(queue, own.info)
    if found is None:
        msg = f'no queue is set; pass queue=…, or bind one: sessionmaker(engine, info={{"{SESSION_QUEUE_KEY}": queue}})'
        raise ContextError(msg)
    on_commit(own, partial(hand_over, found, job))


def hand_over(queue: Queue, job: Job) -> bool:
    """Whether ``queue`` has taken ``job``.  Never raises because of a queue: the database has committed already."""
    try:
        queue.enqueue(job)
    except Exception:
        _log.exception("%s was not taken by %r, and will not be done by it", job, queue)
        return False
    return True
