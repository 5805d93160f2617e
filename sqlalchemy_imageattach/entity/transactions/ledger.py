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
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any
from weakref import ref as weakref

from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session, SessionTransaction

from ...concurrency import run_blocking, run_side_by_side
from ...store import Store
from .doubt import OutcomeWatch
from .frame import BlobRef, Frame, Write, innermost

__all__ = ["Ledger"]

_KEY = "sqlalchemy_imageattach.ledger"
_log = logging.getLogger(__name__)


class Ledger:
    """The frames of one session's transactions.  It lives in ``session.info``, and nowhere else."""

    def __init__(self, session: Session) -> None:
        self._session = weakref(session)
        self._frames: dict[SessionTransaction, Frame] = {}
        self._watches: dict[Connection, OutcomeWatch] = {}

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
        return self._frames.setdefault(transaction, Frame())

    def has_claimed(self, row: tuple[Any, ...]) -> bool:
        """Whether a transaction of this session that goes on has locked ``row``."""
        return any(row in frame.claimed for frame in self._frames.values())

    def find_lost(self, picture: tuple[Any, ...]) -> Connection | None:
        """Where a transaction that goes on has removed an original of ``picture``, if one has."""
        found = (frame.lost_originals.get(picture) for frame in self._frames.values())
        return next((connection for connection in found if connection is not None), None)

    def watch(self, connection: Connection) -> None:
        """Notice when what ``connection`` says of the transaction cannot be believed."""
        if connection not in self._watches:
            self._watches[connection] = OutcomeWatch(connection)
        self.frame.scopes.setdefault(connection, innermost(connection))

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
        for write in writes:
            write.was_performed()

    def _forget(self, frame: Frame, writes: Iterable[Write]) -> None:
        run_blocking(_undo_all, [frame.created.pop(blob) for blob in dict.fromkeys(write.blob for write in writes)])

    # --- what transactions tell --------------------------------------------------------------------------------------

    def start_anew(self) -> None:
        """A root transaction begins, so none goes on: SQLAlchemy does not tell the end of one whose ROLLBACK failed."""
        if self._frames:
            _log.warning("a transaction could not be rolled back in order: the blobs that it created are kept")
        self._frames.clear()
        self._stop_watching()

    def mark_committed(self, session: Session) -> None:
        """A COMMIT or a RELEASE SAVEPOINT has succeeded; which of the two, the end of the transaction tells."""
        transaction = session.get_nested_transaction() or session.get_transaction()
        if transaction in self._frames:
            self._frames[transaction].committed = True

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

    def _stop_watching(self) -> list[OutcomeWatch]:
        watches = list(self._watches.values())
        self._watches.clear()
        for watch in watches:
            watch.stop()
        return watches

    @staticmethod
    def _roll_back(frame: Frame, *, in_doubt: bool) -> None:
        for write in reversed(frame.created.values()):
            write.was_rolled_back()
        if in_doubt:
            _log.warning(
                "whether rows are committed is unknown, so nothing is deleted: %d new and %d replaced blobs are kept"
                " until they are swept",
                len(frame.created),
                len(frame.superseded),
            )
        elif frame.created:
            _finish(_undo_all, list(frame.created.values()))

    @staticmethod
    def _commit(frame: Frame, watches: Sequence[OutcomeWatch]) -> None:
        for write in frame.created.values():
            write.was_committed()
        if any(watch.may_be_undone for watch in watches):
            _log.warning(
                "the database may have undone what it says is committed, after an error that was not rolled back:"
                " nothing is deleted, %d new and %d replaced blobs are kept until they are swept",
                len(frame.created),
                len(frame.superseded),
            )
        elif frame.superseded and any(watch.is_joined for watch in watches):
            _log.info(
                "the session has joined an outer transaction, which may be rolled back: %d replaced blobs are kept",
                len(frame.superseded),
            )
        elif frame.superseded:
            _finish(_delete_all, list(frame.superseded.items()))


def _enclosing(savepoint: SessionTransaction) -> SessionTransaction:
    transaction = savepoint.parent
    while transaction is not None and transaction.parent is not None and not transaction.nested:
        transaction = transaction.parent
    assert transaction is not None
    return transaction


def _write_all(writes: list[Write]) -> list[BaseException]:
    outcomes = _for_each((write.blob, write.perform) for write in writes)
    return [outcome for _, outcome in outcomes if isinstance(outcome, BaseException)]


def _undo_all(writes: list[Write]) -> None:
    _or_leave_it((write.blob, write.undo) for write in writes)


def _delete_all(blobs: list[tuple[BlobRef, Sequence[Store]]]) -> None:
    _or_leave_it((blob, partial(_delete, blob, others)) for blob, others in blobs)


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


def _finish(work: Callable[[list[Any]], None], blobs: list[Any]) -> None:
    try:
        run_blocking(work, blobs)
    except Exception:  # e.g. the event loop is shutting down, and has no threads any more
        _log.exception("%d blobs are left for the sweeper", len(blobs))


def _or_leave_it(jobs: Iterable[tuple[BlobRef, Callable[[], None]]]) -> None:
    """The database has decided already: what a store cannot do now is left for the sweeper."""
    for blob, outcome in _for_each(jobs):
        if isinstance(outcome, Exception):
            _log.error("%r is left in %r for the sweeper", blob.key, blob.store, exc_info=outcome)
        elif isinstance(outcome, BaseException):
            raise outcome


def _for_each(jobs: Iterable[tuple[BlobRef, Callable[[], None]]]) -> list[tuple[BlobRef, BaseException | None]]:
    """Run all jobs to their end, side by side in stores that can take it."""
    # the interface of 1.x never promised stores that they would be called from several threads at once
    alone: list[tuple[BlobRef, Callable[[], None]]] = []
    together: list[tuple[BlobRef, Callable[[], None]]] = []
    for blob, job in jobs:
        (together if blob.store.accepts_revision else alone).append((blob, job))
    outcomes = list(zip((blob for blob, _ in together), run_side_by_side(job for _, job in together), strict=True))
    for blob, job in alone:
        outcomes.append((blob, run_side_by_side([job])[0]))
    return outcomes
