"""Who an image is: the columns that identify it, and the names that stores know it by."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Any, cast

from sqlalchemy import TypeDecorator, inspect, select
from sqlalchemy.engine import Connection
from sqlalchemy.orm import InstanceState, Mapper
from sqlalchemy.orm.attributes import set_attribute

from ..errors import InvalidTypeError
from ..key import ImageKey
from ..store import Store, keeps_revisions, key_of

__all__ = [
    "committed_key",
    "default_object_id",
    "distinguishes_types",
    "distinguishes_variants",
    "has_own_column",
    "has_usual_key",
    "mapper_of",
    "missing_identity",
    "primary_key_names",
    "require_type_of_column",
    "row_slot",
    "set_identity",
    "set_identity_names",
    "set_value",
    "set_variant",
    "size_and_type",
    "variant_of",
]

#: The types of keys that identifiers are made of.
_PLAIN = (int, str, bytes, uuid.UUID)

#: The primary key columns that tell the images of one picture apart, rather than pictures.
_OF_IMAGES = frozenset({"width", "height", "mimetype", "variant"})


def mapper_of(cls: type[Any]) -> Mapper[Any]:
    """The mapper of a mapped class."""
    found: Mapper[Any] | None = cls.__dict__.get("__mapper__")  # asked for each image of a page
    return cast("Mapper[Any]", inspect(cls)) if found is None else found


def primary_key_names(mapper: Mapper[Any]) -> list[str]:
    """The attribute names of the primary key, in its order."""
    return [mapper.get_property_by_column(column).key for column in mapper.primary_key]


def set_identity_names(mapper: Mapper[Any]) -> list[str]:
    """The attributes that all images of one picture have in common: the primary key without what tells them apart."""
    names: list[str] | None = mapper.__dict__.get(_SET_IDENTITY)
    if names is None:
        names = [name for name in primary_key_names(mapper) if name not in _OF_IMAGES]
        mapper.__dict__[_SET_IDENTITY] = names
    return names


# Kept with the mapper, since both are asked for several times for each image of a page, and a look-up by a weak
# reference takes as long as all the rest.
_SET_IDENTITY, _OWN_COLUMNS = "_imageattach_set_identity", "_imageattach_own_columns"


def distinguishes_types(mapper: Mapper[Any]) -> bool:
    """Whether one size of a picture can be there in several types: not so in tables of 1.x."""
    names = primary_key_names(mapper)
    return "mimetype" in names or "width" not in names


def set_value(image: Any, name: str, value: object) -> None:
    """Set a mapped attribute past the class's own ``__setattr__``: pydantic's knows nothing of the mixin's columns."""
    set_attribute(image, name, value)


def has_usual_key(cls: type[Any]) -> bool:
    """Whether nothing but the primary key and the columns of the mixin is part of the key of a blob."""
    return _is_usual(cls, "object_id") and _is_usual(cls, "object_type")


def _is_usual(cls: type[Any], name: str) -> bool:
    for base in cls.__mro__:  # inspect.getattr_static() takes twenty times as long, for each picture that is stored
        if name in base.__dict__:
            written = base.__dict__[name]
            return isinstance(written, str) or getattr(written, "is_usual_key", False)
    return False


def has_own_column(mapper: Mapper[Any], name: str) -> bool:
    """Whether ``name`` is mapped, and is the mixin's: a class that says ``name = None`` may have one for itself."""
    answers: dict[str, bool] = mapper.__dict__.setdefault(_OWN_COLUMNS, {})
    if name not in answers:
        answers[name] = name in mapper.column_attrs and not any(
            base.__dict__.get(name, base) is None for base in mapper.class_.__mro__
        )
    return answers[name]


def distinguishes_variants(mapper: Mapper[Any]) -> bool:
    """Whether one size and type of a picture can be there several times, e.g. cut in two ways."""
    if not (has_own_column(mapper, "variant") and has_own_column(mapper, "revision")):
        return False  # without a revision they would be one blob
    if "width" not in primary_key_names(mapper):
        return True
    widths, variants = (set(mapper.column_attrs[name].columns) for name in ("width", "variant"))
    # with joined tables, in the key of each that has the width there
    return all(variants & set(table.primary_key) for table in mapper.tables if widths & set(table.primary_key))


def variant_of(image: Any) -> str | None:
    """What tells ``image`` from others of its size and type; ``None`` if its row does not say."""
    if has_own_column(mapper_of(type(image)), "variant"):
        return image.variant or ""
    return image.__dict__.get(_UNKEPT)  # type: ignore[no-any-return]


def set_variant(image: Any, variant: str) -> None:
    """Say what tells ``image`` from others of its size and type; where no column keeps it, for as long as it lives."""
    if has_own_column(mapper_of(type(image)), "variant"):
        set_value(image, "variant", variant)
    else:
        image.__dict__[_UNKEPT] = variant


_UNKEPT = "_imageattach_variant"


def size_and_type(image: Any) -> tuple[int, int, str]:
    """The width, the height and the mimetype; also of a :class:`~sqlalchemy_imageattach.imaging.Target`."""
    return image.width, image.height, image.mimetype


def row_slot(cls: type[Any], image: Any, store: Store | None) -> tuple[Any, ...]:
    """What no two images of one picture have in common, since their rows or their blobs would have the same key.

    :param cls: the class of the images
    :param image: one of them, or anything else that has a size, a type and a variant
    :param store: the one that has the blobs; ``None`` if only the flush can tell
    """
    mapper, slot = mapper_of(cls), size_and_type(image)
    if not distinguishes_types(mapper):
        return slot[:2]
    # a store of the kind that 1.x had has one place for them all
    if not distinguishes_variants(mapper) or not (store is None or keeps_revisions(store)):
        return slot
    return *slot, variant_of(image) if isinstance(image, cls) else image.variant


def set_identity(image: Any) -> Mapping[str, Any]:
    """The values of :func:`set_identity_names` for ``image``."""
    return {name: getattr(image, name) for name in set_identity_names(mapper_of(type(image)))}


def missing_identity(image: Any) -> str | None:
    """The attribute that says whose the unsaved ``image`` is, has no value, and gets none from the database either."""
    mapper = mapper_of(type(image))
    for name in set_identity_names(mapper):
        # with joined tables, that of the base's table too, where the value is made
        if image.__dict__.get(name) is None and not any(map(_is_made, mapper.column_attrs[name].columns)):
            return name
    return None


def _is_made(column: Any) -> bool:
    is_counted = column is getattr(column.table, "autoincrement_column", None)
    return is_counted or column.default is not None or column.server_default is not None


def default_object_id(mapper: Mapper[Any], image: Any) -> int:
    """The identifier that stores use when the image class does not override ``object_id``.

    An integer key is itself, as in 1.x; a UUID is its 128-bit integer; anything else, composite keys included, is the
    first 128 bits of the SHA-256 of its values, each preceded by its type and length.

    :raises InvalidTypeError: a key column has a type other than int, str, bytes or UUID; override ``object_id``
    """
    found = [getattr(image, name) for name in set_identity_names(mapper)]
    if len(found) == 1 and type(found[0]) is int:  # nearly always, and for each image of a page
        return found[0]
    values = [_plain(mapper, value) for value in found]
    match values:
        case [int(value)]:
            return value
        case [uuid.UUID(int=value)]:
            return value
    digest = hashlib.sha256()
    for part in values:
        encoded = _encoded(part)
        digest.update(f"{type(part).__name__}:{len(encoded)}:".encode())
        digest.update(encoded)
    return int.from_bytes(digest.digest()[:16], "big")


def _encoded(value: int | str | bytes | uuid.UUID) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.bytes if isinstance(value, uuid.UUID) else str(value).encode()


def require_type_of_column(mapper: Mapper[Any], name: str, value: object) -> None:
    """The value is one that will be read back as it is: databases make 1 of ``"1"``, and then name another blob.

    :raises InvalidTypeError: the column of attribute ``name`` has another type; ``None`` is left to the database
    """
    kind = mapper.column_attrs[name].columns[0].type
    if value is None or isinstance(kind, TypeDecorator):
        return
    try:
        expected = kind.python_type
    except NotImplementedError:
        return
    # the name of a member is taken as well, but it is the member that is read back
    is_kept = value in list(expected) if issubclass(expected, Enum) else isinstance(value, expected)
    if (expected in _PLAIN or issubclass(expected, Enum)) and not is_kept:
        raise InvalidTypeError(
            f"{mapper.class_.__name__}.{name}: expected {expected.__name__}, as its column has, got"
            f" {type(value).__name__} ({value!r}); convert it first"
        )


def _plain(mapper: Mapper[Any], value: object) -> int | str | bytes | uuid.UUID:
    """The value as it is read back: that of an enumeration, for instance, comes without its class."""
    match value:
        case bool():
            pass
        case int():
            return int(value)
        case str():
            return str.__str__(value)
        case bytes():
            return bytes(value)
        case uuid.UUID():
            return uuid.UUID(int=value.int)
    raise InvalidTypeError(
        f"cannot derive the object_id of {mapper.class_.__name__} from a primary key that contains {value!r}:"
        " flush the image first if it is None, or override object_id in the class to return an integer"
    )


def committed_key(image: Any, connection: Connection | None = None) -> ImageKey:
    """The key of the blob that the *row* of ``image`` names, whatever was assigned to its attributes since.

    :param connection: where to ask for values that were replaced without having been loaded; none is needed for keys
        that contain the primary key and the columns of :class:`Image` alone
    """
    state = inspect(image)
    changed = {
        attribute.key: attribute.history
        for attribute in (state.attrs[column.key] for column in state.mapper.column_attrs)
        if attribute.history.has_changes()
    }
    identity = dict(zip(primary_key_names(state.mapper), state.identity or (), strict=False))
    former = {name: history.deleted[0] for name, history in changed.items() if history.deleted}
    former.update((name, identity[name]) for name in changed if name in identity)
    unknown = [name for name in changed if name not in former]
    if unknown and connection is not None:
        former |= _stored_values(connection, state, unknown)
    with _put_back(image, former):
        return key_of(image)


def _stored_values(connection: Connection, state: InstanceState[Any], names: Sequence[str]) -> Mapping[str, Any]:
    mapper = state.mapper
    statement = select(*(mapper.column_attrs[name].columns[0] for name in names)).select_from(mapper.persist_selectable)
    of_row = [column == value for column, value in zip(mapper.primary_key, state.identity or (), strict=True)]
    row = connection.execute(statement.where(*of_row)).first()
    return {} if row is None else dict(zip(names, row, strict=True))


@contextmanager
def _put_back(image: Any, former: Mapping[str, Any]) -> Iterator[None]:
    # Only the image itself, of its own class, can tell the key: object_type and object_id may be overridden.  Past the
    # attributes SQLAlchemy notices nothing, and afterwards all is as it was.
    values: dict[str, Any] = image.__dict__
    current = {name: values[name] for name in former if name in values}
    values.update(former)
    try:
        yield
    finally:
        for name in former:
            del values[name]
        values.update(current)
