"""Images that get the keys of one another in one flush, such as two of a gallery that change places.

Rows are updated one by one, and before any is deleted.  So the key that a row is to get may still be that of another
one, which is itself to get another key, or to be deleted.  That one is put out of the way first: its width, a part of
the key, becomes negative until its own turn comes.  It costs a statement for each.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table, inspect, update
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Mapper, Session, UOWTransaction, object_session
from sqlalchemy.orm.attributes import set_committed_value

from .identity import primary_key_names, set_value
from .locks import claim
from .transactions.ledger import Ledger

__all__ = ["make_way"]


def make_way(flush: UOWTransaction, mapper: Mapper[Any], connection: Connection, image: Any) -> None:
    """Afterwards no row that is itself to go has the key that the row of ``image`` is to get in this flush.

    :param flush: the running flush
    :param connection: where the row of ``image`` is written
    :raises ConcurrentReplacementError: another transaction has replaced or removed what was there
    """
    key = mapper.identity_key_from_instance(image)
    if key == inspect(image).key or not _can_be_put_aside(mapper):
        return
    session = object_session(image)
    assert session is not None, "mapper events happen in flushes"
    other = session.identity_map.get(key)
    if other is not None and other is not image and _is_going(flush, session, other):
        _put_aside(session, connection, other)


def _can_be_put_aside(mapper: Mapper[Any]) -> bool:
    # with several tables the others would have to follow; without the width in the key it is not ours that collides
    return isinstance(mapper.local_table, Table) and len(mapper.tables) == 1 and "width" in primary_key_names(mapper)


def _is_going(flush: UOWTransaction, session: Session, image: Any) -> bool:
    state = inspect(image)
    if flush.is_deleted(state):  # type: ignore[no-untyped-call]
        return True
    if state.key is None or not state.dict.keys() >= set(primary_key_names(state.mapper)):
        return False  # what is expired has not been changed, and its row may be gone
    return bool(state.mapper.identity_key_from_instance(image) != state.key)


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
