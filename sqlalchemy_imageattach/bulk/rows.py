"""The rows of image classes, read in pages and without leaving a trace: what migration, check and sweep have in common.

Rows are read page after page, each one continuing after the primary key at which the former ended, so that the memory
needed does not grow with the table.  They are read by a session of our own: nothing of the caller's session is flushed,
expired or loaded.  If the caller's session is in a transaction, its connection is used, so that what it has written is
seen; if not, each page is a transaction of its own, no connection is held in between, and each page is up to date.
What the application filters out of all its queries, such as what it calls deleted, is read too: it has blobs.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Result, Select, event, func, inspect, or_, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.horizontal_shard import ShardedSession
from sqlalchemy.orm import (
    Mapper,
    ORMExecuteState,
    Session,
    lazyload,
    scoped_session,
    with_polymorphic,
)

from ..arguments import wrong_type, wrong_value
from ..errors import InvalidTypeError, InvalidValueError
from ..key import ImageKey
from ..store import key_of
from .keyset import KeyRange, equal, key_columns, one_of, page_after, pages, parameters_of, within

__all__ = [
    "ImageRow",
    "KeyRange",
    "RowReader",
    "Shard",
    "bind_of",
    "sync_session",
]

#: Rows that one statement looks up by their keys; databases limit the number of parameters.
LOOK_UP = 100


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One row, as it was when it was read.

    :param image: the object, which is in no session
    :param identity: its primary key
    :param key: the key of its blob; ``None`` if it has none that could be one
    :param error: what its ``object_type`` or ``object_id``, or the key made of them, raised
    """

    image: Any
    identity: tuple[Any, ...]
    key: ImageKey | None
    error: Exception | None = None

    @classmethod
    def of(cls, image: Any) -> ImageRow:
        """The row of ``image``, which has to be in a session still: its properties may need more than its columns."""
        identity = tuple(inspect(image).identity)
        try:
            return cls(image, identity, key_of(image))
        except DBAPIError:
            raise  # the database failed, and not the row
        except Exception as error:
            return cls(image, identity, None, error)

    @property
    def byte_size(self) -> int | None:
        """The recorded length of the blob."""
        return getattr(self.image, "byte_size", None)

    @property
    def checksum(self) -> str | None:
        """The recorded SHA-256 of the blob."""
        return getattr(self.image, "checksum", None)


@dataclass(frozen=True, slots=True)
class Shard:
    """One of ``count`` parts into which all blobs fall by their names, whatever rows come and go meanwhile.

    Processes that know nothing of one another agree on it, and each reads all rows.  Where one process hands out the
    parts, it hands out ranges of primary keys (:class:`KeyRange`), of which each worker reads its own rows only; two
    processes that each asked for ranges would leave rows out between them.

    :param index: which one, from 0
    :param count: how many there are
    :raises InvalidTypeError: one is no integer
    :raises InvalidValueError: there is no such part
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        pair = (self.index, self.count)
        if not all(isinstance(value, int) and not isinstance(value, bool) for value in pair):
            raise wrong_type("shard", pair, "two integers (i, n)", got=repr(pair))
        if not 0 <= self.index < self.count:
            raise wrong_value("shard", pair, "(i, n) with 0 <= i < n")

    def __contains__(self, key: ImageKey) -> bool:
        # hash() would differ from one process to the next
        return zlib.crc32(key.object_name().encode()) % self.count == self.index


class RowReader:
    """Reads rows on behalf of the caller's session, and in its thread.

    :param session: the session whose database to read
    :raises InvalidTypeError: it is no session
    """

    def __init__(self, session: Any) -> None:
        self._session = sync_session(session)
        self._look_ups: dict[tuple[Mapper[Any], int], Select[Any]] = {}

    def is_in_transaction(self, mapper: Mapper[Any]) -> bool:
        """Whether what is read may be older than this moment, since a transaction has begun already."""
        bind = self._session.get_bind(mapper=mapper)
        return self._session.in_transaction() or (isinstance(bind, Connection) and bind.in_transaction())

    def rows(self, mapper: Mapper[Any], key_range: KeyRange | None = None) -> Iterator[ImageRow]:
        """All rows of a class and its subclasses in the order of their primary keys.

        :param key_range: only the rows in it
        :raises InvalidValueError: there are rows that have no whole primary key, and would be left out
        """
        self._refuse_null_keys(mapper)

        def page(after: tuple[Any, ...] | None) -> list[ImageRow]:
            with self._reading(mapper) as (session, dialect):
                entity = _entity(mapper)
                columns = key_columns(mapper, entity)
                statement = within(select(entity), columns, upto, dialect)
                return _load(session, page_after(statement, columns, after, dialect))

        upto = KeyRange(upto=key_range.upto) if key_range is not None else None
        return pages(page, lambda row: row.identity, key_range.after if key_range is not None else None)

    def identities(self, mapper: Mapper[Any], key_range: KeyRange | None = None) -> Iterator[tuple[Any, ...]]:
        """The primary keys of all rows of a class and its subclasses, in their order.

        :param key_range: only the rows in it
        """

        def page(after: tuple[Any, ...] | None) -> list[tuple[Any, ...]]:
            with self._reading(mapper) as (session, dialect):
                columns = key_columns(mapper, mapper.class_)
                statement = within(select(*columns), columns, upto, dialect)
                return [tuple(row) for row in session.execute(page_after(statement, columns, after, dialect))]

        upto = KeyRange(upto=key_range.upto) if key_range is not None else None
        return pages(page, lambda identity: identity, key_range.after if key_range is not None else None)

    def count(self, mapper: Mapper[Any], key_range: KeyRange | None = None) -> int:
        """How many rows :meth:`rows` would give now."""
        with self._reading(mapper) as (session, dialect):
            statement = select(func.count()).select_from(mapper.class_)
            statement = within(statement, key_columns(mapper, mapper.class_), key_range, dialect)
            return _unfiltered(session, statement).scalar() or 0

    def ranges(self, mapper: Mapper[Any], count: int) -> list[KeyRange]:
        """At most ``count`` ranges of about the same number of rows, which together hold every primary key there is."""
        total = self.count(mapper)
        step = -(-total // count) or 1
        limits: list[tuple[Any, ...]] = []
        with self._reading(mapper) as (session, dialect):
            columns = key_columns(mapper, mapper.class_)
            for _ in range(step, total, step):
                statement = within(select(*columns), columns, KeyRange(limits[-1] if limits else None), dialect)
                statement = statement.order_by(*columns).offset(step - 1).limit(1)
                if (row := _unfiltered(session, statement).first()) is None:  # rows went meanwhile
                    break
                limits.append(tuple(row))
        return [KeyRange(*pair) for pair in zip([None, *limits], [*limits, None], strict=True)]

    def look_up(self, mapper: Mapper[Any], identities: Sequence[tuple[Any, ...]]) -> dict[tuple[Any, ...], ImageRow]:
        """Those rows that are there now, by their primary keys."""
        found = {}
        for start in range(0, len(identities), LOOK_UP):
            some = identities[start : start + LOOK_UP]
            statement = self._statement_for(mapper, len(some))
            with self._reading(mapper) as (session, _):
                for row in _load(session, statement, parameters_of(some)):
                    found[row.identity] = row
        return found

    def _statement_for(self, mapper: Mapper[Any], count: int) -> Select[Any]:
        # made once: to put it together takes longer than the database does
        if (mapper, count) not in self._look_ups:
            entity = _entity(mapper)
            self._look_ups[mapper, count] = select(entity).where(one_of(key_columns(mapper, entity), count))
        return self._look_ups[mapper, count]

    def _refuse_null_keys(self, mapper: Mapper[Any]) -> None:
        # nothing comes after NULL, nor before it; tables refuse it in their primary keys, but a mapper may have another
        if not any(getattr(column, "nullable", False) for column in mapper.primary_key):
            return
        with self._reading(mapper) as (session, _):
            columns = key_columns(mapper, mapper.class_)
            if _unfiltered(session, select(*columns).where(or_(*(equal(c, None) for c in columns))).limit(1)).first():
                names = ", ".join(column.key for column in columns)
                raise InvalidValueError(
                    f"{mapper.class_.__name__}: expected no row with NULL in its primary key ({names}), but there are"
                    " such rows, which cannot be read in pages; map the class by columns that are NOT NULL"
                )

    @contextmanager
    def _reading(self, mapper: Mapper[Any]) -> Iterator[tuple[Session, str]]:
        if self._session.in_transaction():
            bind: Any = self._session.connection(bind_arguments={"mapper": mapper})
        else:
            bind = bind_of(self._session, mapper)
        # "rollback_only", and never a rollback: a transaction that is there already goes on as if we had not been
        with Session(bind, autoflush=False, join_transaction_mode="rollback_only") as private:
            yield private, bind.dialect.name


def _load(session: Session, statement: Select[Any], parameters: Mapping[str, Any] | None = None) -> list[ImageRow]:
    # lazyload: no joins for relationships that the class loads eagerly
    images = _unfiltered(session, statement.options(lazyload("*")), parameters).scalars().all()
    rows = [ImageRow.of(image) for image in images]
    session.expunge_all()
    return rows


def _unfiltered(session: Session, statement: Select[Any], parameters: Mapping[str, Any] | None = None) -> Result[Any]:
    """What the statement gives by itself: applications filter those of all sessions, e.g. by with_loader_criteria()."""

    def restore(state: ORMExecuteState) -> None:
        state.statement = statement

    # listeners of a session come after those of its class; once, since what is loaded on the way has other statements
    event.listen(session, "do_orm_execute", restore, once=True)
    return session.execute(statement, parameters)


def _entity(mapper: Mapper[Any]) -> Any:
    # the columns of subclasses too, which their object_id may need
    return with_polymorphic(mapper, "*") if len(list(mapper.self_and_descendants)) > 1 else mapper.class_


def bind_of(session: Session, mapper: Mapper[Any]) -> Engine | Connection:
    """What ``session`` reaches the rows of ``mapper`` by, with the execution options that it adds."""
    bind = session.get_bind(mapper=mapper)
    options = getattr(session, "execution_options", None)  # since SQLAlchemy 2.1
    return bind.execution_options(**options) if options else bind


def sync_session(session: Any) -> Session:
    """``session``, or the one that it stands for.

    :raises InvalidTypeError: it is none, an asynchronous one, or one of several databases for the same class
    """
    if isinstance(session, scoped_session):
        session = session()
    if hasattr(session, "run_sync"):  # an AsyncSession, or something that stands for one
        raise InvalidTypeError(
            f"expected a Session, got {type(session).__name__}; run it inside:"
            " `await session.run_sync(lambda session: migrate(session, …).execute())`"
        )
    if not isinstance(session, Session):
        raise wrong_type("", session, "a Session of SQLAlchemy")
    if isinstance(session, ShardedSession):
        raise InvalidTypeError(
            f"expected a Session of one database, got {type(session).__name__}; use a Session of each of them, with the"
            " store that belongs to it"
        )
    return session
