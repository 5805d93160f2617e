"""Keeps indexes in step with the rows of their classes, in the transaction of each flush.

A flush tells first of each row that it writes or deletes, which is noted down, and at last that it is done: then the
new pictures are looked at together, and what was found is written by the same connection.  So it is committed with the
rows, and rolled back with them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import event, inspect
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Mapper, ORMExecuteState, Session, UOWTransaction, object_session

from .deferred import index_later
from .filling import index_rows
from .index import PictureIndex
from .registry import indexes_of, is_known, remember
from .shards import session_of_shard, sessions_of

__all__ = ["keep_in_step"]

_NOTES: Final = "sqlalchemy_imageattach.search"


class _Notes:
    """What the running flush of one session has come across so far."""

    def __init__(self) -> None:
        self.written: dict[int, Any] = {}
        self.deleted: list[tuple[PictureIndex, Any, tuple[Any, ...]]] = []

    def delete(self, row: Any, identity: tuple[Any, ...]) -> None:
        shard = inspect(row).identity_token
        self.deleted += [(index, shard, identity) for index in indexes_of(type(row))]


def keep_in_step(index: PictureIndex) -> None:
    """From now on, flushes that write rows of its class write what is known of their pictures."""
    if not is_known(index.cls):
        event.listen(index.cls, "after_insert", _inserted, propagate=True)
        event.listen(index.cls, "after_update", _updated, propagate=True)
        event.listen(index.cls, "after_delete", _deleted, propagate=True)
    remember(index)


def _notes(row: Any) -> _Notes:
    session = object_session(row)
    assert session is not None, "mapper events happen in flushes"
    return session.info.setdefault(_NOTES, _Notes())  # type: ignore[no-any-return]


def _inserted(_mapper: Mapper[Any], _connection: Connection, row: Any) -> None:
    _notes(row).written[id(row)] = row


def _updated(_mapper: Mapper[Any], _connection: Connection, row: Any) -> None:
    state = inspect(row)
    former = state.key[1] if state.key is not None else None
    present = tuple(state.mapper.primary_key_from_instance(row))
    if former is not None and tuple(former) != present:
        _notes(row).delete(row, tuple(former))
    elif all(index.source.has_changed(row) is False for index in indexes_of(type(row))):
        return
    _notes(row).written[id(row)] = row


def _deleted(mapper: Mapper[Any], _connection: Connection, row: Any) -> None:
    _notes(row).delete(row, tuple(inspect(row).identity or mapper.primary_key_from_instance(row)))


@event.listens_for(Session, "before_flush")
def _before_flush(session: Session, *_: Any) -> None:
    session.info.pop(_NOTES, None)  # left over from a flush that failed


@event.listens_for(Session, "after_flush")
def _after_flush(session: Session, _context: UOWTransaction) -> None:
    notes: _Notes | None = session.info.pop(_NOTES, None)
    if notes is None:
        return
    for index, shard, identity in notes.deleted:
        index.remove(session_of_shard(session, shard), [identity], all_versions=True)
    for (index, shard), rows in _grouped(notes.written.values()).items():
        if index.fill == "commit":
            index_later(index, session, rows, shard)
        else:
            index_rows(index, session_of_shard(session, shard), rows)


@event.listens_for(Session, "do_orm_execute")
def _do_orm_execute(state: ORMExecuteState) -> Any:
    """``delete(Picture)``: databases that enforce foreign keys forget by themselves; SQLite does not by default."""
    if not state.is_delete or state.bind_mapper is None:
        return None
    indexes = indexes_of(state.bind_mapper.class_)
    if not indexes:
        return None
    result = state.invoke_statement()
    for session in sessions_of(state):
        for index in indexes:
            index.prune(session)
    return result


def _grouped(rows: Iterable[Any]) -> dict[tuple[PictureIndex, Any], list[Any]]:
    grouped: dict[tuple[PictureIndex, Any], list[Any]] = {}
    for row in rows:
        for index in indexes_of(type(row)):
            grouped.setdefault((index, inspect(row).identity_token), []).append(row)
    return grouped
