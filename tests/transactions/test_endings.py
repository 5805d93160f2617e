"""Every way in which a transaction can end."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool

from sqlalchemy_imageattach.testing import FaultyStore

from .conftest import MakeSession, sqlite_engine
from .helpers import OTHER, Exploded, Stop, assert_in_step, blobs_of, picture, rows
from .models import Base, User


def a_user(name: str | None = None, colour: str = "red") -> User:
    user = User(name=name)
    user.picture.from_blob(picture(colour))
    return user


# --- with a picture that is new --------------------------------------------------------------------------------------


def test_commit_keeps_the_blob(engine: Engine, store: FaultyStore, open_session: MakeSession) -> None:
    session = open_session(engine)
    user = a_user()
    user.picture.generate_thumbnail(width=10)
    session.add(user)
    assert not store.blobs, "nothing is written before the flush"
    session.commit()
    assert len(rows(engine)) == 2
    assert_in_step(engine, store)


def test_rollback_removes_the_blob(engine: Engine, store: FaultyStore, open_session: MakeSession) -> None:
    session = open_session(engine)
    session.add(a_user())
    session.flush()
    assert len(store.blobs) == 1
    session.rollback()
    assert not store.blobs
    assert_in_step(engine, store)


def test_close_removes_the_blob(engine: Engine, store: FaultyStore, open_session: MakeSession) -> None:
    session = open_session(engine)
    session.add(a_user())
    session.flush()
    session.close()
    assert not store.blobs
    assert_in_step(engine, store)


def test_reset_and_invalidate_remove_the_blob(engine: Engine, store: FaultyStore, open_session: MakeSession) -> None:
    for end in ("reset", "invalidate"):
        session = open_session(engine)
        session.add(a_user())
        session.flush()
        assert len(store.blobs) == 1
        getattr(session, end)()
        assert not store.blobs
    assert_in_step(engine, store)


def test_leaving_the_session_by_an_exception_removes_the_blob(engine: Engine, store: FaultyStore) -> None:
    with pytest.raises(Stop), Session(engine) as session:
        session.add(a_user())
        session.flush()
        assert len(store.blobs) == 1
        raise Stop
    assert not store.blobs
    assert_in_step(engine, store)


def test_leaving_the_session_without_commit_removes_the_blob(engine: Engine, store: FaultyStore) -> None:
    with Session(engine) as session:
        session.add(a_user())
        session.flush()
    assert not store.blobs
    assert_in_step(engine, store)


def test_a_begin_block_keeps_the_blob(engine: Engine, store: FaultyStore) -> None:
    with Session(engine) as session, session.begin():
        session.add(a_user())
    assert len(store.blobs) == 1
    assert_in_step(engine, store)


def test_a_begin_block_left_by_an_exception_removes_the_blob(engine: Engine, store: FaultyStore) -> None:
    with pytest.raises(Stop), Session(engine) as session, session.begin():
        session.add(a_user())
        session.flush()
        raise Stop
    assert not store.blobs
    assert_in_step(engine, store)


def test_rolling_back_inside_a_begin_block_removes_the_blob(engine: Engine, store: FaultyStore) -> None:
    with Session(engine) as session, session.begin() as transaction:
        session.add(a_user())
        session.flush()
        transaction.rollback()
        assert not store.blobs
    assert_in_step(engine, store)


def test_one_session_ends_many_transactions_each_for_itself(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    for number in range(6):
        session.add(a_user(f"user {number}"))
        session.flush()
        session.commit() if number % 2 else session.rollback()
    assert sorted(user.name or "" for user in session.query(User)) == ["user 1", "user 3", "user 5"]
    assert_in_step(engine, store)


@pytest.mark.parametrize("expire_on_commit", [True, False])
@pytest.mark.parametrize("autoflush", [True, False])
def test_whatever_the_options_of_the_session_blobs_follow_rows(
    engine: Engine, store: FaultyStore, open_session: MakeSession, expire_on_commit: bool, autoflush: bool
) -> None:
    session = open_session(engine, expire_on_commit=expire_on_commit, autoflush=autoflush)
    user = a_user()
    session.add(user)
    session.commit()
    user.picture.from_blob(picture("blue"))
    session.commit()
    assert blobs_of(user.picture) == [picture("blue")]
    user.picture.from_blob(picture("green", OTHER))
    session.flush()
    session.rollback()
    assert blobs_of(user.picture) == [picture("blue")]
    assert_in_step(engine, store)
    session.delete(user)
    session.commit()
    assert not store.blobs


def test_a_session_that_was_never_flushed_writes_nothing(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    session.add(a_user())
    session.rollback()
    session.add(user := a_user())
    session.expunge(user)
    session.commit()
    assert not store.calls
    assert not rows(engine)


def test_a_session_that_is_dropped_gives_its_connection_back(tmp_path: Path, store: FaultyStore) -> None:
    # an engine of its own: what it did not give back would hinder whoever cleans up
    engine = sqlite_engine(tmp_path / "dropped.db")
    Base.metadata.create_all(engine)

    def drop_one() -> None:
        session = Session(engine)
        session.add(a_user())
        session.flush()

    drop_one()
    gc.collect()
    assert isinstance(engine.pool, QueuePool)
    assert engine.pool.checkedout() == 0
    assert_in_step(engine, store, left=store.blobs)
    engine.dispose()


# --- with a flush that fails -----------------------------------------------------------------------------------------


def test_a_flush_that_breaks_a_constraint_leaves_no_blob(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    session.add(a_user("Ann"))
    session.commit()
    session.add_all([a_user("Bob"), a_user("Ann", "blue")])
    with pytest.raises(IntegrityError):
        session.commit()
    session.rollback()
    assert len(rows(engine)) == 1
    assert_in_step(engine, store)


def test_a_flush_that_fails_takes_those_before_it_along(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    session.add(a_user("Ann"))
    session.flush()
    session.add(a_user("Ann", "blue"))
    with pytest.raises(IntegrityError):
        session.flush()
    session.close()  # without the rollback that SQLAlchemy asks for
    assert not store.blobs
    assert_in_step(engine, store)


def test_a_flush_that_fails_in_a_savepoint_spares_those_outside(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    session.add(a_user("Ann"))
    session.flush()
    with pytest.raises(IntegrityError), session.begin_nested():
        session.add(a_user("Bob", "blue"))
        session.flush()
        session.add(a_user("Ann", "green"))
        session.flush()
    session.commit()
    assert blobs_of(session.query(User).one().picture) == [picture("red")]
    assert_in_step(engine, store)


def test_a_store_that_fails_makes_the_flush_fail_and_leaves_no_row(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    session.add_all([a_user(), a_user(colour="blue"), a_user(colour="green")])
    store.fail("put", on=2, error=Exploded("disk full"))
    with pytest.raises(Exploded, match="disk full"):
        session.commit()
    assert not store.blobs, "those that were written before are deleted before the error is raised"
    session.rollback()
    assert not rows(engine)


def test_an_error_after_the_flush_of_images_removes_them(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    """The error comes from a statement of the application, and the flush before it was a success."""
    session = open_session(engine)
    session.add(a_user())
    session.flush()
    with pytest.raises(Exception, match="tx_no_such_table"):
        session.execute(text("SELECT * FROM tx_no_such_table"))
    session.close()
    assert not store.blobs
    assert_in_step(engine, store)
