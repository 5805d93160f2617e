"""Work that is done once however many ask for it at once, and of which only so much is done at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Generic, TypeVar

from ..concurrency import settled

__all__ = ["Flights", "FullError"]

_T = TypeVar("_T")


class FullError(Exception):
    """As much waits as may."""


class Flights(Generic[_T]):
    """Threads that do work by keys: who asks for a key that is being worked on gets the result of that work.

    :param at_once: how many threads there are at most
    :param waiting: how many works may wait for one of them
    """

    def __init__(self, at_once: int, waiting: int) -> None:
        self.at_once = at_once
        self.waiting = waiting
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._running: dict[Hashable, Future[_T]] = {}
        self._pool = ThreadPoolExecutor(self.at_once, thread_name_prefix="imageattach-on-demand")

    def __len__(self) -> int:
        return len(self._running)

    def join(self, key: Hashable, work: Callable[[], _T]) -> Future[_T]:
        """The work on ``key`` that is under way, or else ``work``, begun.

        :raises FullError: none is under way, and as many wait as may
        """
        if os.getpid() != self._process:  # forked, which threads do not survive
            self._begin()
        with self._lock:
            found = self._running.get(key)
            if found is not None:
                return found
            if len(self._running) >= self.at_once + self.waiting:
                raise FullError
            begun: Future[_T] = self._pool.submit(copy_context().run, settled(work))
            self._running[key] = begun
        # outside of the lock: it is called here and now if the work is done already
        begun.add_done_callback(lambda _: self._end(key))
        return begun

    def close(self) -> None:
        """No more work is taken; what is under way is ended."""
        self._pool.shutdown(wait=True)

    def _end(self, key: Hashable) -> None:
        with self._lock:
            del self._running[key]
