"""Which errors are worth another attempt."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm.exc import StaleDataError

from ..errors import ConcurrentReplacementError, NoOriginalError, StoreError

__all__ = ["is_transient"]

#: Two transactions have met: the classes of SQLSTATE for that, and what MariaDB and MySQL say of it.
_CONFLICTS = {"40001", "40P01", "55P03"}
_MYSQL_CONFLICTS = {1020, 1205, 1213}

#: What a store says for certain, and will say again.
_CERTAIN = (FileNotFoundError, FileExistsError, PermissionError, NotImplementedError, NoOriginalError)


def is_transient(error: BaseException) -> bool:
    """Whether what has failed may succeed a moment later, when nothing but time has passed.

    That is: a store or a database that cannot be reached, a deadlock, a lock that was not to be had, and another
    transaction that was faster, be it with the same work.

        >>> is_transient(ConnectionResetError()), is_transient(FileNotFoundError()), is_transient(ValueError())
        (True, False, False)
    """
    if isinstance(error, ConcurrentReplacementError | StaleDataError | PoolTimeoutError | IntegrityError):
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or _is_conflict(error) or isinstance(error, OperationalError)
    return isinstance(error, StoreError | OSError) and not isinstance(error, _CERTAIN)


def _is_conflict(error: DBAPIError) -> bool:
    original = error.orig
    state = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    number = original.args[0] if original is not None and original.args else None
    return state in _CONFLICTS or (isinstance(error, InternalError | InterfaceError) and number in _MYSQL_CONFLICTS)
