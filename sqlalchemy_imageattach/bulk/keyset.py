"""Pages by primary key: each continues after the key at which the former ended, in any database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import ColumnElement, and_, not_, or_, tuple_
from sqlalchemy.orm import Mapper

__all__ = ["between", "equal", "key_columns"]

# These use an index for (a, b) > (1, 2); others need it spelled out, or do not know it.
_ROW_VALUES = frozenset({"postgresql", "sqlite"})


def key_columns(mapper: Mapper[Any], entity: Any) -> list[Any]:
    """The attributes of ``entity`` that are the primary key of ``mapper``, in its order."""
    return [getattr(entity, mapper.get_property_by_column(column).key) for column in mapper.primary_key]


def between(
    columns: Sequence[Any], after: tuple[Any, ...] | None, upto: tuple[Any, ...] | None, dialect: str
) -> list[ColumnElement[bool]]:
    """The conditions for keys above ``after``, up to and including ``upto``; ``None`` for no limit."""
    conditions = []
    if after is not None:
        conditions.append(_above(columns, after, dialect))
        conditions.append(columns[0] >= after[0])  # an index can be entered by this one in any database
    if upto is not None:
        conditions.append(not_(_above(columns, upto, dialect)))
        conditions.append(columns[0] <= upto[0])
    return conditions


def equal(column: Any, value: Any) -> ColumnElement[bool]:
    """``column == value``."""
    return cast("ColumnElement[bool]", column == value)


def _above(columns: Sequence[Any], values: tuple[Any, ...], dialect: str) -> ColumnElement[bool]:
    if len(columns) == 1:
        return cast("ColumnElement[bool]", columns[0] > values[0])
    if dialect in _ROW_VALUES:
        return tuple_(*columns) > values
    return or_(*(and_(*map(equal, columns[:i], values[:i]), columns[i] > values[i]) for i in range(len(columns))))
