"""What is counted and timed: renders, calls of stores, jobs and sweeps, each as an event for whoever observes.

>>> events = []
>>> stop = observe(events.append)
>>> with measured("render", mimetype="image/jpeg"):
...     pass
>>> stop()
>>> events[0].name, events[0].attributes["mimetype"], events[0].error
('render', 'image/jpeg', None)

While nobody observes, an event costs about a microsecond.  Observers are called in the thread in which it happened, so
they must be quick; what they raise is logged, and nothing else comes of it.  For OpenTelemetry there is
``integrations/opentelemetry.py``.

==================  ==================================================================================================
``name``            what happened, and the ``attributes``
==================  ==================================================================================================
``render``          pictures were made from one picture: ``mimetype`` (of the source), ``pictures`` (how many)
``store.put`` …     a call of an :class:`~sqlalchemy_imageattach.stores.observed.ObservedStore`: ``store`` (the name of
                    the class).  Also ``store.get``, ``store.delete``, ``store.has``, ``store.list``, ``store.copy``
``job``             a job was done: ``kind``, ``outcome``
``sweep``           a store was swept: ``deleted``, ``failed``, ``dry_run``
==================  ==================================================================================================
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from .arguments import check_callable

__all__ = ["Event", "measured", "observe"]

_log = logging.getLogger(__name__)

_lock = threading.Lock()
#: Replaced as a whole, so that it can be read without the lock.
_observers: tuple[Callable[[Event], object], ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has happened.

    :param name: what, as in the table above
    :param seconds: how long it took, by a clock that never goes back
    :param error: what it has raised, if it failed
    :param attributes: what belongs to it, by name
    """

    name: str
    seconds: float
    error: BaseException | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


def observe(observer: Callable[[Event], object]) -> Callable[[], None]:
    """From now on ``observer`` is told of each :class:`Event` in this process.

    :return: a function after which it is not told any more
    :raises InvalidTypeError: it cannot be called
    """
    global _observers
    check_callable("observer", observer, "a function that takes an Event")
    with _lock:
        _observers = (*_observers, observer)

    def stop() -> None:
        global _observers
        with _lock:
            left = list(_observers)
            if observer in left:
                left.remove(observer)
            _observers = tuple(left)

    return stop


@contextmanager
def measured(name: str, **attributes: Any) -> Iterator[dict[str, Any]]:
    """What happens within is one event; the mapping takes more attributes, as they become known."""
    if not _observers:
        yield attributes
        return
    error: BaseException | None = None
    start = time.perf_counter()
    try:
        yield attributes
    except BaseException as raised:
        error = raised
        raise
    finally:
        _tell(Event(name, time.perf_counter() - start, error, attributes))


def _tell(event: Event) -> None:
    for observer in _observers:
        try:
            observer(event)
        except Exception:
            _log.exception("%r, which observes, failed", observer)
