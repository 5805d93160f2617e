"""Keys as they are read back.

A blob is named after the row, and a row says tomorrow what the database gives back, not what the program has assigned:
a type of the application's may lower an address, a ``CHAR`` pads, a UUID is spelt in another way.  So where a value may
come back as another one, the row is asked, right after it was written and before its blob is: the image then has what
the row has, and so has the name of the blob.  Integers, plain strings and :class:`~uuid.UUID` objects never change, and
nothing is asked for them.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import (
    CHAR,
    NCHAR,
    Enum,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    TypeDecorator,
    Uuid,
    select,
    types,
)
from sqlalchemy.engine import Connection
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.orm import Mapper, UOWTransaction
from sqlalchemy.orm.attributes import instance_state, set_committed_value

from ..errors import ImageIdentityError
from ..store import key_of
from .identity import has_usual_key, mapper_of, require_type_of_column, set_identity_names
from .transactions.pending import blob_state

__all__ = ["depends_on", "note_refreshed", "read_back", "read_expired", "reads_other_rows", "usual_form"]


def read_back(connection: Connection, image: Any, *, of_other_rows: bool) -> None:
    """Afterwards ``image``, whose row was just written, has the values that its row has in all that its key is made of.

    :param of_other_rows: whether its key depends on more rows, which then all are asked later on
    :raises InvalidTypeError: a value is of another type than its column
    :raises ImageIdentityError: the row is not found by the key that it was given, or has another value in a column that
        tells the pictures of one owner apart
    """
    mapper = mapper_of(type(image))
    for name in set_identity_names(mapper):
        require_type_of_column(mapper, name, getattr(image, name))
    names = list(_names_in_doubt(connection, mapper, image, of_other_rows))
    if not names:
        return
    for name, stored in _values_of_row(connection, mapper, image, names).items():
        given = getattr(image, name)
        if stored != given and name in blob_state(image).discriminators:
            raise ImageIdentityError(
                f"{mapper.class_.__name__}.{name}: expected a value that is stored as it is, since it tells pictures"
                f" apart, got {given!r}, which is stored as {stored!r}; give it as it is stored"
            )
        if stored != given or type(stored) is not type(given):
            set_committed_value(image, name, stored)


def read_expired(connection: Connection, image: Any, context: UOWTransaction | None) -> None:
    """Load what the database made of expressions in the UPDATE of ``image``, as SQLAlchemy does after an INSERT.

    Otherwise an attribute of a picture that was just attached could not be read below an ``AsyncSession``.
    """
    mapper, state = mapper_of(type(image)), instance_state(image)
    names = [attribute.key for attribute in mapper.column_attrs if attribute.key in state.expired_attributes]
    if not names:
        return
    for name, stored in _values_of_row(connection, mapper, image, names).items():
        if stored is None and mapper.column_attrs[name].columns[0].type.should_evaluate_none:
            # what is not there reads as None too, and None would be JSON's null in another attempt after a rollback
            state.expired_attributes.discard(name)
        else:
            set_committed_value(image, name, stored)
    note_refreshed(image, context, [name for name in names if name in state.dict])


def note_refreshed(image: Any, context: UOWTransaction | None, names: list[str]) -> None:
    """Tell who listens, such as ``MutableDict``, that a flush has set these, as SQLAlchemy does after an INSERT."""
    if names:
        state: Any = instance_state(image)
        state.manager.dispatch.refresh_flush(state, context, names)


def usual_form(mapper: Mapper[Any], name: str, value: Any) -> Any:
    """``value`` as the column's type gives it back, as far as that is known without a database."""
    kind = mapper.column_attrs[name].columns[0].type
    if isinstance(kind, Uuid) and isinstance(value, str):
        return _canonical(value)
    if not isinstance(kind, TypeDecorator):
        return value
    try:
        return _through_type(kind, value)
    except Exception:  # of the application's own code, and perhaps only without a database; the flush asks the row
        return value


def _names_in_doubt(connection: Connection, mapper: Mapper[Any], image: Any, of_other_rows: bool) -> Iterator[str]:
    identity = set_identity_names(mapper)
    for name in identity:
        if not _is_kept(connection, mapper, name, getattr(image, name)):
            yield name
    if of_other_rows or has_usual_key(type(image)):
        return
    # a class of its own mind may make the key of any column
    alone = _alone_of(image)
    for attribute in mapper.column_attrs:
        name = attribute.key
        if name in identity or name not in image.__dict__:
            continue
        if not _is_kept(connection, mapper, name, image.__dict__[name]) and depends_on(alone, alone, name):
            yield name


def _values_of_row(connection: Connection, mapper: Mapper[Any], image: Any, names: list[str]) -> Mapping[str, Any]:
    columns = {name: mapper.column_attrs[name].columns[0] for name in names}
    identity = {column: mapper.get_property_by_column(column).key for column in mapper.primary_key}
    statement = select(*columns.values()).select_from(mapper.persist_selectable)
    row = connection.execute(
        statement.where(*(column == getattr(image, name) for column, name in identity.items()))
    ).first()
    if row is not None:
        return dict(zip(columns, row, strict=True))
    raise ImageIdentityError(
        f"the row of {mapper.class_.__name__} is not found by the values that it was given, so the database has changed"
        f" them: {'; '.join(_changes(connection, mapper, image, columns))}; give them as they are stored"
    )


def _changes(connection: Connection, mapper: Mapper[Any], image: Any, columns: Mapping[str, Any]) -> Iterator[str]:
    """What was given and what is stored, as far as the row can be found by its revision."""
    stored: Mapping[str, Any] = {}
    if type(image).owns_column("revision"):
        revision = mapper.column_attrs["revision"].columns[0]
        statement = select(*columns.values()).select_from(mapper.persist_selectable)
        row = connection.execute(statement.where(revision == image.revision)).first()
        stored = {} if row is None else dict(zip(columns, row, strict=True))
    for name in columns:
        has = f"has {stored[name]!r}" if name in stored else "cannot be found"
        yield f"{mapper.class_.__name__}.{name} was given {getattr(image, name)!r}, and the row {has}"


# --- which values come back as they are ------------------------------------------------------------------------------


def _is_kept(connection: Connection, mapper: Mapper[Any], name: str, value: Any) -> bool:
    """Whether it is known, without asking, that the column gives ``value`` back as it is."""
    kind = mapper.column_attrs[name].columns[0].type
    if value is None:
        return True
    if isinstance(kind, TypeDecorator) or not type(kind).__module__.startswith("sqlalchemy."):
        return False
    if isinstance(kind, Enum):
        return kind.enum_class is not None and isinstance(value, kind.enum_class)
    if isinstance(kind, Uuid):
        return isinstance(value, uuid.UUID) or _canonical(value) == value
    if isinstance(kind, Integer):
        return isinstance(value, int) and -(1 << _bits(kind)) <= value < 1 << _bits(kind)
    if isinstance(kind, types.Boolean):
        return isinstance(value, bool)
    if isinstance(kind, String):
        return _is_plain_text(connection, kind, value)
    return isinstance(kind, LargeBinary) and isinstance(value, bytes)


def _bits(kind: Integer) -> int:
    if isinstance(kind, types.BigInteger):
        return 63
    return 15 if isinstance(kind, SmallInteger) else 31


def _is_plain_text(connection: Connection, kind: String, value: Any) -> bool:
    if not isinstance(value, str) or isinstance(kind, CHAR | NCHAR):
        return False
    if type(kind).__name__ == "SET":  # MySQL's
        return False
    # what is too long is refused or cut, trailing blanks are at times, and a narrow character set has question marks
    is_narrow = connection.dialect.name not in {"postgresql", "sqlite"} and not value.isascii()
    return not (is_narrow or value != value.rstrip() or not value or (kind.length or len(value)) < len(value))


def _canonical(value: Any) -> Any:
    try:
        return str(uuid.UUID(value))
    except (ValueError, AttributeError, TypeError):
        return value


def _through_type(kind: TypeDecorator[Any], value: Any) -> Any:
    dialect = DefaultDialect()
    bind, result = kind.bind_processor(dialect), kind.result_processor(dialect, None)
    bound = value if bind is None else bind(value)
    return bound if result is None else result(bound)


# --- which columns a key depends on ----------------------------------------------------------------------------------


class _Unknown:
    """Stands in an attribute; a key that is the same with it does not depend on the attribute."""


def reads_other_rows(image: Any) -> bool:
    """Whether the key of ``image`` depends on more than its own columns; in doubt it does.  No statement is sent."""
    if has_usual_key(type(image)):
        return False
    alone, related = _alone_of(image), _alone_of(image)
    related.__dict__.update((each.key, _Unknown()) for each in mapper_of(type(image)).relationships)
    try:
        return key_of(alone) != key_of(related)
    except Exception:  # of the application's own code, which has missed something
        return True


def _alone_of(image: Any) -> Any:
    """A copy of the columns of ``image``, whose relationships load nothing, as they must not within a flush."""
    mapper = mapper_of(type(image))
    alone = mapper.class_manager.new_instance()
    alone.__dict__.update((name, image.__dict__[name]) for name in mapper.column_attrs.keys() & image.__dict__.keys())
    return alone


def depends_on(image: Any, read: Any, name: str) -> bool:
    """Whether the key of ``image`` changes with that attribute of ``read``, itself or another; in doubt it does."""
    values: dict[str, Any] = read.__dict__
    former = values[name]
    try:
        key = key_of(image)
        values[name] = _Unknown()
        return key_of(image) != key
    except Exception:  # of the application's own code, which has met what it did not expect
        return True
    finally:
        values[name] = former
