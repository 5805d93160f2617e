"""Pages by primary key: each continues after the key at which the former ended, in any database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from sqlalchemy import ColumnElement, Select, and_, bindparam, not_, or_, tuple_
from sqlalchemy.orm import Mapper

__all__ = ["KeyRange", "equal", "key_columns", "one_of", "page_after", "pages", "parameters_of", "within"]

_T = TypeVar("_T")

#: Rows of one page.
PAGE = 1000

# These use an index for (a, b) > (1, 2); others need it spelled out, or do not know it.
_ROW_VALUES = frozenset({"postgresql", "sqlite"})


@dataclass(frozen=True, slots=True)
class KeyRange:
    """The rows with a primary key above ``after``, up to and including ``upto``; ``None`` for no limit."""

    after: tuple[Any, ...] | None = None
    upto: tuple[Any, ...] | None = None


def key_columns(mapper: Mapper[Any], entity: Any) -> list[Any]:
    """The attributes of ``entity`` that are the primary key of ``mapper``, in its order."""
    return [getattr(entity, mapper.get_property_by_column(column).key) for column in mapper.primary_key]


def page_after(
    statement: Select[Any], columns: Sequence[Any], after: tuple[Any, ...] | None, dialect: str
) -> Select[Any]:
    """``statement`` for the first rows with keys above ``after``, in the order of the keys; ``None`` for no limit."""
    if after is not None:
        # an index can be entered by the first column in any database
        statement = statement.where(_above(columns, after, dialect), columns[0] >= after[0])
    return statement.order_by(*columns).limit(PAGE)


def within(statement: Select[Any], columns: Sequence[Any], key_range: KeyRange | None, dialect: str) -> Select[Any]:
    """``statement`` for the rows of ``key_range`` alone; ``None`` for all rows."""
    if key_range is not None and key_range.after is not None:
        statement = statement.where(_above(columns, key_range.after, dialect), columns[0] >= key_range.after[0])
    if key_range is not None and key_range.upto is not None:
        statement = statement.where(not_(_above(columns, key_range.upto, dialect)), columns[0] <= key_range.upto[0])
    return statement


def pages(
    page: Callable[[tuple[Any, ...] | None], list[_T]],
    key: Callable[[_T], tuple[Any, ...]],
    after: tuple[Any, ...] | None = None,
) -> Iterator[_T]:
    """What ``page`` gives after the key ``after``, after the last key that it gave, and so on."""
    while found := page(after):
        yield from found
        if after == key(found[-1]):
            return  # a key that the database compares as larger than itself, as rounded numbers can be
        after = key(found[-1])


def equal(column: Any, value: Any) -> ColumnElement[bool]:
    """``column == value``."""
    return cast("ColumnElement[bool]", column == value)


def one_of(columns: Sequence[Any], count: int) -> ColumnElement[bool]:
    """The columns have the values of one of ``count`` keys, which :func:`parameters_of` gives to the statement.

    No row values, since SQLite looks through the whole table for those in a list.
    """
    return or_(
        *(
            and_(*(equal(column, bindparam(_parameter(key, i), type_=column.type)) for i, column in enumerate(columns)))
            for key in range(count)
        )
    )


def parameters_of(keys: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    """What a statement with :func:`one_of` is executed with."""
    return {_parameter(number, i): value for number, key in enumerate(keys) for i, value in enumerate(key)}


def _parameter(key: int, column: int) -> str:
    return f"key_{key}_{column}"


def _above(columns: Sequence[Any], values: tuple[Any, ...], dialect: str) -> ColumnElement[bool]:
    if len(columns) == 1:
        return cast("ColumnElement[bool]", columns[0] > values[0])
    if dialect in _ROW_VALUES:
        return tuple_(*columns) > values
    return or_(*(and_(*map(equal, columns[:i], values[:i]), columns[i] > values[i]) for i in range(len(columns))))
