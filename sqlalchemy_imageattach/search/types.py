"""How a vector is stored, in any database.

==================================  =================================================================================
database                            its column
==================================  =================================================================================
PostgreSQL with pgvector 0.7+       ``halfvec``, which an HNSW index finds neighbours in
PostgreSQL without                  ``BYTEA``
any other                           a binary one
==================================  =================================================================================

Whether PostgreSQL has the extension is found out when an engine first connects, and again before a table is created;
programs without a column of vectors ask nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final, Literal, get_args
from weakref import WeakKeyDictionary

import numpy as np
from sqlalchemy import Connection, Dialect, LargeBinary, Table, Text, cast, event, type_coerce
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.engine import Engine
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

from ..arguments import check_choice, check_range, check_type
from .vectors import Floats, from_bytes, to_bytes, unit_vector

__all__ = ["HalfVector", "StoredVector", "find_pgvector", "follow", "is_native", "shown_vector"]

Storage = Literal["auto", "bytea", "halfvec"]

#: The first that has halfvec.
_LEAST: Final = (0, 7)

_found: WeakKeyDictionary[Dialect, tuple[int, ...] | None] = WeakKeyDictionary()
_followers: list[Callable[[bool], object]] = []
_told = [False]
_lock = threading.Lock()


def find_pgvector(dialect: Dialect) -> tuple[int, ...] | None:
    """The version of pgvector in the database that ``dialect`` talks to, as far as it has talked to it."""
    return _found.get(dialect)


class HalfVector(UserDefinedType[Floats]):
    """The type ``halfvec`` of pgvector, sent and read as text, so that no driver has to know it.

    :param dimension: how many numbers
    """

    cache_ok = True

    def __init__(self, dimension: int | str | None = None) -> None:
        self.dimension = None if dimension is None else int(dimension)

    def get_col_spec(self, **_: Any) -> str:
        return "halfvec" if self.dimension is None else f"halfvec({self.dimension})"

    def bind_expression(self, bindvalue: Any) -> Any:
        return cast(cast(bindvalue, Text), self)

    def column_expression(self, column: Any) -> Any:
        return type_coerce(cast(column, Text), self)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Floats | None]:
        def process(value: str | None) -> Floats | None:
            return None if value is None else unit_vector(np.fromstring(value.strip("[]"), sep=","))

        return process


ischema_names.setdefault("halfvec", HalfVector)  # so that reflection knows it; the package pgvector has the same key


class StoredVector(TypeDecorator[Floats]):
    """How a vector is stored and read; see :class:`~.column.Vector`."""

    impl = LargeBinary
    cache_ok = True

    def __init__(self, dimension: int, *, postgresql: Storage = "auto") -> None:
        check_range("dimension", check_type("dimension", dimension, int), "1 to 16,000", 1, 16_000)
        check_choice("postgresql", postgresql, get_args(Storage))
        super().__init__()
        self.dimension, self.postgresql = dimension, postgresql
        _listen()

    def __repr__(self) -> str:
        storage = "" if self.postgresql == "auto" else f", postgresql={self.postgresql!r}"
        return f"Vector({self.dimension}{storage})"

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if is_native(self, dialect):
            return dialect.type_descriptor(HalfVector(self.dimension))
        if dialect.name in {"mysql", "mariadb"}:  # whose BLOB(n) is another type afterwards, by its n
            return dialect.type_descriptor(LargeBinary())
        return dialect.type_descriptor(LargeBinary(4 * self.dimension))

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        if value is None:
            return None
        vector = unit_vector(value, self.dimension)
        return shown_vector(vector) if is_native(self, dialect) else to_bytes(vector)

    def process_result_value(self, value: Any, dialect: Dialect) -> Floats | None:
        if value is None:
            return None
        return value if isinstance(value, np.ndarray) else from_bytes(bytes(value))


def shown_vector(vector: Floats) -> str:
    """As pgvector reads it."""
    return "[" + ",".join(map(repr, vector.tolist())) + "]"


def is_native(kind: StoredVector, dialect: Dialect) -> bool:
    """Whether the column is one of pgvector's."""
    if dialect.name != "postgresql" or kind.postgresql == "bytea":
        return False
    return kind.postgresql == "halfvec" or (_found.get(dialect) or (0,)) >= _LEAST


# --- what the database has -------------------------------------------------------------------------------------------


def _look(connection: Connection, *, again: bool = False) -> None:
    dialect = connection.dialect
    if dialect.name != "postgresql" or (dialect in _found and not (again and _found[dialect] is None)):
        return
    cursor = connection.connection.cursor()
    try:  # past SQLAlchemy, which would begin a transaction for it
        cursor.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
        row = cursor.fetchone()
    finally:
        cursor.close()
    version = None if row is None else tuple(int(part) for part in row[0].split("."))
    if not again:
        connection.connection.rollback()  # otherwise nobody could set an isolation level any more
    with _lock:
        if version != _found.get(dialect):
            # types remember what they were, and statements what they became
            getattr(dialect, "_type_memos", {}).clear()
            if connection.engine._compiled_cache is not None:
                connection.engine.clear_compiled_cache()
        _found[dialect] = version


def follow(function: Callable[[bool], object]) -> None:
    """Tell ``function`` whether the database that was met last has pgvector: now, and whenever that is another one."""
    with _lock:
        _followers.append(function)
        function(_told[0])


def _tell(has_pgvector: bool) -> None:
    if has_pgvector is not _told[0]:
        with _lock:
            _told[0] = has_pgvector
            for function in _followers:
                function(has_pgvector)


def _connected(connection: Connection) -> None:
    _look(connection)
    _tell((_found.get(connection.dialect) or (0,)) >= _LEAST)


def _before_create(table: Table, connection: Any, **_: Any) -> None:
    if isinstance(connection, Connection) and any(isinstance(column.type, StoredVector) for column in table.columns):
        _look(connection, again=True)
        _tell((_found.get(connection.dialect) or (0,)) >= _LEAST)


def _listen() -> None:
    """Look into each database from now on; until a program has a column of vectors, its connections cost nothing."""
    with _lock:
        if not event.contains(Engine, "engine_connect", _connected):
            event.listen(Engine, "engine_connect", _connected)
            event.listen(Table, "before_create", _before_create)
