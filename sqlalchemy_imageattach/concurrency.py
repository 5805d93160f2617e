"""Where blocking work runs.  **The only module below the doors that knows of asyncio.**

Below an :class:`~sqlalchemy.ext.asyncio.AsyncSession` all ORM code, its events included, runs inside a greenlet of
SQLAlchemy's.  From there a blocking call can be handed to a worker thread and awaited, so the event loop keeps turning
while a picture is written or resized.  Everywhere else the call is made right here.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial, wraps
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast

from sqlalchemy.orm import Session
from sqlalchemy.util import concurrency as _sqlalchemy

from .errors import InvalidTypeError

__all__ = [
    "awaitable",
    "call_or_await",
    "in_async_session",
    "in_thread",
    "is_asynchronous",
    "run_blocking",
    "run_side_by_side",
    "settled",
]

_P = ParamSpec("_P")
_T = TypeVar("_T")
_S = TypeVar("_S")

#: How many blobs of one flush are written at the same time.
SIDE_BY_SIDE = 8


def in_async_session() -> bool:
    """Whether this code runs inside SQLAlchemy's greenlet, that is, below an ``AsyncSession``."""
    try:
        return bool(_sqlalchemy.in_greenlet())
    except (ImportError, ValueError):  # without the greenlet package there is no AsyncSession either
        return False


def is_asynchronous(session: Session) -> bool:
    """Whether an ``AsyncSession`` stands before ``session``."""
    # who has one has imported it; that takes half as long as SQLAlchemy itself
    module = sys.modules.get("sqlalchemy.ext.asyncio")
    return module is not None and module.async_session(session) is not None


def run_blocking(function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Return ``function(*args, **kwargs)``; below an ``AsyncSession`` it runs on a worker thread.

    Context variables cross into the thread, so the store context is the same there.
    """
    if not in_async_session():
        return function(*args, **kwargs)
    return _wait_for(in_thread(lambda: function(*args, **kwargs)))


def call_or_await(function: Callable[[], object]) -> None:
    """Like :func:`run_blocking`; and what an ``async def`` function is to do is done in the event loop.

    :raises InvalidTypeError: it is one, and there is no event loop
    """
    result = run_blocking(function)
    if not inspect.isawaitable(result):
        return
    if in_async_session():
        _wait_for(result)
        return
    if inspect.iscoroutine(result):
        result.close()
    msg = f"{function!r} gave something to await, which takes an AsyncSession; expected a plain function"
    raise InvalidTypeError(msg)


def _wait_for(awaited: Awaitable[_T]) -> _T:
    wait = cast("Callable[[Awaitable[_T]], _T]", getattr(_sqlalchemy, "await_", None) or _sqlalchemy.await_only)
    return wait(awaited)


def run_side_by_side(jobs: Iterable[Callable[[], _T]]) -> list[_T | BaseException]:
    """Run all ``jobs`` to their end, a few at a time, and give for each its result or the exception it raised."""
    work: Sequence[Callable[[], _T]] = list(jobs)
    if len(work) < 2:
        return [_outcome(job) for job in work]
    once = [_Once(job) for job in work]
    with ThreadPoolExecutor(min(SIDE_BY_SIDE, len(work)), thread_name_prefix="imageattach") as pool:
        with suppress(RuntimeError):  # no thread can be had: too many run already, or the interpreter shuts down
            for job in once:
                pool.submit(copy_context().run, job)
        return [job() for job in once]


class _Once(Generic[_T]):
    """Runs a job for the first who calls; the others wait for its outcome."""

    def __init__(self, job: Callable[[], _T]) -> None:
        self._job = job
        self._lock = threading.Lock()
        self._outcomes: list[_T | BaseException] = []

    def __call__(self) -> _T | BaseException:
        with self._lock:
            if not self._outcomes:
                self._outcomes.append(_outcome(self._job))
            return self._outcomes[0]


def awaitable(method: Callable[Concatenate[_S, _P], _T]) -> Callable[Concatenate[_S, _P], Coroutine[Any, Any, _T]]:
    """The twin of ``method`` to be awaited: it runs where lazy loads and :func:`run_blocking` find the event loop."""
    name = method.__name__

    @wraps(method)
    async def twin(self: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        # by name, so that overriding the one overrides the other
        return cast("_T", await _sqlalchemy.greenlet_spawn(partial(getattr(self, name), *args, **kwargs)))

    twin.__name__ = f"a{name}"
    twin.__qualname__ = f"{method.__qualname__.removesuffix(name)}a{name}"
    twin.__doc__ = f"Awaitable :meth:`{name}`."
    return twin


async def in_thread(job: Callable[[], _T]) -> _T:
    """What ``job`` gives, from a worker thread.  Who is cancelled waits for its end."""
    # no task of its own, which asyncio.run() would cancel on its way out, although the thread goes on
    running = asyncio.get_running_loop().run_in_executor(None, copy_context().run, settled(job))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        # A thread cannot be stopped.  What it writes must be written before anyone cleans up after it.
        while not running.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        running.exception()  # so that asyncio does not report it as never retrieved
        raise


def settled(job: Callable[[], _T]) -> Callable[[], _T]:
    """``job`` for a future that asyncio waits for: until Python 3.12, one with a StopIteration is never done for it.

    A ``next()`` too many in a function of the application's would keep its request, and who cancels it, for ever.

        >>> settled(lambda: next(iter([])))()
        Traceback (most recent call last):
        ...
        RuntimeError: a StopIteration where a result was expected
    """

    def run() -> _T:
        try:
            return job()
        except StopIteration as error:
            msg = "a StopIteration where a result was expected"
            raise RuntimeError(msg) from error

    return run


def _outcome(job: Callable[[], _T]) -> _T | BaseException:
    try:
        return job()
    except BaseException as error:  # handed to the caller, which must hear of every job
        return error
