"""Keeps stores in step with transactions.

    A committed row always has its blob.  A blob whose row was not committed is removed, or at worst left for
    the sweeper.  No session ever touches a blob that another session owns.  ``commit()`` never raises because of
    storage once the database has committed.

Each session has one :class:`Ledger`, and for each of its transactions, savepoints included, a :class:`Frame` that says
which blobs that transaction created and which it made superfluous.  Savepoints make this harder than it looks:
``after_commit`` is sent for a released savepoint too, and leaving a ``with Session()`` block by an exception sends
nothing but ``after_transaction_end``.  So ``after_commit`` only marks the frame, and the end of the transaction
decides:

==============================  =============================================================
the transaction ended           then
==============================  =============================================================
rolled back, in any way         the blobs that it created are deleted
released (a savepoint)          the frame becomes part of that of the enclosing transaction
committed                       the blobs that it made superfluous are deleted
committed, perhaps              (the connection broke during COMMIT) both are kept
==============================  =============================================================

What a program wants to be called after the commit stands in the frames too, and goes the same ways: with a savepoint
that is rolled back it is forgotten, and it is called where superfluous blobs are deleted, after that is done.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary
from weakref import ref as weakref

from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session, SessionTransaction

from ...concurrency import run_blocking, run_side_by_side
from ...errors import InvalidValueError
from ...store import Store, can_be_shared
from .calls import make_calls
from .doubt import CommitDoubt
from .frame import BlobRef, Frame, Write, innermost
from .locations import Locations

__all__ = ["CALLS_WHEN_JOINED_KEY", "Ledger", "left_behind", "session_on"]

#: The key of ``session.info`` that says that a commit counts although the session has joined an outer transaction.
CALLS_WHEN_JOINED_KEY = "image_calls_when_joined"

_KEY = "sqlalchemy_imageattach.ledger"
_log = logging.getLogger(__name__)


#: Called with a session and the blobs that could not be deleted after the end of its transaction.
left_behind: list[Callable[[Session, list[BlobRef]], None]] = []


#: Weak on both sides, as neither must keep the other.
_sessions: WeakKeyDictionary[Connection, weakref[Session]] = WeakKeyDictionary()


def session_on(connection: Connection) -> Session | None:
    """The session that has last written images on ``connection``."""
    session = _sessions.get(connection)
    return None if session is None else session()


class Ledger:
    """The frames of one session's transactions.  It lives in ``session.info``, and nowhere else."""

    def __init__(self, session: Session) -> None:
        self._session = weakref(session)
        self._frames: dict[SessionTransaction, Frame] = {}
        self._watches: dict[Connection, CommitDoubt] = {}
        #: Those in which the running transaction of the session has begun one of theirs.
        self._connections: set[Connection] = set()
        #: What is called just now, after a commit.
        self._calls: list[Callable[[], object]] | None = None

    @staticmethod
    def find(session: Session) -> Ledger | None:
        """The ledger of ``session``, if it has one."""
        ledger: Ledger | None = session.info.get(_KEY)
        # Session(info=other.info) copies it all
        return None if ledger is None or ledger._session() is not session else ledger

    @classmethod
    def of(cls, session: Session) -> Ledger:
        """The ledger of ``session``, made when there is none yet."""
        ledger = cls.find(session)
        if ledger is None:
            ledger = session.info[_KEY] = cls(session)
        return ledger

    # --- what flushes tell -------------------------------------------------------------------------------------------

    @property
    def frame(self) -> Frame:
        """That of the innermost transaction or savepoint of the session."""
        session = self._session()
        assert session is not None
        transaction = session.get_nested_transaction() or session.get_transaction()
        assert transaction is not None, "a flush without a transaction"
        frame = self._frames.get(transaction)
        if frame is None:
            frame = self._frames[transaction] = Frame()
        return frame

    def has_claimed(self, row: tuple[Any, ...]) -> bool:
        """Whether a transaction of this session that goes on has locked ``row``."""
        return any(row in frame.claimed for frame in self._frames.values())

    @property
    def has_lost_any(self) -> bool:
        """Whether a transaction that goes on has removed any original."""
        return any(frame.lost_originals for frame in self._frames.values())

    def find_lost(self, picture: tuple[Any, ...]) -> Connection | None:
        """Where a transaction that goes on has removed an original of ``picture``, if one has."""
        found = (frame.lost_originals.get(picture) for frame in self._frames.values())
        return next((connection for connection in found if connection is not None), None)

    def watch(self, connection: Connection) -> None:
        """Notice when what ``connection`` says of the transaction cannot be believed."""
        self._watch(connection)
        self.frame.scopes.setdefault(connection, innermost(connection))

    def _watch(self, connection: Connection) -> None:
        if connection not in self._watches:
            self._watches[connection] = CommitDoubt(connection)
            _sessions[connection] = self._session

    def write(self, writes: list[Write]) -> None:
        """Write the blobs of one flush; afterwards all are there, or none is and the first error is raised."""
        frame = self.frame
        for write in writes:  # before they are written: from here on the end of the transaction takes care of them
            frame.create(write)
        try:
            errors = run_blocking(_write_all, writes)
        except BaseException:
            self._forget(frame, writes)
            raise
        if errors:
            self._forget(frame, writes)
            raise errors[0]
        session = self._session()
        assert session is not None
        locations = Locations.of(session)
        for write in writes:
            write.was_performed(locations)

    def _forget(self, frame: Frame, writes: Iterable[Write]) -> None:
        undone = [frame.created.pop(blob) for blob in dict.fromkeys(write.blob for write in writes)]
        for write in undone:
            frame.forget(write)
        run_blocking(_undo_all, undone)

    # --- what programs tell ------------------------------------------------------------------------------------------

    def call_after_commit(self, call: Callable[[], object]) -> None:
        """Call it once what is done now is committed; not if it is rolled back, or if nobody knows."""
        session = self._session()
        assert session is not None
        if not session.in_transaction():
            if self._calls is not None:  # by one of those calls: what it belongs to has committed
                self._calls.append(call)
                return
            if not session.autobegin:
                msg = "the session is in no transaction, and begins none by itself: begin one before on_commit()"
                raise InvalidValueError(msg)
            session.begin()
        for connection in self._connections:
            self._watch(connection)
        self.frame.calls.append(call)

    # --- what transactions tell --------------------------------------------------------------------------------------

    def start_anew(self) -> None:
        """A root transaction begins, so none goes on: SQLAlchemy does not tell the end of one whose ROLLBACK failed."""
        if any(frame.created or frame.calls for frame in self._frames.values()):
            _log.warning(
                "a transaction could not be rolled back in order: the blobs that it created are kept, and no calls made"
            )
        self._frames.clear()
        self._stop_watching()

    def has_begun(self, connection: Connection) -> None:
        """The session's transaction has begun one, or a savepoint, of ``connection``."""
        self._connections.add(connection)
        if any(frame.calls for frame in self._frames.values()):
            self._watch(connection)

    def mark_committed(self) -> None:
        """A COMMIT or a RELEASE SAVEPOINT has succeeded; which of the two, the end of the transaction tells."""
        # in a frame that is made for it, if need be: a program's own listener may be about to fill it
        self.frame.committed = True

    def settle(self, transaction: SessionTransaction) -> None:
        """The transaction is over: do what its end calls for.  Never raises because of a store."""
        frame = self._frames.pop(transaction, None)
        is_root = transaction.parent is None
        watches = self._stop_watching() if is_root else []
        if frame is None:
            return
        if not frame.committed:
            self._roll_back(frame, in_doubt=frame.goes_on or any(watch.may_be_committed for watch in watches))
        elif not is_root:
            self._frames.setdefault(_enclosing(transaction), Frame()).absorb(frame)
        else:
            self._commit(frame, watches)

    def _stop_watching(self) -> list[CommitDoubt]:
        watches = list(self._watches.values())
        self._watches.clear()
        for watch in watches:
            watch.stop()
        self._connections.clear()
        return watches

    def _roll_back(self, frame: Frame, *, in_doubt: bool) -> None:
        for write in reversed(frame.created.values()):
            write.was_rolled_back()
        if in_doubt:
            if frame.created or frame.superseded:
                _log.warning(
                    "whether rows are committed is unknown, so nothing is deleted: %d new and %d replaced blobs are"
                    " kept until they are swept",
                    len(frame.created),
                    len(frame.superseded),
                )
            _leave_out(frame.calls, "whether its rows are committed is unknown")
        elif frame.created:
            self._tell_of(_finish(_undo_all, list(frame.created.values())))

    def _commit(self, frame: Frame, watches: Sequence[CommitDoubt]) -> None:
        for write in frame.created.values():
            write.was_committed()
        if any(watch.may_be_undone for watch in watches):
            if frame.created or frame.superseded:
                _log.warning(
                    "the database may have undone what it says is committed, after an error that was not rolled back:"
                    " nothing is deleted, %d new and %d replaced blobs are kept until they are swept",
                    len(frame.created),
                    len(frame.superseded),
                )
            _leave_out(frame.calls, "the database may have undone it, after an error that was not rolled back")
        elif any(watch.is_joined for watch in watches):
            if frame.superseded:
                _log.info(
                    "the session has joined an outer transaction, which may be rolled back: %d replaced blobs are kept",
                    len(frame.superseded),
                )
            if self._is_told_to_trust():
                self._make(frame.calls)
            else:
                _leave_out(frame.calls, "the session has joined an outer transaction, which may be rolled back")
        else:
            try:
                if frame.superseded:
                    self._tell_of(_finish(_delete_superseded, [frame]))
            finally:
                self._make(frame.calls)

    def _tell_of(self, left: list[BlobRef]) -> None:
        session = self._session()
        # a place that is written more than once may have got another blob by the time when somebody comes to it
        if session is not None and (blobs := [blob for blob in left if blob.is_immutable]):
            for listener in left_behind:
                listener(session, blobs)

    def _is_told_to_trust(self) -> bool:
        session = self._session()
        return session is not None and bool(session.info.get(CALLS_WHEN_JOINED_KEY))

    def _make(self, calls: list[Callable[[], object]]) -> None:
        if not calls:
            return
        outside, self._calls = self._calls, calls
        try:
            make_calls(calls)
        finally:
            self._calls = outside


def _leave_out(calls: Sequence[Callable[[], object]], reason: str) -> None:
    if calls:
        _log.warning("%d calls that were to follow the transaction are not made: %s", len(calls), reason)


def _enclosing(savepoint: SessionTransaction) -> SessionTransaction:
    transaction = savepoint.parent
    while transaction is not None and transaction.parent is not None and not transaction.nested:
        transaction = transaction.parent
    assert transaction is not None
    return transaction


def _write_all(writes: list[Write]) -> list[BaseException]:
    outcomes = _for_each((write.blob, write.perform) for write in writes)
    return [outcome for _, outcome in outcomes if isinstance(outcome, BaseException)]


def _undo_all(writes: list[Write]) -> list[BlobRef]:
    return _or_leave_it((write.blob, write.undo) for write in writes)


def _delete_superseded(frames: list[Frame]) -> list[BlobRef]:
    return _or_leave_it(
        job
        for frame in frames
        for blob, others in frame.superseded.items()
        for job in _deletions(blob, others, frame.places_in_use(blob))
    )


def _deletions(
    blob: BlobRef, others: Sequence[Store], in_use: Sequence[BlobRef]
) -> list[tuple[BlobRef, Callable[[], None]]]:
    if not in_use:
        return [(blob, partial(_delete, blob, others))]
    return [(place, partial(_delete, place, ())) for place in blob.places if place not in in_use]


def _delete(blob: BlobRef, others: Sequence[Store]) -> None:
    # only a key with a revision says for certain that what another store has there is the same blob
    places = [blob, *(place for other in others if (place := BlobRef.of(other, blob.key)).is_immutable)]
    answers = []
    for place in places:
        answers.append(place.store.delete_key(place.key))
        if answers[-1]:
            return
    if None not in answers:  # which is that of stores that cannot tell
        _log.warning(
            "%r was to be deleted after its row had gone, but %r does not have it; if it lives in another store,"
            " that one keeps it until it is swept",
            blob.key,
            blob.store,
        )


def _finish(work: Callable[[list[Any]], list[BlobRef]], blobs: list[Any]) -> list[BlobRef]:
    """Do ``work``, and give what could not be done."""
    try:
        return run_blocking(work, blobs)
    except Exception:  # e.g. the event loop is shutting down, and has no threads any more
        _log.exception("%d blobs are left for the sweeper", len(blobs))
        return []


def _or_leave_it(jobs: Iterable[tuple[BlobRef, Callable[[], None]]]) -> list[BlobRef]:
    """The database has decided already: what a store cannot do now is left for the sweeper, and given."""
    left = []
    for blob, outcome in _for_each(jobs):
        if isinstance(outcome, Exception):
            _log.error("%r is left in %r for the sweeper", blob.key, blob.store, exc_info=outcome)
            left.append(blob)
        elif isinstance(outcome, BaseException):
            raise outcome
    return left


def _for_each(jobs: Iterable[tuple[BlobRef, Callable[[], None]]]) -> list[tuple[BlobRef, BaseException | None]]:
    """Run all jobs to their end, side by side in stores that can take it."""
    # the interface of 1.x never promised stores that they would be called from several threads at once
    alone: list[tuple[BlobRef, Callable[[], None]]] = []
    together: list[tuple[BlobRef, Callable[[], None]]] = []
    for blob, job in jobs:
        (together if can_be_shared(blob.store) else alone).append((blob, job))
    outcomes = list(zip((blob for blob, _ in together), run_side_by_side(job for _, job in together), strict=True))
    for blob, job in alone:
        outcomes.append((blob, run_side_by_side([job])[0]))
    return outcomes
