"""The distance of a vector as SQL: an expression like any other, in whatever clause of whatever statement.

It is computed by the database where that can be, for the rows that the statement comes to:

=========================  ==========================================================================================
PostgreSQL with pgvector   by its operator ``<=>``, with an HNSW index if the statement orders and limits by it alone
SQLite                     by a function written in Python, or by sqlite-vec where the driver loads extensions
PostgreSQL without, and    in the process, for all rows of the table; the result goes along with the statement as one
MariaDB or MySQL           parameter
=========================  ==========================================================================================

What has to happen just before such a statement is executed is done by :mod:`.execution`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import BindParameter, Boolean, ColumnElement, Dialect, Float, Integer, bindparam, null
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import UserDefinedType

from ..errors import VectorSearchUnavailableError
from . import sqlite
from .execution import attend
from .query import Pending, Query
from .ranking import ColumnRows
from .types import StoredVector, is_native, shown_vector
from .vectors import to_bytes, unit_vector

__all__ = ["CosineDistance", "IsRanked", "distance_of_column"]


class _QueryType(UserDefinedType[Query]):
    cache_ok = True

    def __init__(self, kind: StoredVector) -> None:
        self.kind = kind

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:
        if dialect.name == "sqlite":
            return lambda query: to_bytes(query.vector)
        if is_native(self.kind, dialect):
            return lambda query: shown_vector(query.vector)
        return Pending.of


class CosineDistance(FunctionElement[float]):
    """The distance of a column of vectors from a :class:`Query`: a function of the column, the key and the query."""

    inherit_cache = True
    name = "cosine_distance"
    type = Float()

    @classmethod
    def of(cls, column: ColumnElement[Any], key: ColumnElement[Any], query: Query) -> CosineDistance:
        parameter: BindParameter[Query] = bindparam(None, query, type_=_QueryType(column.type), unique=True)  # type: ignore[arg-type]
        return cls(column, key, parameter)


class IsRanked(FunctionElement[bool]):
    """Whether a row is among those that were ranked: where the database compares vectors itself, each one is."""

    inherit_cache = True
    name = "is_ranked"
    type = Boolean()

    @classmethod
    def of(cls, distance: CosineDistance) -> IsRanked:
        return cls(distance)


@compiles(IsRanked)
def _all_are(element: IsRanked, compiler: SQLCompiler, **options: Any) -> str:
    return "1 = 1"


@compiles(IsRanked, "postgresql")
def _some_are_in_postgresql(element: IsRanked, compiler: SQLCompiler, **options: Any) -> str:
    (distance,) = element.clauses
    column, *_ = distance.clauses
    return "true" if is_native(column.type, compiler.dialect) else _some_are(element, compiler, **options)


@compiles(IsRanked, "mysql", "mariadb")
def _some_are(element: IsRanked, compiler: SQLCompiler, **options: Any) -> str:
    (distance,) = element.clauses
    return f"({compiler.process(distance, **options)}) IS NOT NULL"


def distance_of_column(column: ColumnElement[Any], value: Any) -> CosineDistance:
    """The distance of any column of :class:`~.column.Vector`."""
    assert isinstance(column.type, StoredVector)
    vector = unit_vector(value, column.type.dimension)
    keys = list(getattr(getattr(column, "table", None), "primary_key", None) or ())
    key = keys[0] if len(keys) == 1 and isinstance(keys[0].type, Integer) else null()
    return CosineDistance.of(column, key, Query(vector, ColumnRows(column, key)))


@compiles(CosineDistance)
def _anywhere(element: CosineDistance, compiler: SQLCompiler, **options: Any) -> str:
    if compiler.dialect.name == "default":  # str() of a statement
        column, _, query = element.clauses
        return f"cosine_distance({compiler.process(column, **options)}, {compiler.process(query, **options)})"
    raise VectorSearchUnavailableError(
        f"vectors cannot be compared by {compiler.dialect.name}: expected PostgreSQL, SQLite, MariaDB or MySQL; keep"
        " the embeddings in one of these"
    )


@compiles(CosineDistance, "sqlite")
def _in_sqlite(element: CosineDistance, compiler: SQLCompiler, **options: Any) -> str:
    attend(compiler)
    column, _, query = element.clauses
    vector = compiler.process(column, **options)
    # sqlite-vec raises for NULL
    return f"CASE WHEN {vector} IS NOT NULL THEN {sqlite.FUNCTION}({vector}, {compiler.process(query, **options)}) END"


@compiles(CosineDistance, "postgresql")
def _in_postgresql(element: CosineDistance, compiler: SQLCompiler, **options: Any) -> str:
    attend(compiler)
    column, key, query = element.clauses
    assert isinstance(column.type, StoredVector)
    parameter = compiler.process(query, **options)
    if is_native(column.type, compiler.dialect):
        vector = f"CAST(CAST({parameter} AS TEXT) AS halfvec({column.type.dimension}))"
        return f"({compiler.process(column, **options)} <=> {vector})"
    # a subquery of its own, so that it is read once and not for each row
    ranking = f"(SELECT CAST(CAST({parameter} AS TEXT) AS JSONB))"
    return f"CAST({ranking} ->> CAST({_key(compiler, key, options)} AS TEXT) AS DOUBLE PRECISION)"


@compiles(CosineDistance, "mysql", "mariadb")
def _in_mariadb(element: CosineDistance, compiler: SQLCompiler, **options: Any) -> str:
    attend(compiler)
    _, key, query = element.clauses
    # grouped, so that it is read once into a table with an index, and not for each row
    return (
        "(SELECT ranked.distance FROM (SELECT listed.id, MIN(listed.distance) AS distance FROM"
        f" JSON_TABLE({compiler.process(query, **options)}, '$[*]' COLUMNS ("
        "id BIGINT PATH '$[0]', distance DOUBLE PATH '$[1]')) AS listed GROUP BY listed.id) AS ranked"
        f" WHERE ranked.id = {_key(compiler, key, options)})"
    )


def _key(compiler: SQLCompiler, key: ColumnElement[Any], options: Any) -> str:
    if not isinstance(key.type, Integer):
        raise VectorSearchUnavailableError(
            "this database has no function for vectors, so they are compared in the process, by a primary key of one"
            " integer: give the table of the column such a key, or use an Embeddings table, which has"
        )
    return compiler.process(key, **options)
