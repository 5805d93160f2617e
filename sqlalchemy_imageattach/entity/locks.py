"""Row locks that keep two transactions from mixing their pictures.

Under the usual isolation levels two transactions can both read a picture and both replace it.  Before a row is
replaced, deleted, or used as the origin of thumbnails, it is therefore *claimed*: an UPDATE that changes nothing locks
it and tells, by the number of rows that it found, whether the row still is what this session believes it to be.
It is plain SQL, and works the same in every database, also in those without ``SELECT … FOR UPDATE``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any
from weakref import WeakSet

from sqlalchemy import Column, ColumnElement, Table, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlalchemy.orm import Mapper, Session, object_session
from sqlalchemy.orm.attributes import flag_dirty, instance_state
from sqlalchemy.orm.exc import ObjectDeletedError

from ..errors import ConcurrentReplacementError
from .conflicts import is_conflict
from .identity import has_own_column, mapper_of, primary_key_names, set_identity
from .transactions.frame import Frame
from .transactions.ledger import Ledger
from .transactions.pending import blob_state

__all__ = [
    "claim",
    "claim_all",
    "connection_of",
    "forget_removed",
    "image_classes",
    "in_flush",
    "is_outdated",
    "mark_as_claimed",
    "note_removed",
    "require_no_unknown_thumbnails",
]

#: All mapped image classes: to ask a set is quicker than to ask each object of a flush for its bases.
image_classes: WeakSet[type[Any]] = WeakSet()


_WAITING = "sqlalchemy_imageattach.waiting"
_REMOVED = "sqlalchemy_imageattach.removed"


def connection_of(session: Session, image: Any) -> Connection:
    """The connection on which the running flush of ``session`` writes the row of ``image``, asked for as flushes do."""
    mapper = mapper_of(type(image)).base_mapper
    if session.connection_callable is not None:  # that of sharded sessions
        return session.connection_callable(mapper, image)
    return session.connection(bind_arguments={"mapper": mapper})


def in_flush(session: Session, original: Any, look: Callable[[], None]) -> None:
    """Claim the row of ``original``, and call ``look``, within a flush: where a session that routes sends its writes.

    :raises ConcurrentReplacementError: another transaction has replaced or deleted it
    """
    waiting = session.info.setdefault(_WAITING, [])
    waiting.append((original, look))
    flag_dirty(original)  # so that there is something to flush; no statement is sent for it
    try:
        session.flush()
    finally:
        waiting.clear()


def note_removed(image: Any) -> None:
    """``image`` has left its set: the next flush deletes it, or stores it as part of another one."""
    session = object_session(image)
    if session is not None:
        session.info.setdefault(_REMOVED, set()).add(instance_state(image))


def forget_removed(session: Session) -> None:
    """The transaction in which images have left their sets is over."""
    session.info.pop(_REMOVED, None)


def claim_all(session: Session) -> None:
    """Claim what the coming flush replaces, deletes or uses as an origin, in the same order in every transaction.

    The original first, as it is the lock of its picture: whoever waits for it has locked nothing of the picture yet.

    :raises ConcurrentReplacementError: another transaction has replaced or removed some of it
    """
    waiting = list(session.info.get(_WAITING, ()))
    removed = [state.obj() for state in session.info.pop(_REMOVED, ())]
    leaving = [*session.deleted, *(image for image in removed if image is not None)]
    origins = [blob_state(image).made_from for image in session.new if type(image) in image_classes]
    images = {id(image): image for image in [*leaving, *origins, *(original for original, _ in waiting)]}
    ordered = sorted((image for image in images.values() if _is_claimable(session, image)), key=_rank)
    ledger = Ledger.of(session) if ordered else None
    for image in ordered:
        assert ledger is not None
        connection = connection_of(session, image)
        ledger.watch(connection)
        claim(ledger, connection, image)
    for image in ordered:
        if image.original and any(image is each for each in leaving) and not blob_state(image).is_replaced:
            require_no_unknown_thumbnails(session, connection_of(session, image), image, ())
    for _, look in waiting:
        look()


def _rank(image: Any) -> tuple[Any, ...]:
    state: Any = instance_state(image)
    # values are compared as text: those of a key need not be comparable, and all processes agree upon it
    return state.mapper.local_table.fullname, not image.original, *map(repr, state.identity)


def _is_claimable(session: Session, image: Any) -> bool:
    if type(image) not in image_classes or not instance_state(image).persistent or object_session(image) is not session:
        return False
    try:
        return image.original is not None
    except ObjectDeletedError:  # rolled back with a savepoint; what is done about it is up to the flush
        return False


def is_outdated(image: Any) -> bool:
    """Whether the row of ``image`` is not what this session takes it for, so that its blob need not be there."""
    state: Any = instance_state(image)
    session = object_session(image)
    if session is None or not state.persistent:
        return False
    mapper = state.mapper
    names = ["mimetype", *(["revision"] if has_own_column(mapper, "revision") else [])]
    known = [state.dict.get(name) for name in names]
    statement = select(*(mapper.column_attrs[name].columns[0] for name in names))
    statement = statement.select_from(mapper.persist_selectable).where(
        *(key == value for key, value in zip(mapper.primary_key, state.identity, strict=True))
    )
    try:
        if session.connection_callable is not None:
            connection = connection_of(session, image)
        else:
            connection = session.connection(bind_arguments={"mapper": mapper, "clause": statement})
        # in a REPEATABLE READ transaction, MariaDB's default, only a locking read sees what others have committed
        if connection.dialect.name in {"mysql", "mariadb"}:
            statement = statement.with_for_update(read=True)
        row = connection.execute(statement).first()
    except DBAPIError as error:
        return is_conflict(error)
    except InvalidRequestError:  # there is no way to ask, e.g. outside of the greenlet of an AsyncSession
        return False
    return row is None or list(row) != known


def claim(ledger: Ledger, connection: Connection, image: Any) -> None:
    """The row of ``image`` is locked until the transaction ends, and its blob is the one that this session knows.

    A row that was claimed before in the same transaction costs no statement.

    :raises ConcurrentReplacementError: another transaction has replaced or deleted it
    """
    state: Any = instance_state(image)
    # the token tells rows of the same key in several databases apart, in a sharded session
    row = (state.mapper.base_mapper, state.identity_token, tuple(state.identity))
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
        raise ConcurrentReplacementError(
            f"another transaction has replaced or removed {type(image).__name__} {state.identity} since it was loaded:"
            " roll back, refresh the image set and try again"
        )
    ledger.frame.claimed.add(row)


def _column_in(source: Table, mapper: Mapper[Any], column: Column[Any]) -> Column[Any]:
    """That of ``source`` for ``column``, which may be the one of a base class's table, under another name."""
    own = set(mapper.get_property_by_column(column).columns)
    found = [mine for mine in source.columns if mine in own] or [
        mine for mine in source.columns if mine.references(column)
    ]
    return found[0]


def mark_as_claimed(frame: Frame, image: Any) -> None:
    """The row of ``image`` was written by this transaction, which locks it as well."""
    mapper = mapper_of(type(image))
    row = (mapper.base_mapper, instance_state(image).identity_token, tuple(mapper.primary_key_from_instance(image)))
    frame.claimed.add(row)


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
    # other classes have other keys, and other databases other rows
    token = instance_state(original).identity_token
    siblings = [
        image
        for image in known
        if mapper_of(type(image)).base_mapper is mapper.base_mapper and instance_state(image).identity_token == token
    ]
    mine = {tuple(getattr(image, name) for name in keys) for image in siblings}
    for row in found:
        identity = tuple(row)
        if identity not in mine and mapper.identity_key_from_primary_key(identity, token) not in session.identity_map:
            raise ConcurrentReplacementError(
                f"another transaction has made a thumbnail of the picture that is replaced or removed here"
                f" ({type(original).__name__} {identity}): roll back, refresh the image set and try again"
            )
