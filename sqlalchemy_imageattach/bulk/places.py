"""Which store each class has, where an operation is about all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy.orm import Mapper, Session

from ..context import find_named_store, find_store_of_class
from ..store import Store, are_same_place

__all__ = ["Places"]


class Places:
    """The stores of image classes, each asked for once: for a whole operation they stay the same.

    :param general: the store that the operation was given, for the classes that have none of their own
    :param session: the session that it was given
    :raises InvalidTypeError: ``general`` is no store
    """

    def __init__(self, general: Store | None, session: Session) -> None:
        self._general = find_named_store(general)
        self._is_given = general is not None
        self._info = session.info
        self._known: dict[type[Any], Store] = {}

    def store_of(self, image_class: type[Any]) -> Store:
        """The store of the class.

        :raises ContextError: it has none, and none was given or is known otherwise
        """
        if image_class not in self._known:
            self._known[image_class] = find_store_of_class(image_class, self._general, self._info)
        return self._known[image_class]

    def stores_of(self, mappers: Iterable[Mapper[Any]]) -> list[Store]:
        """The stores of these classes and their subclasses, each place once; at first the given one, whosever it is.

        A class whose own store has others, of which each is to have every blob, counts as one of each of these.
        """
        found = [self._general] if self._is_given and self._general is not None else []
        for mapper in mappers:
            for each in mapper.self_and_descendants:
                for store in self._stores_of(each.class_):
                    if not any(_is_one(store, known) for known in found):
                        found.append(store)
        return found

    def has(self, store: Store, image_class: type[Any]) -> bool:
        """Whether the blobs of the class are in ``store``, which is one of :meth:`stores_of`."""
        return any(_is_one(store, each) for each in self._stores_of(image_class))

    def mappers_of(self, store: Store, mappers: Iterable[Mapper[Any]]) -> list[Mapper[Any]]:
        """Those of ``mappers`` with a class that has its blobs in ``store``."""
        return [mapper for mapper in mappers if any(self.has(store, m.class_) for m in mapper.self_and_descendants)]

    def _stores_of(self, image_class: type[Any]) -> list[Store]:
        store = self.store_of(image_class)
        # one that was given has to be the one to look into: who gave it can name what it consists of instead
        return [store] if store is self._general else _replicas_of(store)


def _replicas_of(store: Store) -> list[Store]:
    replicas = store.replicas()
    return [single for replica in replicas for single in _replicas_of(replica)] if replicas else [store]


def _is_one(one: Store, other: Store) -> bool:
    # what stands for several is the same place as each of them, but it has more, or other things
    return one == other or not (one.parts() or other.parts()) and are_same_place(one, other)
