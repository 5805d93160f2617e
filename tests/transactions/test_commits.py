"""COMMIT itself fails: with a plain no, or without any answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.testing import FaultyStore

from .conftest import MakeSession, sqlite_engine
from .helpers import OTHER, assert_in_step, blobs_of, picture, rows, wait_until_blocked
from .models import Base, User, Vote
from .proxy import BreakingProxy


def stored_user(engine: Engine, colour: str = "red") -> int:
    with Session(engine) as session:
        user = User()
        user.picture.from_blob(picture(colour))
        session.add(user)
        session.commit()
        return user.id


# --- a plain no ------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgresql"])
def deferring(request: pytest.FixtureRequest) -> Engine:
    """The databases that check some constraints only at COMMIT."""
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("cleanup", ["rollback", "close"])
def test_a_commit_that_breaks_a_deferred_constraint_leaves_nothing(
    deferring: Engine, store: FaultyStore, open_session: MakeSession, cleanup: str
) -> None:
    ident = stored_user(deferring)
    session = open_session(deferring)
    session.get_one(User, ident).picture.from_blob(picture("blue"))
    session.add(Vote(user_id=4711))
    session.flush()
    assert len(store.blobs) == 2
    with pytest.raises(IntegrityError):
        session.commit()
    getattr(session, cleanup)()
    assert_in_step(deferring, store)
    assert blobs_of(session.get_one(User, ident).picture) == [picture("red")]


def test_a_begin_block_whose_commit_is_refused_leaves_nothing(deferring: Engine, store: FaultyStore) -> None:
    with Session(deferring) as session, pytest.raises(IntegrityError), session.begin():
        user = User()
        user.picture.from_blob(picture())
        session.add_all([user, Vote(user_id=4711)])
    assert not store.blobs
    assert_in_step(deferring, store)


def test_after_a_refused_commit_the_same_session_can_do_it_again(
    deferring: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(deferring)
    user = User()
    user.picture.from_blob(picture())
    session.add_all([user, Vote(user_id=4711)])
    with pytest.raises(IntegrityError):
        session.commit()
    session.rollback()
    session.add(user)
    session.commit()
    assert blobs_of(user.picture) == [picture()]
    assert_in_step(deferring, store)


def test_a_busy_sqlite_refuses_the_commit_and_nothing_is_left(tmp_path: Path, store: FaultyStore) -> None:
    engine = sqlite_engine(tmp_path / "busy.db", connect_args={"timeout": 0})
    Base.metadata.create_all(engine)
    with Session(engine) as reader, Session(engine) as session:
        reader.execute(text("SELECT * FROM tx_user")).all()  # its transaction goes on, so nobody may write the file
        user = User()
        user.picture.from_blob(picture())
        session.add(user)
        session.flush()
        assert len(store.blobs) == 1
        with pytest.raises(OperationalError, match="locked"):
            session.commit()
        session.close()
        assert not store.blobs
    assert_in_step(engine, store)
    engine.dispose()


# --- no answer -------------------------------------------------------------------------------------------------------


@pytest.fixture
def through_proxy(server: Engine) -> Iterator[Callable[..., tuple[Engine, BreakingProxy]]]:
    """Makes an engine of the same database, behind a proxy that breaks the connection."""
    made: list[tuple[Engine, BreakingProxy]] = []

    def make(**options: Any) -> tuple[Engine, BreakingProxy]:
        proxy = BreakingProxy(server.url, **options)
        made.append((create_engine(proxy.url), proxy))
        return made[-1]

    yield make
    for engine, proxy in made:
        engine.dispose()
        proxy.close()


@pytest.mark.parametrize("cleanup", ["rollback", "close"])
@pytest.mark.parametrize("committed", [True, False], ids=["was committed", "was not"])
def test_if_the_answer_to_commit_is_lost_both_blobs_are_kept(
    server: Engine,
    through_proxy: Callable[..., tuple[Engine, BreakingProxy]],
    store: FaultyStore,
    caplog: pytest.LogCaptureFixture,
    committed: bool,
    cleanup: str,
) -> None:
    ident = stored_user(server)
    former = set(store.blobs)
    engine, proxy = through_proxy(deliver=committed)
    with Session(engine) as session:
        session.get_one(User, ident).picture.from_blob(picture("blue", OTHER))
        session.flush()
        new = set(store.blobs) - former
        proxy.armed = True
        with pytest.raises(DBAPIError) as caught:
            session.commit()
        assert caught.value.connection_invalidated
        proxy.armed = False
        getattr(session, cleanup)()
    assert set(store.blobs) == former | new
    assert_in_step(server, store, left=former if committed else new)
    assert "whether rows are committed is unknown" in caplog.text


def test_what_is_lost_at_commit_can_be_tried_again(
    server: Engine, through_proxy: Callable[..., tuple[Engine, BreakingProxy]], store: FaultyStore
) -> None:
    """The row may be committed already: then its blob must not be touched by the second attempt."""
    engine, proxy = through_proxy(deliver=True)
    with Session(engine) as session:
        user = User(name="Ann")
        user.picture.from_blob(picture())
        session.add(user)
        session.flush()
        proxy.armed = True
        with pytest.raises(DBAPIError):
            session.commit()
        proxy.armed = False
        proxy.broken.clear()
        session.rollback()
        first = set(store.blobs)
        session.add(user)
        with pytest.raises(IntegrityError):  # Ann is there
            session.commit()
    assert set(store.blobs) == first
    assert_in_step(server, store)


def test_a_connection_that_breaks_before_commit_was_sent_is_a_rollback(
    server: Engine, through_proxy: Callable[..., tuple[Engine, BreakingProxy]], store: FaultyStore
) -> None:
    ident = stored_user(server)
    engine, proxy = through_proxy(deliver=False, trigger=b"4711")
    with Session(engine) as session:
        session.get_one(User, ident).picture.from_blob(picture("blue"))
        session.flush()
        proxy.armed = True
        with pytest.raises(DBAPIError):
            session.execute(text("SELECT 4711"))
        session.rollback()
    assert_in_step(server, store)
    assert [image.make_blob(store) for image in rows(server)] == [picture("red")]


@pytest.mark.parametrize("cleanup", ["rollback", "close"])
def test_a_session_goes_on_after_its_connection_broke_at_the_rollback(
    server: Engine,
    through_proxy: Callable[..., tuple[Engine, BreakingProxy]],
    store: FaultyStore,
    cleanup: str,
) -> None:
    engine, proxy = through_proxy(deliver=True, trigger=b"ROLLBACK")
    session = Session(engine)
    user = User()
    user.picture.from_blob(picture())
    session.add(user)
    session.flush()
    proxy.armed = True
    with pytest.raises(DBAPIError):
        getattr(session, cleanup)()
    proxy.armed = False
    proxy.broken.clear()
    lost = set(store.blobs)
    assert len(lost) == (cleanup == "close"), "SQLAlchemy does not tell the end of a transaction that it cannot close"
    ident = stored_user(engine, "green")
    again = session.get_one(User, ident)
    again.picture.from_blob(picture("blue"))
    session.commit()
    assert blobs_of(again.picture) == [picture("blue")]
    session.close()
    assert_in_step(server, store, left=lost)


def test_a_backend_that_is_terminated_before_commit_leaves_both_blobs(
    postgresql: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    ident = stored_user(postgresql)
    former = set(store.blobs)
    session = open_session(postgresql)
    session.get_one(User, ident).picture.from_blob(picture("blue"))
    session.flush()
    pid = session.scalar(text("SELECT pg_backend_pid()"))
    with postgresql.connect() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": pid})
    with pytest.raises(DBAPIError):
        session.commit()
    session.rollback()
    assert len(store.blobs) == 2
    assert_in_step(postgresql, store, left=set(store.blobs) - former)


class Impatient(Exception):
    """Raised by a signal handler, as time limits of job queues are."""


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, Impatient])
@pytest.mark.parametrize("cleanup", ["rollback", "close"])
def test_an_interruption_during_commit_leaves_both_blobs(
    engine: Engine,
    store: FaultyStore,
    open_session: MakeSession,
    monkeypatch: pytest.MonkeyPatch,
    interruption: type[BaseException],
    cleanup: str,
) -> None:
    """It is raised where a signal would raise it: after the server has committed, and before the driver knows."""
    ident = stored_user(engine)
    former = set(store.blobs)
    session = open_session(engine)
    session.get_one(User, ident).picture.from_blob(picture("blue"))
    session.flush()
    commit = engine.dialect.do_commit

    def interrupted(connection: Any) -> None:
        commit(connection)
        raise interruption

    monkeypatch.setattr(engine.dialect, "do_commit", interrupted)
    with pytest.raises(interruption):
        session.commit()
    monkeypatch.undo()
    getattr(session, cleanup)()
    assert len(store.blobs) == 2
    assert_in_step(engine, store, left=former)


# --- a yes that is none ----------------------------------------------------------------------------------------------


def test_a_commit_that_postgresql_turns_into_a_rollback_loses_no_blob(
    postgresql: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    """After an error that the application swallows, COMMIT succeeds, and rolls back."""
    ident = stored_user(postgresql)
    session = open_session(postgresql)
    session.get_one(User, ident).picture.from_blob(picture("blue"))
    session.flush()
    with pytest.raises(DBAPIError):
        session.execute(text("SELECT 1 / 0"))
    new = [key for key, blob in store.blobs.items() if blob == picture("blue")]
    session.commit()
    assert_in_step(postgresql, store, left=new)
    assert [image.make_blob(store) for image in rows(postgresql)] == [picture("red")]


def test_an_error_undone_by_a_savepoint_does_not_hinder_the_deletion(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    ident = stored_user(engine)
    session = open_session(engine)
    session.get_one(User, ident).picture.from_blob(picture("blue"))
    session.flush()
    with pytest.raises(DBAPIError), session.begin_nested():
        session.execute(text("SELECT * FROM tx_no_such_table"))
    session.commit()
    assert_in_step(engine, store)


def test_a_failed_statement_that_others_survive_does_not_hinder_the_deletion(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    if engine.dialect.name == "postgresql":
        return  # there a transaction never survives it; see above
    ident = stored_user(engine)
    session = open_session(engine)
    session.get_one(User, ident).picture.from_blob(picture("blue"))
    session.flush()
    with pytest.raises(IntegrityError):
        session.execute(text("INSERT INTO tx_user (id) VALUES (:id)"), {"id": ident})
    session.commit()
    assert_in_step(engine, store)


@pytest.mark.parametrize("savepoint_afterwards", [False, True])
def test_a_deadlock_in_a_savepoint_undoes_all_in_mariadb_and_loses_no_blob(
    mariadb: Engine, store: FaultyStore, open_session: MakeSession, savepoint_afterwards: bool
) -> None:
    """MariaDB has ended the whole transaction by then, but the session goes on, and its COMMIT succeeds."""
    idents = [stored_user(mariadb) for _ in range(3)]
    victim, other = open_session(mariadb), open_session(mariadb)
    touch = text("UPDATE tx_user SET name = :name WHERE id = :id")
    victim.get_one(User, idents[0]).picture.from_blob(picture("blue"))
    victim.flush()
    victim.execute(touch, {"name": "a", "id": idents[1]})
    # the one that has written less is the victim of a deadlock
    for number, ident in enumerate([idents[2]] * 40):
        other.execute(touch, {"name": f"b{number}", "id": ident})
    waiting = threading.Thread(target=lambda: other.execute(touch, {"name": "c", "id": idents[1]}))
    with pytest.raises(DBAPIError), victim.begin_nested():
        waiting.start()
        wait_until_blocked(mariadb)
        victim.execute(touch, {"name": "d", "id": idents[2]})
    waiting.join()
    if savepoint_afterwards:  # its rollback succeeds, and brings nothing back
        savepoint = victim.begin_nested()
        victim.connection()
        savepoint.rollback()
    victim.commit()
    other.rollback()
    new = {key for key, blob in store.blobs.items() if blob == picture("blue")}
    assert_in_step(mariadb, store, left=new)
    assert {image.make_blob(store) for image in rows(mariadb)} == {picture("red")}


# --- a driver that commits by itself ---------------------------------------------------------------------------------


def test_pysqlite_as_it_comes_commits_at_a_release_and_no_blob_is_lost(
    tmp_path: Path, store: FaultyStore, open_session: MakeSession, caplog: pytest.LogCaptureFixture
) -> None:
    """Its savepoints are no part of a transaction unless it is set up by the recipe; rows may stay, never alone."""
    engine = create_engine(f"sqlite:///{tmp_path / 'classic.db'}")
    Base.metadata.create_all(engine)
    session = open_session(engine)
    with session.begin_nested():
        session.add(user := User(name="within"))
        user.picture.from_blob(picture())
    session.add(user := User(name="after"))
    user.picture.from_blob(picture("blue"))
    session.flush()
    session.rollback()
    blobs = store.blobs
    kept = {key for key, blob in blobs.items() if blob == picture("blue")}
    assert len(rows(engine)) == 1, "here the driver shows what the recipe is good for"
    assert_in_step(engine, store, left=kept)
    assert "unknown" in caplog.text
    engine.dispose()


def test_pysqlite_as_it_comes_needs_no_care_without_savepoints(
    tmp_path: Path, store: FaultyStore, open_session: MakeSession
) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'classic.db'}")
    Base.metadata.create_all(engine)
    session = open_session(engine)
    session.add(user := User())
    user.picture.from_blob(picture())
    session.flush()
    session.rollback()
    assert not store.blobs
    session.add(user)
    session.commit()
    assert_in_step(engine, store)
    engine.dispose()


@pytest.mark.parametrize("cleanup", ["rollback", "close"])
def test_in_autocommit_mode_nothing_can_be_rolled_back_and_no_blob_is_lost(
    engine: Engine, store: FaultyStore, open_session: MakeSession, cleanup: str
) -> None:
    autocommit = create_engine(engine.url, isolation_level="AUTOCOMMIT")
    session = open_session(autocommit)
    session.add(user := User())
    user.picture.from_blob(picture())
    session.flush()
    getattr(session, cleanup)()
    assert len(rows(engine)) == 1
    assert_in_step(engine, store)
    autocommit.dispose()


@pytest.mark.parametrize("cleanup", ["rollback", "close"])
def test_what_a_statement_has_committed_by_itself_keeps_its_blob(
    engine: Engine, store: FaultyStore, open_session: MakeSession, cleanup: str
) -> None:
    session = open_session(engine)
    session.add(user := User())
    user.picture.from_blob(picture())
    session.flush()
    session.execute(text("COMMIT"))
    getattr(session, cleanup)()
    assert len(rows(engine)) == 1
    assert_in_step(engine, store)


def test_a_table_made_in_mariadb_commits_and_no_blob_is_lost(
    mariadb: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(mariadb)
    session.add(user := User())
    user.picture.from_blob(picture())
    session.flush()
    session.execute(text("CREATE OR REPLACE TABLE tx_made_meanwhile (id INTEGER)"))
    session.rollback()
    assert len(rows(mariadb)) == 1
    assert_in_step(mariadb, store)
    with mariadb.begin() as connection:
        connection.execute(text("DROP TABLE tx_made_meanwhile"))
