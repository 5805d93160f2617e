"""What the database refused, by the names of this package: conflicts, and pictures without an owner.

Conflicts between transactions are what may be tried again, whatever the database calls it.

Two transactions that change one picture at the same time cannot both win.  The loser is told by
a :exc:`~sqlalchemy_imageattach.errors.ConcurrentReplacementError` where this package found the conflict or could name
it, and by an error of the database's own otherwise.  :func:`is_conflict` knows both::

    for attempt in range(5):
        try:
            with Session(engine) as session:
                session.get_one(User, ident).picture.from_blob(blob)
                session.commit()
            break
        except Exception as error:
            if attempt == 4 or not is_conflict(error):
                raise
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Any

from sqlalchemy import Insert, Update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm.exc import ObjectDeletedError, StaleDataError

from ..errors import ConcurrentReplacementError, ImageIdentityError
from .identity import missing_identity

__all__ = ["by_its_name", "is_conflict"]

#: Serialization failure, deadlock, and a lock that was not to be had: PostgreSQL, and whoever speaks ODBC.
_SQLSTATES = frozenset({"40001", "40P01", "55P03"})

#: MariaDB, MySQL: a lock that was not to be had (1205, 3572), deadlock (1213), a row that has changed (1020).
#: SQL Server: deadlock (1205), a row that has changed (3960).  Oracle: deadlock (60), serialization failure (8177).
_NUMBERS = {
    "mysql": frozenset({1020, 1205, 1213, 3572}),
    "mssql": frozenset({1205, 3960}),
    "oracle": frozenset({60, 8177}),
}

#: SQLITE_BUSY and SQLITE_LOCKED, whatever stands in the upper bits.
_SQLITE_CODES = frozenset({5, 6})


def is_conflict(error: BaseException) -> bool:
    """Whether ``error`` says that another transaction was in the way, so that trying again may succeed.

    Roll back, load the objects anew and repeat the work from there.  It is so for
    a :exc:`~sqlalchemy_imageattach.errors.ConcurrentReplacementError`; for deadlocks, serialization failures and locks
    that could not be had, as PostgreSQL, MariaDB, MySQL, SQLite, SQL Server and Oracle report them; and for rows that
    SQLAlchemy expected and did not find any more.  It is not so for a connection that was lost, where the outcome of
    the transaction may be unknown, nor for a violated constraint of the application's own.

        >>> is_conflict(ConcurrentReplacementError("another transaction has replaced it"))
        True
        >>> is_conflict(ValueError("no number"))
        False

    :param error: the exception that was caught
    """
    if isinstance(error, ConcurrentReplacementError | StaleDataError | ObjectDeletedError):
        return True
    return isinstance(error, DBAPIError) and not error.connection_invalidated and is_lost_race(error.orig)


@lru_cache
def _class_of(own: type[Exception], database_error: type[DBAPIError]) -> type[Any]:
    found: type[Any] = type(own.__name__, (own, database_error), {"__module__": __name__})
    return found


def by_its_name(
    error: DBAPIError, context: Any, tables: Collection[Any], unsaved: Collection[Any]
) -> BaseException | None:
    """What ``error``, from within a flush, means; who waits for the database's own error goes on getting one.

    :param context: of the execution that ended in ``error``
    :param tables: those of images
    :param unsaved: the images whose rows are being written
    """
    if is_conflict(error):
        return _as_conflict(error)
    for image in unsaved:
        if (name := missing_identity(image)) is not None:
            return _as_ownerless(error, image, name)
    return _as_conflict(error) if _is_taken(error, context, tables) else None


def _as_conflict(error: DBAPIError) -> BaseException:
    said = " ".join(map(str, error.args))
    msg = f"another transaction was in the way ({said}): roll back, refresh the image set and try again"
    return _named(ConcurrentReplacementError, error, msg)


def _as_ownerless(error: DBAPIError, image: Any, name: str) -> BaseException:
    msg = (
        f"{type(image).__name__}.{name} has no value, as the image has no owner any more: its set was expired or"
        " refreshed before the image was flushed, or it was attached within after_flush; flush before you expire, and"
        f" let listeners attach within before_flush or after_flush_postexec ({' '.join(map(str, error.args))})"
    )
    return _named(ImageIdentityError, error, msg)


def _named(own: type[Exception], error: DBAPIError, msg: str) -> BaseException:
    cls: Any = _class_of(own, type(error))  # type: ignore[arg-type]  # its hash is that of all classes
    named: BaseException = cls.__new__(cls)
    named.__dict__.update(error.__dict__)
    named.args = (msg,)
    return named


def _is_taken(error: DBAPIError, context: Any, tables: Collection[Any]) -> bool:
    """Whether another transaction has put an image in the place of one, or deleted its owner, in the meantime."""
    statement = getattr(getattr(context, "compiled", None), "statement", None)
    if not isinstance(error, IntegrityError) or not isinstance(statement, Insert | Update):
        return False
    if statement.table not in tables:
        return False
    return any(_is_of_key(each, statement.table) for each in _chain(error.orig))


def _is_of_key(error: BaseException, table: Any) -> bool:
    states, number = sqlstates_of(error), number_of(error)
    code = getattr(error, "sqlite_errorcode", None)
    if "23503" in states or number == 1452 or code == 787:  # no such owner any more
        return True
    if "23505" in states:
        name = getattr(getattr(error, "diag", None), "constraint_name", None) or getattr(error, "constraint_name", "")
        return name == (table.primary_key.name or f"{table.name}_pkey")
    if number == 1062:
        return str(error).rstrip("\")'").endswith("PRIMARY")
    return code in {1555, 2579}  # SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_ROWID


def is_lost_race(original: BaseException | None) -> bool:
    """Whether the error of the driver is a deadlock, a serialization failure or a lock that was refused."""
    return any(_says_so(each) for each in _chain(original))


def _says_so(error: BaseException) -> bool:
    if sqlstates_of(error) & _SQLSTATES:
        return True
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(code, int):
        return code & 0xFF in _SQLITE_CODES
    number = number_of(error)
    return number is not None and number in _NUMBERS.get(_family(error), frozenset())


def sqlstates_of(error: BaseException) -> set[str]:
    """The five characters that the SQL standard has for an error, wherever the driver has put them."""
    found = [getattr(error, name, None) for name in ("sqlstate", "pgcode")]
    return {each for each in [*found, *error.args[:1]] if isinstance(each, str) and len(each) == 5}


def number_of(error: BaseException) -> int | None:
    """The number that a server has for an error, wherever the driver has put it."""
    first = error.args[0] if error.args else None
    candidates = (first, getattr(first, "code", None), getattr(error, "errno", None), getattr(error, "number", None))
    return next((each for each in candidates if isinstance(each, int)), None)


def _family(error: BaseException) -> str:
    """The kind of server that a driver is for, by the driver's name."""
    driver = type(error).__module__.partition(".")[0].lower()
    if "ora" in driver:
        return "oracle"
    return "mssql" if "odbc" in driver or "mssql" in driver or "tds" in driver else "mysql"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    # SQLAlchemy wraps the errors of asynchronous drivers in its own
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__
