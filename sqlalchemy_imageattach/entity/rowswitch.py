"""Rows that replace others of the same key.

A new picture of the size that the former one had has its primary key too, and SQLAlchemy makes one UPDATE of the
DELETE and the INSERT.  That writes what was set and leaves the rest as it was, so the new picture would keep what was
said of the former one.  Here everything is set: what an INSERT would write is written.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ClauseElement, Column, literal_column, null, text, update
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Mapper, UOWTransaction
from sqlalchemy.orm.attributes import flag_modified, instance_state, set_committed_value

from .identity import mapper_of, primary_key_names
from .readback import note_refreshed

__all__ = ["write_whole_row"]


def write_whole_row(connection: Connection, image: Any, context: UOWTransaction | None) -> None:
    """Afterwards an UPDATE of the row of ``image`` leaves there what an INSERT into an empty place would.

    What only the table itself can tell, such as what a trigger or a sequence makes, stays as it is.

    :param context: the flush
    """
    mapper = mapper_of(type(image))
    given, keys = instance_state(image).dict, primary_key_names(mapper)
    filled = []
    for attribute in mapper.column_attrs:
        name, column = attribute.key, attribute.columns[0]
        if name in keys or column is mapper.version_id_col:
            continue
        # None is nothing given, as it is in an INSERT, but for types such as JSON that have a value of their own for it
        if given.get(name) is not None or (name in given and column.type.should_evaluate_none):
            flag_modified(image, name)  # otherwise what an earlier flush, rolled back since, had written is left out
        elif _is_filled(mapper, column):
            value = _value_of_insert(connection, image, column)
            # past validators and the like, which an INSERT shows no defaults either
            set_committed_value(image, name, value)
            flag_modified(image, name)
            if not isinstance(value, ClauseElement):
                filled.append(name)
    note_refreshed(image, context, filled)
    for table in mapper.tables:
        _fill_unmapped(connection, mapper, image, table)


def _fill_unmapped(connection: Connection, mapper: Mapper[Any], image: Any, table: Any) -> None:
    """The same for columns of other classes of the table, and those that no class maps."""
    mapped = {column for attribute in mapper.column_attrs for column in attribute.columns}
    values = {
        column: _value_of_insert(connection, image, column)
        for column in table.columns
        if column not in mapped and _is_filled(mapper, column) and (column.nullable or _has_default(column))
    }
    if values:
        keys = [column == getattr(image, mapper.get_property_by_column(column).key) for column in table.primary_key]
        connection.execute(update(table).where(*keys).values(values))


def _has_default(column: Any) -> bool:
    return column.default is not None or column.server_default is not None


def _is_filled(mapper: Mapper[Any], column: Any) -> bool:
    """Whether ``column`` is one whose value an INSERT without any would find in its definition."""
    return (
        isinstance(column, Column)
        and column.table in mapper.tables
        and not (column.primary_key or column.computed is not None or column.identity is not None)
        and not (column.default is not None and column.default.is_sequence)
        and (column.default is not None or column.server_default is None or hasattr(column.server_default, "arg"))
    )


def _value_of_insert(connection: Connection, image: Any, column: Any) -> Any:
    if column.default is not None:
        argument = column.default.arg
        is_function = callable(argument) and not isinstance(argument, ClauseElement)
        return argument(_Context(connection, image)) if is_function else argument
    if column.server_default is None:
        # to a type such as JSON None is a value of its own
        return null() if column.type.should_evaluate_none else None
    dialect = connection.dialect
    if dialect.name != "sqlite":
        return text("DEFAULT")
    # which SQLite does not take in an UPDATE
    return literal_column(dialect.ddl_compiler(dialect, None).get_column_default_string(column))  # type: ignore[arg-type]


class _Context:
    """What a default that is a function is given in an INSERT, as far as there is one here."""

    def __init__(self, connection: Connection, image: Any) -> None:
        self.connection = self.root_connection = connection
        self.dialect, self.engine = connection.dialect, connection.engine
        given, columns = instance_state(image).dict, mapper_of(type(image)).column_attrs
        self.current_parameters = {each.columns[0].key: given.get(each.key) for each in columns}

    def get_current_parameters(self, isolate_multiinsert_groups: bool = True) -> dict[str, Any]:
        return self.current_parameters
