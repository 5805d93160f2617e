"""Where the pictures of a class are: in its store, or in files that its rows name."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from sqlalchemy import ColumnElement, Enum, String, inspect
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeDecorator, TypeEngine

from ..arguments import wrong_type, wrong_value
from ..context import find_store
from ..entity import Image
from ..entity.identity import mapper_of
from ..entity.image import find_known_store
from ..entity.transactions.pending import blob_state
from ..errors import UnreadableImageError
from ..imaging import ImagePolicy
from ..store import Store, key_of

__all__ = ["FilePictures", "Picture", "PictureSource", "StoredPictures"]


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture that is to be looked at.

    :param identity: the primary key of its row
    :param source: what it is called
    :param checksum: the SHA-256 of its bytes in hexadecimal, where it is known
    :param open: gives its bytes as a file; it may be called on any thread
    """

    identity: tuple[Any, ...]
    source: str
    checksum: str | None
    open: Callable[[], IO[bytes]]


class PictureSource(Protocol):
    """How to come by the pictures of a class."""

    policy: ImagePolicy

    def find(self, row: Any, store: Store | None, session: Session | None) -> Picture | None:
        """That of ``row``, an object of the class; ``None`` if it is none to be indexed."""

    def has_changed(self, row: Any) -> bool | None:
        """Whether another picture has been assigned since ``row`` was last flushed; ``None`` if that is not known."""

    def column(self, entity: Any) -> ColumnElement[Any] | None:
        """What a picture is called now, of the class or an alias of it; ``None`` where the database does not know."""


class StoredPictures:
    """The originals of a class with the :class:`~sqlalchemy_imageattach.entity.Image` mixin, from its store."""

    def __init__(self, cls: type[Image]) -> None:
        self.policy = cls.image_policy
        self._has_revision = "revision" in mapper_of(cls).column_attrs

    def find(self, row: Any, store: Store | None, session: Session | None) -> Picture | None:
        if not row.original:
            return None
        pending = blob_state(row).pending
        if pending is not None:
            opened: Callable[[], IO[bytes]] = pending.content.open
        else:
            info = {} if session is None else session.info
            found = find_store(store, info, type(row), find_known_store(row))
            key = key_of(row)

            def opened() -> IO[bytes]:
                return found.get(key)

        source = row.revision if self._has_revision else None
        return Picture(_identity(row), source or f"{row.created_at}", getattr(row, "checksum", None), opened)

    def has_changed(self, row: Any) -> bool | None:
        if not self._has_revision:
            return None
        return any(inspect(row).attrs[name].history.has_changes() for name in ("revision", "original"))

    def column(self, entity: Any) -> ColumnElement[Any] | None:
        return entity.revision if self._has_revision else None


class FilePictures:
    """Files whose paths are in an attribute of the class.

    :param cls: the class
    :param path: the name of a column or a property that has the path
    :param ignore: the name of one that says whether a picture is to be left out; it need not be there
    :param root: the directory of relative paths, when it is asked for; by default the current one
    :raises InvalidValueError: the class has no such attribute
    """

    policy = ImagePolicy()

    def __init__(self, cls: type[Any], path: str, ignore: str | None, root: Callable[[], Path | None]) -> None:
        if not hasattr(cls, path):
            raise wrong_value("path", path, f"the name of an attribute of {cls.__name__} that has the path of its file")
        self._path, self._root = path, root
        self._ignore = ignore if ignore and hasattr(cls, ignore) else None

    def find(self, row: Any, store: Store | None, session: Session | None) -> Picture | None:
        if self._ignore and getattr(row, self._ignore):
            return None
        path = getattr(row, self._path)
        if not path:
            return None
        if not isinstance(path, str | os.PathLike):
            raise wrong_type(f"{type(row).__name__}.{self._path}", path, "the path of a file")
        return Picture(_identity(row), str(path), None, lambda: _open(self._resolved(path)))

    def has_changed(self, row: Any) -> bool | None:
        attributes = inspect(row).attrs
        names = [name for name in (self._path, self._ignore) if name]
        if any(name in attributes and attributes[name].history.has_changes() for name in names):
            return True
        return False if all(name in attributes for name in names) else None

    def column(self, entity: Any) -> ColumnElement[Any] | None:
        found = getattr(entity, self._path) if self._path in inspect(entity).mapper.column_attrs else None
        return found if found is not None and _is_plain(found.type) else None

    def _resolved(self, path: str | os.PathLike[str]) -> Path:
        root = self._root()
        return Path(path) if root is None else root / path


def _is_plain(kind: TypeEngine[Any]) -> bool:
    """Whether a column has in the database what it has in the program: else it is not stored as it is called."""
    if isinstance(kind, TypeDecorator):
        own = type(kind)
        is_read_as_it_is = own.process_result_value is TypeDecorator.process_result_value
        return is_read_as_it_is and isinstance(kind.impl_instance, String)
    return isinstance(kind, String) and not isinstance(kind, Enum)


def _open(path: Path) -> IO[bytes]:
    # a pipe or a device would be read for ever
    if not path.is_file():
        msg = f"expected a file with a picture, but {str(path)!r} is none; correct the path in the row"
        raise UnreadableImageError(msg)
    return path.open("rb")


def _identity(row: Any) -> tuple[Any, ...]:
    return tuple(mapper_of(type(row)).primary_key_from_instance(row))
