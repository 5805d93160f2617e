"""Who asks for what, and when: threads that take the next download themselves, so that none waits for a commit."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextvars import copy_context
from types import TracebackType
from typing import Self

from .downloads import Download, Outcome
from .sample import host_of

__all__ = ["Dispatcher"]


class Dispatcher:
    """Threads that look at downloads, hosts in turn, and at only so many of one host at a time.

    To be left by :meth:`__exit__`, which drops what waits, and waits for what is under way.

    :param look: what is done with a download, in one of the threads
    :param threads: how many there are
    :param per_host: how many downloads of one host are under way at a time; those without a host have no limit
    """

    def __init__(self, look: Callable[[Download], Outcome], threads: int, per_host: int) -> None:
        self._look = look
        self._per_host = per_host
        self._lock = threading.Lock()
        self._has_work = threading.Condition(self._lock)
        self._has_results = threading.Condition(self._lock)
        #: By host, what can be asked for now.
        self._waiting: dict[str, deque[Download]] = {}
        self._count = 0
        #: The hosts with something to ask for, of which there are not too many under way.
        self._turns: deque[str] = deque()
        self._under_way: Counter[str] = Counter()
        self._done: deque[Outcome | BaseException] = deque()
        # what nobody has taken yet is in memory or in a temporary file
        self._most_done = 4 * threads
        self._is_over = False
        self._threads = [
            threading.Thread(target=copy_context().run, args=(self._work,), name=f"imageattach-collect-{number}")
            for number in range(threads)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            self._is_over = True
            self._has_work.notify_all()
        for thread in self._threads:
            thread.join()

    @property
    def waiting(self) -> int:
        """How many downloads have not begun."""
        return self._count

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits, is under way, or is to be taken."""
        with self._lock:
            return not (self._count or self._under_way or self._done)

    def put(self, download: Download) -> None:
        """Have ``download`` looked at when it is the turn of its host."""
        host = host_of(download.candidate.uri)
        with self._lock:
            queue = self._waiting.setdefault(host, deque())
            queue.append(download)
            self._count += 1
            if len(queue) == 1 and self._may_be_asked(host):
                self._turns.append(host)
                self._has_work.notify()

    def drop(self) -> None:
        """Forget what has not begun."""
        with self._lock:
            self._waiting.clear()
            self._turns.clear()
            self._count = 0

    def take(self, timeout: float | None) -> list[Outcome]:
        """What has been looked at meanwhile; if there is nothing yet, after waiting for it.

        :param timeout: the seconds to wait at most
        :raises BaseException: what a thread has met with
        """
        until = None if timeout is None else time.monotonic() + timeout
        with self._lock:
            while not self._done and (self._under_way or self._count):
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    break
                self._has_results.wait(left)
            taken = list(self._done)
            self._done.clear()
            if len(taken) >= self._most_done:
                self._has_work.notify_all()
        outcomes: list[Outcome] = []
        for each in taken:
            if isinstance(each, BaseException):
                raise each
            outcomes.append(each)
        return outcomes

    def _work(self) -> None:
        while (download := self._next()) is not None:
            done: Outcome | BaseException
            try:
                done = self._look(download)
            except BaseException as error:  # the one who takes it is to hear of it
                done = error
            self._end(host_of(download.candidate.uri), done)

    def _next(self) -> Download | None:
        with self._lock:
            while not self._is_over:
                if self._turns and len(self._done) < self._most_done:
                    host = self._turns.popleft()
                    queue = self._waiting[host]
                    download = queue.popleft()
                    self._count -= 1
                    self._under_way[host] += 1
                    if not queue:
                        del self._waiting[host]
                    elif self._may_be_asked(host):
                        self._turns.append(host)
                        self._has_work.notify()
                    return download
                self._has_work.wait()
        return None

    def _end(self, host: str, done: Outcome | BaseException) -> None:
        with self._lock:
            was_full = not self._may_be_asked(host)
            self._under_way[host] -= 1
            if not self._under_way[host]:
                del self._under_way[host]
            if was_full and host in self._waiting:
                self._turns.append(host)
            self._done.append(done)
            self._has_results.notify()

    def _may_be_asked(self, host: str) -> bool:
        return not host or self._under_way[host] < self._per_host
