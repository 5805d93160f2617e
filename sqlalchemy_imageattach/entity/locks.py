"""Row locks that keep two transactions from mixing their pictures.

Under the usual isolation levels two transactions can both read a picture and both replace it.  Before a row is
replaced, deleted, or used as the origin of thumbnails, it is therefore *claimed*: an UPDATE that changes nothing locks
it and tells, by the number of rows that it found, whether the row still is what this session believes it to be.
It is plain SQL, and works the same in every database, also in those without ``SELECT … FOR UPDATE``.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Column, ColumnElement, Table, inspect, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Mapper, Session

from ..errors import ConcurrentReplacementError
from .identity import has_own_column, mapper_of, primary_key_names, set_identity
from .transactions.ledger import Ledger

__all__ = ["claim", "mark_as_claimed", "require_no_unknown_thumbnails"]


def claim(ledger: Ledger, connection: Connection, image: Any) -> None:
    """The row of ``image`` is locked until the transaction ends, and its blob is the one that this session knows.

    A row that was claimed before in the same transaction costs no statement.

    :raises ConcurrentReplacementError: another transaction has replaced or deleted it
    """
    state = inspect(image)
    row = (state.mapper.base_mapper, tuple(state.identity))
    if ledger.has_claimed(row):
        return
    original = state.mapper.column_attrs["original"].columns[0]
    source = original.table
    assert isinstance(source, Table)  # and none made for the occasion, which a schema_translate_map would not reach
    conditions: list[ColumnElement[bool]] = [
        _column_in(source, state.mapper, key) == value
        for key, value in zip(state.mapper.primary_key, state.identity, strict=True)
    ]
    if has_own_column(mapper_of(type(image)), "revision"):
        history = state.attrs["revision"].load_history()
        revision = history.deleted[0] if history.deleted else image.revision
        known = _column_in(source, state.mapper, state.mapper.column_attrs["revision"].columns[0])
        conditions.append(known.is_(None) if revision is None else known == revision)
    # those with onupdate= too, which otherwise would change
    unchanged = {mine: mine for mine in source.columns if mine is original or mine.onupdate is not None}
    found = connection.execute(update(source).where(*conditions).values(unchanged))
    if found.rowcount != 1:
        msg = (
            f"another transaction has replaced or removed {type(image).__name__} {state.identity} since it was loaded:"
            " roll back, refresh the image set and try again"
        )
        raise ConcurrentReplacementError(msg)
    ledger.frame.claimed.add(row)


def _column_in(source: Table, mapper: Mapper[Any], column: Column[Any]) -> Column[Any]:
    """That of ``source`` for ``column``, which may be the one of a base class's table, under another name."""
    own = set(mapper.get_property_by_column(column).columns)
    found = [mine for mine in source.columns if mine in own] or [
        mine for mine in source.columns if mine.references(column)
    ]
    return found[0]


def mark_as_claimed(ledger: Ledger, image: Any) -> None:
    """The row of ``image`` was written by this transaction, which locks it as well."""
    mapper = mapper_of(type(image))
    ledger.frame.claimed.add((mapper.base_mapper, tuple(mapper.primary_key_from_instance(image))))


def require_no_unknown_thumbnails(
    session: Session, connection: Connection, original: Any, known: Collection[Any]
) -> None:
    """The picture that ``original`` replaces has left no thumbnails behind that this session does not know of.

    :param known: the images that the running flush has stored
    :raises ConcurrentReplacementError: another transaction has made one since the image set was loaded
    """
    mapper = mapper_of(type(original))
    keys = dict(zip(primary_key_names(mapper), mapper.primary_key, strict=True))
    conditions = [keys[name] == value for name, value in set_identity(original).items()]
    conditions.append(mapper.column_attrs["original"].columns[0].is_(False))
    # FOR UPDATE, since a plain SELECT in a REPEATABLE READ transaction (MariaDB's default) would not see new rows
    found = connection.execute(select(*keys.values()).where(*conditions).with_for_update())
    # other classes have other keys
    siblings = [image for image in known if mapper_of(type(image)).base_mapper is mapper.base_mapper]
    mine = {tuple(getattr(image, name) for name in keys) for image in siblings}
    for row in found:
        identity = tuple(row)
        if identity not in mine and mapper.identity_key_from_primary_key(identity) not in session.identity_map:
            msg = (
                f"another transaction has made a thumbnail of the picture that is replaced here"
                f" ({type(original).__name__} {identity}): roll back, refresh the image set and try again"
            )
            raise ConcurrentReplacementError(msg)
