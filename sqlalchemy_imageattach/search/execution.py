"""What has to happen just before a statement with a distance in it is executed.

Nothing is listened to until such a statement is compiled; from then on, each statement of that engine costs one look at
an attribute.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from sqlalchemy import Connection, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.sql.compiler import SQLCompiler

from ..errors import VectorSearchUnavailableError
from . import sqlite
from .query import Pending, Query
from .ranking import Execute, Ranking
from .types import find_pgvector

__all__ = ["attend"]

_MARK: Final = "imageattach_has_distance"
_lock = threading.Lock()

#: The first pgvector that goes on searching when a filter has left too little.
_ITERATES: Final = (0, 8)
#: Until there is nothing more to be found: neither tuples nor memory put an end to it.
_ITERATIVE_SCAN: Final = (
    "SELECT set_config('hnsw.iterative_scan', 'strict_order', {0}),"
    " set_config('hnsw.max_scan_tuples', '2147483647', {0}),"
    " set_config('hnsw.scan_mem_multiplier', '1000', {0})"
)

#: What is asked of an approximate index at first, for each row wanted, and how much more each next time.
_MARGIN: Final = 10
_WIDER: Final = 8


def attend(compiler: SQLCompiler) -> None:
    """See to the statement that is being compiled whenever it is executed."""
    setattr(compiler, _MARK, True)
    dialect = compiler.dialect
    with _lock:
        if not event.contains(dialect, "do_execute", _do_execute):
            event.listen(dialect, "do_execute", _do_execute)
            event.listen(dialect, "do_executemany", _do_executemany)
            event.listen(dialect, "handle_error", _explain)


def _do_execute(cursor: Any, statement: str, parameters: Any, context: Any) -> bool | None:
    if not getattr(context.compiled, _MARK, False):
        return None
    return _Execution(cursor, statement, parameters, context, is_many=False).run()


def _do_executemany(cursor: Any, statement: str, parameters: Any, context: Any) -> bool | None:
    if not getattr(context.compiled, _MARK, False):
        return None
    return _Execution(cursor, statement, parameters, context, is_many=True).run()


@dataclass(frozen=True, slots=True)
class _Execution:
    cursor: Any
    statement: str
    parameters: Any
    context: Any
    is_many: bool

    def run(self) -> bool | None:
        """Whether the statement was executed."""
        connection = self.context.root_connection
        for query in self._queries():
            if query.check is not None:
                query.check(self._reading(connection))
        match connection.dialect.name:
            case "sqlite":
                return self._in_sqlite(connection)
            case "postgresql" if find_pgvector(connection.dialect) and not self._pending():
                self._set_iterative_scan(connection)
                return None
        return self._ranked(connection)

    def _reading(self, connection: Connection) -> Execute:
        """Reads what is ranked from where the statement reads: its options alone may say in which schema that is."""
        schemas = self.context.execution_options.get("schema_translate_map")
        return partial(connection.execute, execution_options={"schema_translate_map": schemas})

    def _queries(self) -> list[Query]:
        given = [value for values in self.context.compiled_parameters for value in values.values()]
        return list({id(value): value for value in given if isinstance(value, Query)}.values())

    def _pending(self) -> list[Pending]:
        sets = self.parameters if self.is_many else [self.parameters]
        values = [value for each in sets for value in (each.values() if isinstance(each, dict) else each)]
        return [value for value in values if isinstance(value, Pending)]

    def _in_sqlite(self, connection: Connection) -> bool | None:
        statement = sqlite.prepare(connection, self.statement)
        if statement == self.statement:
            return None
        self._execute(statement, self.parameters)
        return True

    def _set_iterative_scan(self, connection: Connection) -> None:
        if (find_pgvector(connection.dialect) or ()) < _ITERATES:
            return
        driver: Any = connection.connection.dbapi_connection
        is_local = "false" if getattr(driver, "autocommit", False) else "true"
        connection.exec_driver_sql(_ITERATIVE_SCAN.format(is_local))

    def _ranked(self, connection: Connection) -> bool:
        """Execute with rankings in place of what stands for them; again with longer ones, if they were too short."""
        limits = [pending.query.limit for pending in self._pending()]  # of a SELECT, executed once
        limit = limits[0] if len(limits) == 1 else None
        asked = None if limit is None else _MARGIN * limit
        while True:
            is_whole = self._execute_with_rankings(connection, asked)
            if is_whole or limit is None or asked is None or self.cursor.rowcount >= limit:
                return True
            asked *= _WIDER

    def _execute_with_rankings(self, connection: Connection, asked: int | None) -> bool:
        show: Callable[[Ranking], str] = _object if connection.dialect.name == "postgresql" else _array
        queries = {id(pending.query): pending.query for pending in self._pending()}
        rankings = {
            key: query.rows.rank(self._reading(connection), query.vector, asked) for key, query in queries.items()
        }
        shown = {key: show(ranking) for key, ranking in rankings.items()}

        def filled(value: Any) -> Any:
            return shown[id(value.query)] if isinstance(value, Pending) else value

        def filled_set(given: Any) -> Any:
            if isinstance(given, dict):
                return {name: filled(value) for name, value in given.items()}
            return type(given)(map(filled, given))

        parameters = [filled_set(each) for each in self.parameters] if self.is_many else filled_set(self.parameters)
        self._execute(self.statement, parameters)
        return all(ranking.is_whole for ranking in rankings.values())

    def _execute(self, statement: str, parameters: Any) -> None:
        dialect = self.context.dialect
        execute = dialect.do_executemany if self.is_many else dialect.do_execute
        execute(self.cursor, statement, parameters, self.context)


def _object(ranking: Ranking) -> str:
    return "{" + ",".join(f'"{key}":{distance:.7g}' for key, distance in _pairs(ranking)) + "}"


def _array(ranking: Ranking) -> str:
    return "[" + ",".join(f"[{key},{distance:.7g}]" for key, distance in _pairs(ranking)) + "]"


def _pairs(ranking: Ranking) -> Any:
    return zip(ranking.keys.tolist(), ranking.distances.astype(np.float64).tolist(), strict=True)


def _explain(context: ExceptionContext) -> None:
    compiled: Any = getattr(context.execution_context, "compiled", None)
    if not getattr(compiled, _MARK, False):
        return
    text = str(context.original_exception)
    if "bytea <=>" in text:
        msg = (
            "the database has pgvector, but the column was made without it, as BYTEA: drop the table of the embeddings"
            " and index anew, or declare Vector(…, postgresql='bytea')"
        )
    elif "halfvec" in text and "does not exist" in text:
        msg = (
            "the column wants pgvector 0.7 or later, which the database does not have: run CREATE EXTENSION vector, or"
            " declare Vector(…, postgresql='auto')"
        )
    else:
        return
    raise VectorSearchUnavailableError(msg) from context.original_exception
