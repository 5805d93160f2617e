"""Which errors are worth another attempt."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ..entity import is_conflict
from ..errors import NoOriginalError, StoreError

__all__ = ["is_transient"]

#: What a store says for certain, and will say again.
_CERTAIN = (FileNotFoundError, FileExistsError, PermissionError, NotImplementedError, NoOriginalError)


def is_transient(error: BaseException) -> bool:
    """Whether what has failed may succeed a moment later, when nothing but time has passed.

    That is: a store or a database that cannot be reached, a deadlock, a lock that was not to be had, and another
    transaction that was faster, be it with the same work.

        >>> is_transient(ConnectionResetError()), is_transient(FileNotFoundError()), is_transient(ValueError())
        (True, False, False)
    """
    if isinstance(error, IntegrityError | PoolTimeoutError) or is_conflict(error):
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or isinstance(error, OperationalError)
    return isinstance(error, StoreError | OSError) and not isinstance(error, _CERTAIN)
