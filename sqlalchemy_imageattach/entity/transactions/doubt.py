"""Whether what a database said of a transaction can be believed.

Usually it can: a COMMIT that returns has committed, and one that is refused has not.  The rest is here:

* the connection broke, or a signal struck, before the answer to COMMIT or PREPARE came: nobody knows what it was;
* the application has swallowed an error after which the server undid everything (a deadlock in MariaDB), or will undo
  it at COMMIT without saying so (any error in PostgreSQL);
* there is nothing to roll back, since the connection commits by itself; pysqlite does so whenever a savepoint is
  released, unless it is set up by the recipe in SQLAlchemy's documentation;
* there is nothing to roll back any more, since a statement of the application's own has committed, as ``CREATE TABLE``
  does in MariaDB.

A blob that is deleted for nothing is lost, and one that is kept for nothing is swept later: so when in doubt, keep it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine, ExceptionContext
from sqlalchemy.exc import InternalError, OperationalError

__all__ = ["CommitDoubt"]


#: Of the status that the servers of MariaDB and MySQL send with each of their answers.
_SERVER_STATUS_IN_TRANS = 1

#: What libpq says of a transaction: there is none; a statement has failed in it.
_PQTRANS_IDLE, _PQTRANS_INERROR = 0, 3


class CommitDoubt:
    """Watches one connection for as long as one transaction of a session uses it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._awaits_commit = False
        self._awaits_undoing = False
        #: What is not known to be committed may be committed all the same.
        self.may_be_committed = False
        #: What is said to be committed may be undone all the same.
        self.may_be_undone = _transaction_status(connection) == _PQTRANS_INERROR
        _watches.setdefault(connection, WeakSet()).add(self)
        _listen_to(connection.engine)

    @property
    def is_joined(self) -> bool:
        """Whether the session's transaction was part of one that goes on."""
        return not self._connection.closed and self._connection.in_transaction()

    def stop(self) -> None:
        _watches[self._connection].discard(self)

    # --- what is sent ------------------------------------------------------------------------------------------------

    def commit_sent(self, *_: object) -> None:
        self.may_be_committed = self._awaits_commit = True

    def rollback_sent(self, *_: object) -> None:
        if self._connection.invalidated:
            return
        # a COMMIT that was refused has ended the transaction as well
        if _commits_by_itself(self._connection) or (not self._awaits_commit and _is_over(self._connection)):
            self.may_be_committed = True

    def release_sent(self, *_: object) -> None:
        if _releases_commit(self._connection):
            self.may_be_committed = True

    def savepoint_rollback_sent(self, *_: object) -> None:
        if self._connection.dialect.name == "postgresql":
            # it refuses all statements after an error, so the savepoint was there before; others undo all at once,
            # and this one may have been made after that
            self.may_be_undone = False

    def two_phase_sent(self, *_: object) -> None:
        self.may_be_committed = True

    def two_phase_rollback_sent(self, _xid: object, is_prepared: bool) -> None:
        if not self._connection.invalidated:  # otherwise SQLAlchemy does not send it
            self.may_be_committed, self._awaits_undoing = False, is_prepared

    # --- what comes back ---------------------------------------------------------------------------------------------

    def has_failed(self, context: ExceptionContext) -> None:
        """The connection has raised an error; only an error from the database is an answer of it."""
        is_answer = context.sqlalchemy_exception is not None and not context.is_disconnect
        if self._awaits_commit:
            if is_answer:
                # SQLite keeps a transaction whose COMMIT was refused, and Session.close() hands the connection to its
                # next user without ending it, who would commit these rows
                self._connection.dialect.do_rollback(self._connection.connection)
                self.may_be_committed = False
        elif self._awaits_undoing:
            self.may_be_committed = True  # what was prepared outlives the connection
        elif not is_answer or _undoes_transaction(self._connection, context):
            self.may_be_undone = True


# Weak on both sides: a watch, which belongs to the ledger of a session, refers to the connection.  Otherwise a session
# that is dropped without being closed would keep it for ever.
_watches: WeakKeyDictionary[Connection, WeakSet[CommitDoubt]] = WeakKeyDictionary()


_listened_to: WeakSet[Engine] = WeakSet()


def _telling(tell: Callable[..., None]) -> Callable[..., None]:
    def listener(connection: Connection, *args: Any) -> None:
        for watch in _watches.get(connection, ()):
            tell(watch, *args)

    return listener


_LISTENERS = {
    "commit": _telling(CommitDoubt.commit_sent),
    "rollback": _telling(CommitDoubt.rollback_sent),
    "release_savepoint": _telling(CommitDoubt.release_sent),
    "rollback_savepoint": _telling(CommitDoubt.savepoint_rollback_sent),
    "prepare_twophase": _telling(CommitDoubt.two_phase_sent),
    "commit_twophase": _telling(CommitDoubt.two_phase_sent),
    "rollback_twophase": _telling(CommitDoubt.two_phase_rollback_sent),
}


def _has_failed(context: ExceptionContext) -> None:
    if context.connection is not None:
        _telling(CommitDoubt.has_failed)(context.connection, context)


def _listen_to(engine: Engine) -> None:
    # once for each engine: to come and go with each transaction would take longer than the rest of it, and asking half
    if engine in _listened_to:
        return
    _listened_to.add(engine)
    if not event.contains(engine, "commit", _LISTENERS["commit"]):
        for name, listener in _LISTENERS.items():
            event.listen(engine, name, listener)
    if not event.contains(engine.dialect, "handle_error", _has_failed):
        event.listen(engine.dialect, "handle_error", _has_failed)


def _undoes_transaction(connection: Connection, context: ExceptionContext) -> bool:
    """Whether the error ``context`` may have undone more than the statement that raised it."""
    if connection.dialect.name == "postgresql":
        return True
    if not isinstance(context.sqlalchemy_exception, OperationalError | InternalError):
        return False
    return _driver_attribute(connection, "in_transaction") is not True


def _commits_by_itself(connection: Connection) -> bool:
    """Whether rows are committed before COMMIT is sent.  Asked when rows have been written, and ROLLBACK is next."""
    in_transaction = _driver_attribute(connection, "in_transaction")
    if isinstance(in_transaction, bool):
        return not in_transaction
    get_autocommit = _driver_attribute(connection, "get_autocommit")
    return bool(get_autocommit()) if callable(get_autocommit) else _driver_attribute(connection, "autocommit") is True


def _is_over(connection: Connection) -> bool:
    """Whether there is no transaction any more, although neither COMMIT nor ROLLBACK was sent by SQLAlchemy."""
    status = _driver_attribute(connection, "server_status")  # PyMySQL's; asyncmy's never gets 0
    if isinstance(status, int):
        return not status & _SERVER_STATUS_IN_TRANS
    is_in_transaction = _driver_attribute(connection, "is_in_transaction")  # asyncpg's
    if callable(is_in_transaction):
        return not is_in_transaction()
    return _transaction_status(connection) == _PQTRANS_IDLE


def _transaction_status(connection: Connection) -> int | None:
    """psycopg's and psycopg2's."""
    return getattr(_driver_attribute(connection, "info"), "transaction_status", None)


def _releases_commit(connection: Connection) -> bool:
    """Whether the driver leaves BEGIN out before a savepoint: then its release is a COMMIT."""
    if connection.dialect.name != "sqlite":
        return False
    is_classic = _driver_attribute(connection, "autocommit") in {None, -1}  # sqlite3.LEGACY_TRANSACTION_CONTROL
    return is_classic and _driver_attribute(connection, "isolation_level") is not None


def _driver_attribute(connection: Connection, name: str) -> Any:
    """That of the driver's connection, or of the one that SQLAlchemy wraps around an asynchronous driver's."""
    proxied = connection.connection
    found = getattr(proxied.driver_connection, name, None)
    return getattr(proxied.dbapi_connection, name, None) if found is None else found
