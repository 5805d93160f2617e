"""Which indexes a class has."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from .index import PictureIndex

__all__ = ["indexes_of", "is_known", "remember"]

_indexes: WeakKeyDictionary[type[Any], list[PictureIndex]] = WeakKeyDictionary()


def indexes_of(cls: type[Any]) -> list[PictureIndex]:
    """Those that are kept in step with a class, in the order of their registration."""
    return [index for each in cls.__mro__ for index in _indexes.get(each, ())]


def is_known(cls: type[Any]) -> bool:
    """Whether the class has one of its own."""
    return cls in _indexes


def remember(index: PictureIndex) -> None:
    """Its class has it."""
    _indexes.setdefault(index.cls, []).append(index)
