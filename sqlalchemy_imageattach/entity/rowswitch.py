"""Rows that replace others of the same key.

A new picture of the size that the former one had has its primary key too, and SQLAlchemy makes one UPDATE of the
DELETE and the INSERT.  That writes what was set and leaves the rest as it was, so the new picture would keep what was
said of the former one.  Here everything is set: what an INSERT would write is written.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ClauseElement, Column, inspect, null, text
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.attributes import flag_modified

from .identity import mapper_of, primary_key_names, set_value

__all__ = ["write_whole_row"]


def write_whole_row(connection: Connection, image: Any) -> None:
    """Afterwards an UPDATE of the row of ``image`` leaves there what an INSERT into an empty place would.

    What only the table itself can tell, such as what a trigger or a sequence makes, stays as it is.
    """
    mapper = mapper_of(type(image))
    given, keys = inspect(image).dict, primary_key_names(mapper)
    for attribute in mapper.column_attrs:
        name, column = attribute.key, attribute.columns[0]
        if name in keys:
            continue
        # None is nothing given, as it is in an INSERT, but for types such as JSON that have a value of their own for it
        if given.get(name) is not None or (name in given and column.type.should_evaluate_none):
            flag_modified(image, name)  # otherwise what an earlier flush, rolled back since, had written is left out
        elif _is_filled(mapper, column):
            _fill(connection, image, name, column)


def _is_filled(mapper: Mapper[Any], column: Any) -> bool:
    """Whether ``column`` is one whose value an INSERT without any would find in its definition."""
    return (
        isinstance(column, Column)
        and column.table in mapper.tables
        and not (column.primary_key or column.computed is not None or column.identity is not None)
        and column is not mapper.version_id_col
        and not (column.default is not None and column.default.is_sequence)
    )


def _fill(connection: Connection, image: Any, name: str, column: Any) -> None:
    default = column.server_default if column.default is None else column.default
    if default is None:
        # to a type such as JSON None is a value of its own
        set_value(image, name, null() if column.type.should_evaluate_none else None)
    elif not isinstance(argument := getattr(default, "arg", None), ClauseElement) and default is column.default:
        set_value(image, name, connection.scalar(default))
    elif isinstance(argument, str):
        set_value(image, name, text("'" + argument.replace("'", "''") + "'"))
    elif argument is not None:  # otherwise the table alone knows it
        set_value(image, name, argument)
