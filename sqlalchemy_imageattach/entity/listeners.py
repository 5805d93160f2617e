"""Listens to the ORM, and tells the ledger what each flush and each transaction does.

Importing this module registers the listeners once: on all classes with the
:class:`~sqlalchemy_imageattach.entity.Image` mixin, and on all sessions.  What a session that never sees an image
pays is a small object, and about two microseconds for each transaction.

A flush goes like this:

1. *before_flush*: each new picture finds its store, or nothing is written; then the rows of what is replaced, deleted
   or an origin of thumbnails are claimed, originals first, and those that change along with their owners' keys.
2. *before_insert*, *before_update*, *before_delete*: for each row, a new revision is drawn, and the blob that it stops
   to name is noted as superseded.
3. *after_insert*, *after_update*: the row is there, with the keys that the database has made of those given; they are
   read back where that is in doubt, and the blob to be written gets its name.
4. *after_flush*: rows are known to have one blob each, and no replaced picture a thumbnail that nobody has seen; only
   then the blobs are written, by the ledger.

When the transaction ends the ledger deletes: what was superseded after a commit, what was written after a rollback.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from weakref import ref

from sqlalchemy import DateTime, event
from sqlalchemy.engine import Connection, Engine, ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import InstanceState, Mapper, Session, SessionTransaction, UOWTransaction, object_session
from sqlalchemy.orm.attributes import instance_state
from sqlalchemy.orm.exc import ObjectDeletedError

from ..context import SESSION_STORE_KEY, find_store
from ..errors import ContextError, ImageIdentityError, NoFileError
from ..key import ImageKey, new_revision
from ..store import Store, key_of, revision_of
from ..uploads.quarantine import UploadedContent
from .conflicts import by_its_name
from .identity import (
    committed_key,
    has_own_column,
    has_usual_key,
    mapper_of,
    set_identity,
    set_value,
)
from .image import Image, find_known_store, utc_now
from .locks import (
    claim,
    claim_all,
    connection_of,
    forget_removed,
    image_classes,
    mark_as_claimed,
    require_no_unknown_thumbnails,
)
from .otherrows import adopt_key_of_rows, images_of_changed_owners, key_of_rows
from .readback import read_back, read_expired, reads_other_rows
from .rekeying import images_to_follow, moving_blob, refuse_latecomers, watch_keys
from .rowswitch import write_whole_row
from .swapping import make_way, refuse_exchanges
from .transactions.frame import BlobRef, Claim, Write, require_a_blob_for_each
from .transactions.ledger import Ledger, session_on
from .transactions.locations import Locations, note_loaded
from .transactions.pending import Content, PendingBlob, blob_state, find_pending, remember_merged

__all__: list[str] = []


class _Flush:
    """What the running flush of one session has come across so far."""

    def __init__(self) -> None:
        #: Images whose row is being written, and whose blob is to be written once the row is.
        self.pending: dict[InstanceState[Any], tuple[Content, Store]] = {}
        #: Images whose INSERT is made an UPDATE of the row of another one.
        self.switched: set[InstanceState[Any]] = set()
        #: What is to be written when all rows are.
        self.writes: list[Write] = []
        #: What is to be written besides, once other rows can be asked for the key: ``(image, connection, …)``.
        self.late: list[tuple[Any, Connection, Content, Store]] = []
        #: Images whose key changes with another row, such as that of their owner.
        self.followers: dict[InstanceState[Any], Connection] = {}
        #: The keys that these had before the flush, where only other rows can tell them.
        self.former: dict[InstanceState[Any], ImageKey] = {}


def _flush_of(session: Session) -> _Flush:
    return session.info.setdefault(_FLUSH, _Flush())  # type: ignore[no-any-return]


_FLUSH = "sqlalchemy_imageattach.flush"
_RUNNING = "sqlalchemy_imageattach.running"


# --- classes ---------------------------------------------------------------------------------------------------------


@event.listens_for(Mapper, "mapper_configured")
def _mapper_configured(mapper: Mapper[Any], cls: type[Any]) -> None:
    watch_keys(mapper)
    if issubclass(cls, Image):
        image_classes.add(cls)
    if issubclass(cls, Image) and has_own_column(mapper, "revision"):
        event.listen(cls.revision, "set", _revision_set)


def _revision_set(image: Any, revision: object, _former: object, _initiator: object) -> None:
    # Session.merge() sets it in a copy, which may soon be all that is left of the merged image
    remember_merged(image, revision)


event.listen(Image, "load", note_loaded, propagate=True, raw=True)


# --- rows ------------------------------------------------------------------------------------------------------------


@event.listens_for(Image, "before_insert", propagate=True)
def _before_insert(mapper: Mapper[Any], connection: Connection, image: Any) -> None:
    session = _session_of(image)
    pending = find_pending(image)
    if pending is None:
        raise NoFileError(
            f"{type(image).__name__} has no file: a row may only be stored together with its blob. Attach one by"
            " from_file() or from_blob() of its owner's image set; to copy a stored picture, attach its make_blob()"
        )
    ledger = Ledger.of(session)
    ledger.watch(connection)
    replaced = session.identity_map.get(mapper.identity_key_from_instance(image))
    _date(image)
    if replaced is not None and replaced is not image:
        _replace(session, connection, replaced, image)
    original = blob_state(image).made_from
    if original is not None and instance_state(original).persistent:
        claim(ledger, connection, original)
    blob_state(image).pending = pending  # kept, also of a merged image, for another attempt after a rollback
    _take(session, image, pending)


@event.listens_for(Image, "before_update", propagate=True)
def _before_update(mapper: Mapper[Any], connection: Connection, image: Any) -> None:
    session = _session_of(image)
    if not session.is_modified(image, include_collections=False):
        return
    if (running := session.info[_RUNNING]()) is not None:
        make_way(running, mapper, connection, image)
    former, pending = _stored_key(image, connection), find_pending(image)
    is_merged = pending is not None and pending.token == revision_of(image)  # an unsaved picture was, into this row
    if not is_merged:
        _require_same_blob(image, former)
    if is_in_doubt := reads_other_rows(image):
        _flush_of(session).former[instance_state(image)] = former
        if not is_merged:
            _note_follower(session, connection, image)
            return
    if not is_in_doubt and former == key_of(image):
        return
    if pending is None or not is_merged:
        pending = moving_blob(image, BlobRef.of(_stores_of(image, former)[0], former))
    Ledger.of(session).watch(connection)
    _supersede(session, connection, image)
    _take(session, image, pending)


def _require_same_blob(image: Any, key: ImageKey) -> None:
    expected = key.width, key.height, key.mimetype, key.revision
    if (got := (image.width, image.height, image.mimetype, revision_of(image))) != expected:
        raise ImageIdentityError(
            "the row of a stored image cannot be given another size, type or revision than its blob has: expected"
            f" {expected}, got {got}; attach the changed picture as a new one instead"
        )


@event.listens_for(Image, "before_delete", propagate=True)
def _before_delete(mapper: Mapper[Any], connection: Connection, image: Any) -> None:
    session = _session_of(image)
    Ledger.of(session).watch(connection)
    _supersede(session, connection, image)


@event.listens_for(Image, "after_insert", propagate=True)
@event.listens_for(Image, "after_update", propagate=True)
def _after_write(mapper: Mapper[Any], connection: Connection, image: Any) -> None:
    # only now are keys that the database generates known
    session = _session_of(image)
    flush = _flush_of(session)
    pending = flush.pending.pop(instance_state(image), None)
    if pending is not None:
        content, store = pending
        is_late = reads_other_rows(image)
        read_back(connection, image, of_other_rows=is_late)
        if instance_state(image) in flush.switched:
            read_expired(connection, image, session.info[_RUNNING]())
        frame = Ledger.of(session).frame
        if isinstance(content, UploadedContent):
            # the first of the writes, as it tells best why the flush failed
            flush.writes.insert(0, Claim(image, content.file))
            frame.supersede(BlobRef.of(content.file.store, content.file.key))
        if is_late:
            flush.late.append((image, connection, content, store))
        else:
            flush.writes.append(Write(image, store, key_of(image), content))
        mark_as_claimed(frame, image)


def _take(session: Session, image: Any, pending: PendingBlob) -> None:
    values: Mapping[str, Any] = {
        # a new one for each attempt: if the outcome of an earlier COMMIT is unknown, its blob must stay as it is
        "revision": new_revision(),
        "byte_size": pending.content.byte_size,
        "checksum": pending.content.checksum,
    }
    for name, value in values.items():
        if has_own_column(mapper_of(type(image)), name):
            set_value(image, name, value)
    blob_state(image).merged = None
    _flush_of(session).pending[instance_state(image)] = (pending.content, _store_for(session, image, pending))


def _store_for(session: Session, image: Any, pending: PendingBlob) -> Store:
    if pending.store is None:
        return find_store(None, session.info, type(image))
    if pending.is_of_session and (bound := session.info.get(SESSION_STORE_KEY)) is not None:
        return find_store(bound)  # it may have come from another session, e.g. for another attempt
    return pending.store


def _replace(session: Session, connection: Connection, replaced: Any, image: Any) -> None:
    """SQLAlchemy makes the insertion of ``image`` an update of the row of ``replaced``."""
    try:
        _supersede(session, connection, replaced)
    except ObjectDeletedError:  # its row was rolled back with a savepoint; SQLAlchemy notices too, and does insert
        return
    write_whole_row(connection, image, session.info[_RUNNING]())
    _flush_of(session).switched.add(instance_state(image))


def _date(image: Any) -> None:
    """Set ``created_at`` where nothing else does, as its column has no default."""
    mapper = mapper_of(type(image))
    if image.created_at is not None or "created_at" not in mapper.column_attrs:
        return
    column = mapper.column_attrs["created_at"].columns[0]
    if column.default is None and column.server_default is None:
        is_naive = isinstance(column.type, DateTime) and not column.type.timezone
        set_value(image, "created_at", utc_now().replace(tzinfo=None) if is_naive else utc_now())


def _supersede(session: Session, connection: Connection, image: Any) -> None:
    ledger = Ledger.of(session)
    key = _stored_key(image, connection)
    store, *others = _stores_of(image, key)
    blob = BlobRef.of(store, key)
    claim(ledger, connection, image)
    ledger.frame.supersede(blob, others)
    if image.original:
        ledger.frame.lost_originals[_picture(image)] = connection


def _stored_key(image: Any, connection: Connection) -> ImageKey:
    if has_usual_key(type(image)):
        return committed_key(image)
    session = _session_of(image)
    found = _flush_of(session).former.get(instance_state(image))
    if found is None and reads_other_rows(image):
        found = key_of_rows(session, connection, image)
    # in a class of its own mind, any column may be part of the key
    return committed_key(image, connection) if found is None else found


def _stores_of(image: Any, key: ImageKey) -> list[Store]:
    """The one that has the blob of ``image``, if it is known; otherwise those that may have it."""
    if (known := find_known_store(image, key)) is not None:
        return [known]
    removed_from, info = blob_state(image).removed_from, {SESSION_STORE_KEY: Locations.bound_to(image)}
    if removed_from is None:
        return [find_store(None, info, type(image))]
    with suppress(ContextError):
        return [removed_from, find_store(None, info, type(image))]
    return [removed_from]


def _picture(image: Any) -> tuple[Any, ...]:
    return mapper_of(type(image)).base_mapper, instance_state(image).identity_token, *set_identity(image).items()


def _session_of(image: Any) -> Session:
    session = object_session(image)
    assert session is not None, "mapper events happen in flushes"
    return session


# --- sessions --------------------------------------------------------------------------------------------------------


@event.listens_for(Session, "before_flush")
def _before_flush(session: Session, context: UOWTransaction, instances: Sequence[Any] | None) -> None:
    session.info.pop(_FLUSH, None)  # left over from a flush that failed
    session.info[_RUNNING] = ref(context)
    for image in session.new:
        if type(image) in image_classes and (pending := find_pending(image)) is not None:
            _store_for(session, image, pending)  # if there is none, no row is written either
    refuse_exchanges(session, instances)
    claim_all(session)
    for image in (*images_to_follow(session, instances), *images_of_changed_owners(session, instances)):
        _note_follower(session, connection_of(session, image), image)


def _note_follower(session: Session, connection: Connection, image: Any) -> None:
    """Lock the row of ``image``, and remember the key of its blob, which is to follow."""
    Ledger.of(session).watch(connection)
    claim(Ledger.of(session), connection, image)
    flush = _flush_of(session)
    flush.followers[instance_state(image)] = connection
    if reads_other_rows(image):
        flush.former[instance_state(image)] = _stored_key(image, connection)


@event.listens_for(Engine, "handle_error")
def _name_error(context: ExceptionContext) -> BaseException | None:
    connection, error = context.connection, context.sqlalchemy_exception
    session = None if connection is None else session_on(connection)
    if session is None or not session._flushing or not isinstance(error, DBAPIError) or context.is_disconnect:
        return None
    flush: _Flush | None = session.info.get(_FLUSH)
    unsaved = [state.obj() for state in flush.pending] if flush is not None else []
    tables = [mapper_of(cls).local_table for cls in image_classes]
    return by_its_name(error, context.execution_context, tables, unsaved)


@event.listens_for(Session, "after_flush")
def _after_flush(session: Session, context: UOWTransaction) -> None:
    refuse_latecomers(session, context.states)
    flush: _Flush | None = session.info.pop(_FLUSH, None)
    if flush is None:
        return
    for image, used, content, store in flush.late:
        flush.writes.append(Write(image, store, adopt_key_of_rows(session, used, image, context.states), content))
    stays = {state: used for state, used in flush.followers.items() if not context.is_deleted(state)}  # type: ignore[no-untyped-call]
    for state, used in stays.items():
        _follow(session, flush, state, used, context)
    if not flush.writes:
        return
    require_a_blob_for_each(flush.writes)
    ledger = Ledger.of(session)
    stored = [write.image for write in flush.writes if not isinstance(write, Claim)]
    for image in stored if ledger.has_lost_any else ():
        connection = ledger.find_lost(_picture(image)) if image.original else None
        if connection is not None:
            require_no_unknown_thumbnails(session, connection, image, stored)
    ledger.write(flush.writes)


def _follow(
    session: Session, flush: _Flush, state: InstanceState[Any], connection: Connection, context: UOWTransaction
) -> None:
    """The row of ``state`` names another blob by now, perhaps: its blob goes where the rows say."""
    image = state.obj()
    if image is None or state in {instance_state(each[0]) for each in flush.late}:
        return
    known = flush.former.get(state)
    key = committed_key(image) if known is None else known
    former = BlobRef.of(_stores_of(image, key)[0], key)
    read_back(connection, image, of_other_rows=known is not None)
    new = key_of(image) if known is None else adopt_key_of_rows(session, connection, image, context.states)
    if former != BlobRef.of(former.store, new):
        ledger = Ledger.of(session)
        ledger.frame.supersede(former)
        flush.writes.append(Write(image, former.store, new, moving_blob(image, former).content))
        mark_as_claimed(ledger.frame, image)


@event.listens_for(Session, "after_transaction_create")
def _after_transaction_create(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None and (ledger := Ledger.find(session)) is not None:
        ledger.start_anew()


@event.listens_for(Session, "after_begin")
def _after_begin(session: Session, _transaction: SessionTransaction, connection: Connection) -> None:
    Ledger.of(session).has_begun(connection)


@event.listens_for(Session, "after_commit")
def _after_commit(session: Session) -> None:
    Ledger.of(session).mark_committed()


@event.listens_for(Session, "after_transaction_end")
def _after_transaction_end(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None or transaction.nested:
        forget_removed(session)
    if (ledger := Ledger.find(session)) is not None:
        ledger.settle(transaction)
