"""Images that get the keys of one another in one flush, such as two of a gallery that change places.

Rows are updated one by one, and before any is deleted.  So the key that a row is to get may still be that of another
one, which is itself to get another key, or to be deleted.  That one is put out of the way first: its width, a part of
the key, becomes negative until its own turn comes.  It costs a statement for each.

Where the width is in no key, or in those of several tables, there is no such way, and the exchange is refused.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NoReturn

from sqlalchemy import Table, inspect, update
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Mapper, Session, UOWTransaction, object_session
from sqlalchemy.orm.attributes import set_committed_value

from ..errors import ImageIdentityError
from .identity import mapper_of, primary_key_names, set_value
from .locks import claim, image_classes
from .transactions.ledger import Ledger

__all__ = ["make_way", "refuse_exchanges"]


def refuse_exchanges(session: Session, flushed: Collection[Any] | None) -> None:
    """No image of the coming flush is to get the key of another one that it cannot put out of the way.

    :param flushed: the objects that are to be flushed; ``None`` for all
    :raises ImageIdentityError: one is; it names both
    """
    for image in session.dirty:
        if type(image) not in image_classes or (flushed is not None and image not in flushed):
            continue
        mapper = mapper_of(type(image))
        other = _in_the_way(session, mapper, image)
        if other is None or _can_be_put_aside(mapper):
            continue
        if other in session.deleted or _gets_another_key(other):
            _refuse(mapper, image, other)


def make_way(flush: UOWTransaction, mapper: Mapper[Any], connection: Connection, image: Any) -> None:
    """Afterwards no row that is itself to go has the key that the row of ``image`` is to get in this flush.

    :param flush: the running flush
    :param connection: where the row of ``image`` is written
    :raises ConcurrentReplacementError: another transaction has replaced or removed what was there
    :raises ImageIdentityError: there is such a row, which cannot be put out of the way
    """
    session = object_session(image)
    assert session is not None, "mapper events happen in flushes"
    other = _in_the_way(session, mapper, image)
    if other is None or not (flush.is_deleted(inspect(other)) or _gets_another_key(other)):  # type: ignore[no-untyped-call]
        return
    if not _can_be_put_aside(mapper):
        _refuse(mapper, image, other)
    _put_aside(session, connection, other)


def _in_the_way(session: Session, mapper: Mapper[Any], image: Any) -> Any:
    """The other image that has the key which ``image`` is to get."""
    key = mapper.identity_key_from_instance(image)
    other = None if key == inspect(image).key else session.identity_map.get(key)
    return None if other is image else other


def _can_be_put_aside(mapper: Mapper[Any]) -> bool:
    # with several tables the others would have to follow; without the width in the key it is not ours that collides
    return isinstance(mapper.local_table, Table) and len(mapper.tables) == 1 and "width" in primary_key_names(mapper)


def _gets_another_key(image: Any) -> bool:
    state = inspect(image)
    if state.key is None or not state.dict.keys() >= set(primary_key_names(state.mapper)):
        return False  # what is expired has not been changed, and its row may be gone
    return bool(state.mapper.identity_key_from_instance(image) != state.key)


def _refuse(mapper: Mapper[Any], image: Any, other: Any) -> NoReturn:
    former, wanted = inspect(image).identity, mapper.primary_key_from_instance(image)
    changes = "; ".join(
        f"{mapper.class_.__name__}.{name} was {was!r}, and is to be {is_to_be!r}"
        for name, was, is_to_be in zip(primary_key_names(mapper), former or (), wanted, strict=True)
        if was != is_to_be
    )
    raise ImageIdentityError(
        f"{changes}: {other!r} has that key until it goes in the same flush, and cannot be put out of the way, since"
        " its width is in no key, or in those of several tables; flush its going first, by another key if need be"
    )


def _put_aside(session: Session, connection: Connection, image: Any) -> None:
    state = inspect(image)
    table, names = state.mapper.local_table, primary_key_names(state.mapper)
    width = dict(zip(names, state.identity, strict=True))["width"]
    if state.attrs["width"].history.deleted == [-width]:
        return  # already
    ledger = Ledger.of(session)
    ledger.watch(connection)
    claim(ledger, connection, image)
    assert isinstance(table, Table)
    columns = state.mapper.primary_key
    is_its_row = [column == value for column, value in zip(columns, state.identity, strict=True)]
    wide = columns[names.index("width")]
    connection.execute(update(table).where(*is_its_row).values({wide: -wide}))
    # what is updated or deleted later is found by the value that was committed last
    set_committed_value(image, "width", -width)
    set_value(image, "width", width)
