"""Primary keys as JSON can say them, and back."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import ColumnElement

from ..arguments import wrong_type, wrong_value

__all__ = ["KeyValue", "decode_key", "encode_key"]

#: A value of a primary key: as it is, or ``(type, text)``.
KeyValue: TypeAlias = str | int | float | bool | None | tuple[str, str]

_TO_TEXT: dict[type[Any], Callable[[Any], str]] = {
    bytes: lambda value: base64.b64encode(value).decode(),
    UUID: str,
    Decimal: str,
    datetime: datetime.isoformat,  # before date, of which it is a kind
    date: date.isoformat,
    time: time.isoformat,
}
_FROM_TEXT: dict[str, Callable[[str], Any]] = {
    "bytes": lambda text: base64.b64decode(text, validate=True),
    "UUID": UUID,
    "Decimal": Decimal,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
}


def encode_key(value: Any) -> KeyValue:
    """One value of a primary key, as JSON can say it.

        >>> encode_key(7), encode_key(UUID(int=7))
        (7, ('UUID', '00000000-0000-0000-0000-000000000007'))

    :raises InvalidTypeError: it is of a type that is not foreseen here
    """
    if isinstance(value, Enum):
        return "Enum", value.name
    if value is None or isinstance(value, str | int | float):
        return value
    for kind, to_text in _TO_TEXT.items():
        if isinstance(value, kind):
            return kind.__name__, to_text(value)
    raise wrong_type("key", value, "str, int, float, bytes, UUID, Decimal, date, time or an enumeration")


def decode_key(value: KeyValue, column: ColumnElement[Any]) -> Any:
    """The value of ``column`` that :func:`encode_key` has made ``value`` of.

    :raises InvalidValueError: there is none
    """
    if not isinstance(value, tuple | list):
        return value
    try:
        kind, text = value
        return column.type.python_type[text] if kind == "Enum" else _FROM_TEXT[kind](text)
    except (ArithmeticError, LookupError, TypeError, ValueError, NotImplementedError):
        raise wrong_value("key", value, f"what encode_key() gives for a value of {column}") from None
