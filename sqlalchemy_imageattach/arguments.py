"""Checks of arguments, and the words in which they complain: what was expected, what came, what to do.

Not public, but all of it may be used by every room.  A check raises; what is named ``wrong_…`` gives the error, for the
caller to raise where the condition is its own::

    if twice := {name for name in names if names.count(name) > 1}:
        raise wrong_value("option", twice, "each name once", "leave one out")
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

from .errors import InvalidTypeError, InvalidValueError

__all__ = [
    "check_callable",
    "check_choice",
    "check_range",
    "check_type",
    "choices_of",
    "shown",
    "wrong_type",
    "wrong_value",
]

_T = TypeVar("_T")


def wrong_type(
    name: str, value: object, expected: str, advice: str = "", *, got: str | None = None
) -> InvalidTypeError:
    """The error that an argument has the wrong type.

        >>> raise wrong_type("width", "150", "int")
        Traceback (most recent call last):
          ...
        sqlalchemy_imageattach.errors.InvalidTypeError: width: expected int, got str ('150')

    :param name: of the argument; empty if the message needs none
    :param value: what came
    :param expected: what should have come
    :param advice: what to do
    :param got: what to say of ``value`` instead of its type and its :func:`repr`
    """
    return InvalidTypeError(_message(name, expected, got or f"{type(value).__name__} ({shown(value)})", advice))


def wrong_value(
    name: str, value: object, expected: str, advice: str = "", *, got: str | None = None
) -> InvalidValueError:
    """The error that an argument is of the right type, and yet none that can be.

        >>> raise wrong_value("quality", 101, "1 to 100")
        Traceback (most recent call last):
          ...
        sqlalchemy_imageattach.errors.InvalidValueError: quality: expected 1 to 100, got 101

    :param name: of the argument; empty if the message needs none
    :param value: what came
    :param expected: what should have come
    :param advice: what to do
    :param got: what to say of ``value`` instead of its :func:`repr`
    """
    return InvalidValueError(_message(name, expected, got or shown(value), advice))


def check_type(name: str, value: object, types: type[_T] | tuple[type[_T], ...], expected: str = "") -> _T:
    """``value``, which is an instance of one of ``types``.  A bool is no number here: ``True`` is no width.

    :param expected: what to call ``types``; by default by their names
    :raises InvalidTypeError: it is not
    """
    if type(value) is types:  # nearly always, and several times for each image of a page
        return value
    kinds = types if isinstance(types, tuple) else (types,)
    if isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds):
        return value
    raise wrong_type(name, value, expected or " or ".join(kind.__name__ for kind in kinds))


def check_range(name: str, value: float, expected: str, least: float, most: float = float("inf")) -> None:
    """``value`` is a number from ``least`` to ``most``.

    :param expected: the unit and the range, in words
    :raises InvalidValueError: it is not
    """
    if not least <= value <= most:
        raise wrong_value(name, value, expected)


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """``value`` is one of ``choices``.

    :raises InvalidValueError: it is not
    """
    if value not in choices:
        raise wrong_value(name, value, choices_of(choices))


def check_callable(name: str, value: object, expected: str) -> None:
    """``value`` can be called.

    :param expected: what kind of function, in words
    :raises InvalidTypeError: it cannot
    """
    if not callable(value):
        raise wrong_type(name, value, expected)


def choices_of(choices: Collection[str]) -> str:
    """``one of 'a', 'b'``."""
    return f"one of {', '.join(map(repr, choices))}"


def shown(value: object) -> str:
    """``value`` as messages show it: by its :func:`repr`, which Python refuses to integers of thousands of digits.

    >>> shown("a"), shown(10**5000)
    ("'a'", 'a number of 16,610 bits')
    """
    if isinstance(value, int) and value.bit_length() > 64:
        return f"a number of {value.bit_length():,} bits"
    return repr(value)


def _message(name: str, expected: str, got: str, advice: str) -> str:
    return f"{name and name + ': '}expected {expected}, got {got}{advice and '; ' + advice}"
