"""Store I/O in several threads, while the calling thread alone speaks to the database."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import TypeVar

from ..arguments import check_range, check_type
from ..concurrency import run_blocking
from ..store import Store, can_be_shared

__all__ = ["check_count", "in_threads", "worker_count"]

_T = TypeVar("_T")
_R = TypeVar("_R")

#: How many blobs are worked on at a time unless it is said.
WORKERS = 4


def in_threads(function: Callable[[_T], _R], items: Iterable[_T], workers: int) -> Generator[_R, None, None]:
    """``function`` of each item, in the order in which they get done; ``items`` is asked in the calling thread.

    With one worker all is done in the calling thread, or, below an ``AsyncSession``, in one at a time.  An exception
    of ``function`` is raised here.  When the generator is closed, all threads are at rest.

    :param function: what to do
    :param items: what to do it with; at most two for each worker are taken ahead
    :param workers: how many threads
    """
    if workers == 1:
        for item in items:
            yield run_blocking(function, item)
        return
    pending: set[Future[_R]] = set()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="imageattach")
    try:
        for item in items:
            pending.add(pool.submit(copy_context().run, function, item))
            if len(pending) >= 2 * workers:
                yield from _take_done(pending)
        while pending:
            yield from _take_done(pending)
    finally:
        run_blocking(pool.shutdown, cancel_futures=True)


def worker_count(workers: int | None, *stores: Store) -> int:
    """``workers``; where that is ``None``, 1 if a store was written for 1.x, which did not ask for thread safety."""
    if workers is not None:
        check_count("workers", workers)
        return workers
    return WORKERS if all(map(can_be_shared, stores)) else 1


def check_count(name: str, value: object) -> None:
    """``value`` is an integer, 1 or more.

    :raises InvalidTypeError: it is no integer
    :raises InvalidValueError: it is less than 1
    """
    check_range(name, check_type(name, value, int, "an integer"), "1 or more", 1)


def _take_done(pending: set[Future[_R]]) -> Generator[_R, None, None]:
    done, _ = run_blocking(wait, list(pending), return_when=FIRST_COMPLETED)
    for future in done:
        pending.discard(future)
        yield future.result()
