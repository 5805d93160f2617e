"""What is to be done once the transaction has committed.

Whatever tells somebody outside of what a transaction has done, such as a queue, a mail or a cache, must wait until it
is certain.  To do it behind ``session.commit()`` is not enough: the caller may have begun the transaction, or a
savepoint, and roll back what was said already.  And SQLAlchemy's ``after_commit`` comes with each savepoint that is
released.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

from sqlalchemy.orm import Session

from .. import entity  # noqa: F401 - whose listeners hear of the commit
from ..concurrency import is_asynchronous
from ..entity.transactions.ledger import Ledger
from ..errors import InvalidTypeError

__all__ = ["on_commit"]


def on_commit(session: Any, call: Callable[[], object]) -> None:
    """``call`` is called once, after the outermost transaction of ``session`` has committed; otherwise never.

    It is called before ``commit()`` returns, after the calls that were registered before it.  It is not called if the
    transaction, or the savepoint in which it was registered, is rolled back, in whatever way; nor if COMMIT fails.  If
    nobody knows whether the transaction has committed, e.g. as the connection broke meanwhile, or since the session has
    joined a transaction that somebody else is to end, it is not called, and a warning is logged.  (Test suites that
    roll back all that a test does give their sessions ``info={"image_calls_when_joined": True}``: then it is called.)

    What it raises is logged, and changes nothing for the transaction, nor for other calls.  It can open sessions of its
    own.  The one given is in no transaction then, and can only be used again when its ``commit()`` has returned; to
    register more for it is possible, and they are called after the others.

    Below an :class:`~sqlalchemy.ext.asyncio.AsyncSession` a plain function is called in a worker thread, so that it may
    block; what an ``async def`` function does is awaited in the event loop.

        >>> from sqlalchemy import create_engine
        >>> from sqlalchemy.orm import Session
        >>> with Session(create_engine("sqlite://")) as session:
        ...     with session.begin_nested():
        ...         on_commit(session, lambda: print("tell them"))
        ...     print("not yet")
        ...     session.commit()
        not yet
        tell them

    :param session: a :class:`~sqlalchemy.orm.Session`, a :class:`~sqlalchemy.ext.asyncio.AsyncSession`, or what stands
        for one; a transaction is begun if none is
    :param call: a function that takes nothing
    :raises InvalidTypeError: one of the two is not what it has to be
    :raises InvalidValueError: the session is in no transaction, and does not begin one by itself (``autobegin=False``)
    """
    own = session_of(session)
    if not callable(call):
        msg = f"call: expected a function that takes nothing, got {call!r}; for arguments there is functools.partial"
        raise InvalidTypeError(msg)
    if iscoroutinefunction(call) and not is_asynchronous(own):
        msg = f"call: expected a plain function with a Session, got the async function {call!r}, for an AsyncSession"
        raise InvalidTypeError(msg)
    Ledger.of(own).call_after_commit(call)


def session_of(session: Any) -> Session:
    """The plain session that ``session`` is, or stands for.

    :raises InvalidTypeError: it is none
    """
    found = session
    if hasattr(found, "registry") and callable(found):  # scoped_session, and its asynchronous twin
        found = found()
    found = getattr(found, "sync_session", found)
    if not isinstance(found, Session):
        raise InvalidTypeError(f"session: expected a Session or an AsyncSession of SQLAlchemy, got {session!r}")
    return found
