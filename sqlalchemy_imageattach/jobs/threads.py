"""A queue that needs no server: threads of this process."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections import deque
from types import TracebackType
from typing import Self
from weakref import WeakSet

from sqlalchemy import Connection, Engine
from sqlalchemy.pool import SingletonThreadPool, StaticPool

from ..arguments import check_range, check_type, wrong_value
from ..errors import QueueClosedError, TryAgainError
from .job import Job
from .runner import JobRunner

__all__ = ["ThreadQueue"]

_log = logging.getLogger(__name__)


class ThreadQueue:
    """A queue in this process: jobs are done by a few threads of it.

    **What is promised.**  Each job taken is done, or its failure is logged, before the process ends: at exit the queue
    is drained.  What is waiting when the process is killed is lost; ``imageattach variants`` finds it again.  At most
    ``capacity`` jobs wait: if there are more, :meth:`enqueue` waits until there is room, and so does the ``commit()``
    that enqueues.  (A job that enqueues further ones, when there is no room, does them itself.)  What fails by
    something that may pass is tried again after a while, ``attempts`` times in all.

    Threads are started with the first job, so also in each worker of a server that forks; a child process begins with
    an empty queue, since what waits is done by its parent.

        >>> from sqlalchemy.orm import DeclarativeBase, sessionmaker
        >>> class Base(DeclarativeBase):
        ...     pass
        >>> runner = JobRunner(sessionmaker(), Base, handlers={"say": lambda work: print(work.job.params["what"])})
        >>> with ThreadQueue(runner) as queue:
        ...     queue.enqueue(Job("say", params={"what": "hello"}))
        hello

    Each thread has sessions of its own, and these need connections of their own: on one that is shared, a ``ROLLBACK``
    of one thread takes back what another one has just written, and whoever waits for that waits for ever.

    :param runner: does the jobs
    :param threads: how many jobs are done at a time
    :param capacity: how many may wait
    :param attempts: how often a job is tried at most
    :param delay: seconds before the second attempt; each further one waits twice as long
    :raises InvalidTypeError: an argument is of the wrong type
    :raises InvalidValueError: one is out of range, or the sessions of ``runner`` share one connection, as with a
        :class:`~sqlalchemy.pool.StaticPool`, or are bound to one
    """

    def __init__(
        self, runner: JobRunner, *, threads: int = 2, capacity: int = 1000, attempts: int = 5, delay: float = 0.2
    ) -> None:
        check_type("runner", runner, JobRunner)
        for name, number in (("threads", threads), ("capacity", capacity), ("attempts", attempts)):
            check_type(name, number, int)
            check_range(name, number, "1 or more", 1)
        check_type("delay", delay, (int, float), "seconds")
        check_range("delay", delay, "seconds, from 0 to 3,600", 0, 3600)
        for bind in runner.binds():
            _check_connections(bind)
        self._runner = runner
        self._size = threads
        self._capacity = capacity
        self._attempts = attempts
        self._delay = delay
        self._start_empty()
        self._closed = False
        _queues.add(self)

    def _start_empty(self) -> None:
        self._jobs: deque[Job] = deque()
        self._threads: list[threading.Thread] = []
        self._busy = 0
        self._changed = threading.Condition()
        self._closing = threading.Event()

    def enqueue(self, job: Job) -> None:
        """Afterwards ``job`` waits in this process.

        :raises QueueClosedError: the queue has been closed
        """
        with self._changed:
            while len(self._jobs) >= self._capacity and not self._closed:
                if threading.current_thread() in self._threads:
                    break  # it would wait for itself
                self._changed.wait()
            if self._closed:
                raise QueueClosedError(f"{job} comes after the queue was closed")
            if len(self._jobs) < self._capacity:
                self._jobs.append(job)
                self._start_thread()
                self._changed.notify_all()
                return
        self._do(job)

    def _start_thread(self) -> None:
        if len(self._threads) >= self._size or len(self._jobs) + self._busy <= len(self._threads):
            return
        # daemons: Python would wait for others before it calls close() at exit, and they would wait for jobs
        thread = threading.Thread(target=self._work, name="imageattach-jobs", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread can be had: too many run, or the interpreter shuts down
            if not self._threads and not self._closing.is_set():
                self._jobs.pop()
                raise
            return
        self._threads.append(thread)

    @property
    def is_idle(self) -> bool:
        """Whether all jobs that were taken are done, or given up."""
        with self._changed:
            return not self._jobs and not self._busy

    def join(self) -> None:
        """Wait until all jobs that were taken are done."""
        with self._changed:
            self._changed.wait_for(lambda: not self._jobs and not self._busy)

    def close(self) -> None:
        """Take no more jobs, and do those that are there; what has to be tried again is, without waiting any longer."""
        self._closing.set()
        self.join()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            threads, self._threads = self._threads, []
        for thread in threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._closed)
                if not self._jobs:
                    return
                job = self._jobs.popleft()
                self._busy += 1
                self._changed.notify_all()
            try:
                self._do(job)
            except BaseException:  # a thread that ends would leave all other jobs undone
                _log.exception("%s was interrupted, and is given up", job)
            finally:
                with self._changed:
                    self._busy -= 1
                    self._changed.notify_all()

    def _do(self, job: Job) -> None:
        for attempt in range(self._attempts):
            try:
                self._runner.run(job)
                return
            except TryAgainError as error:
                if attempt + 1 == self._attempts:
                    _log.exception("%s failed %d times, and is given up", job, self._attempts)
                else:
                    _log.info("%s; it is tried again", error)
                    self._closing.wait(self._delay * 2**attempt)
            except Exception:
                _log.exception("%s failed, and is given up", job)
                return


def _check_connections(bind: Engine | Connection) -> None:
    # the other kind of pool is SQLAlchemy's own for databases in memory, of which each thread would have another one
    if isinstance(bind, Connection) or isinstance(bind.pool, StaticPool | SingletonThreadPool):
        got = "one Connection" if isinstance(bind, Connection) else f"a {type(bind.pool).__name__}"
        expected = "one whose sessions have connections of their own, of a database that all threads see"
        raise wrong_value("runner", None, expected, "with SQLite, use a file", got=got)


_queues: WeakSet[ThreadQueue] = WeakSet()


@atexit.register
def _drain() -> None:
    for queue in list(_queues):
        queue.close()


def _forget_parent() -> None:
    for queue in list(_queues):
        queue._start_empty()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
