"""Sessions that are part of a transaction which others end, as test suites like to have them."""

from __future__ import annotations

from typing import Literal

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.testing import FaultyStore

from .helpers import assert_in_step, picture
from .models import User

JoinMode = Literal["conditional_savepoint", "rollback_only", "control_fully", "create_savepoint"]
MODES = ["conditional_savepoint", "rollback_only", "control_fully", "create_savepoint"]


def stored(engine: Engine) -> int:
    with Session(engine) as session:
        session.add(user := User())
        user.picture.from_blob(picture("red"))
        session.commit()
        return user.id


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("outer", ["commit", "rollback"])
@pytest.mark.parametrize("within", ["transaction", "savepoint"])
def test_what_a_joined_session_commits_is_decided_outside(
    engine: Engine, store: FaultyStore, mode: JoinMode, outer: str, within: str
) -> None:
    """Nobody tells the session how it ends, so former and new blob are both kept, and one is left for the sweeper."""
    ident = stored(engine)
    former = set(store.blobs)
    with engine.connect() as connection:
        transaction = connection.begin()
        if within == "savepoint":
            connection.begin_nested()
        with Session(connection, join_transaction_mode=mode) as session:
            session.get_one(User, ident).picture.from_blob(picture("blue"))
            session.commit()
        if mode == "control_fully" and within == "transaction":
            assert not transaction.is_active, "this mode has committed"
            assert_in_step(engine, store)
            return
        assert former < set(store.blobs)
        getattr(transaction, outer)()
    new = set(store.blobs) - former
    assert_in_step(engine, store, left=former if outer == "commit" else new)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("end", ["rollback", "close"])
@pytest.mark.parametrize("within", ["transaction", "savepoint"])
@pytest.mark.parametrize("nested", [True, False], ids=["released before", "no savepoint"])
def test_what_a_joined_session_leaves_to_others_keeps_its_blobs(
    engine: Engine, store: FaultyStore, mode: JoinMode, end: str, within: str, nested: bool
) -> None:
    """In some modes close() ends nothing, so that the rows are committed by whoever has begun the transaction."""
    ident = stored(engine)
    former = set(store.blobs)
    with engine.connect() as connection:
        transaction = connection.begin()
        if within == "savepoint":
            connection.begin_nested()
        session = Session(connection, join_transaction_mode=mode)
        savepoint = session.begin_nested() if nested else None
        session.get_one(User, ident).picture.from_blob(picture("blue"))
        session.flush()
        new = set(store.blobs) - former
        if savepoint is not None:
            savepoint.commit()
            session.begin_nested().rollback()  # of which the rows above are no part
        getattr(session, end)()
        session.close()
        goes_on = end == "close" and (
            mode == "rollback_only" or (mode, within) == ("conditional_savepoint", "transaction")
        )
        if transaction.is_active:
            transaction.commit()
    assert_in_step(engine, store, left=former if goes_on else ())
    assert set(store.blobs) == (former | new if goes_on else former)


@pytest.mark.parametrize("mode", MODES)
def test_savepoints_of_a_joined_session_end_each_for_itself(engine: Engine, store: FaultyStore, mode: JoinMode) -> None:
    with (
        engine.connect() as connection,
        connection.begin(),
        Session(connection, join_transaction_mode=mode) as session,
    ):
        for colour, end in (("red", "commit"), ("blue", "rollback"), ("green", "commit")):
            savepoint = session.begin_nested()
            session.add(user := User())
            user.picture.from_blob(picture(colour))
            session.flush()
            getattr(savepoint, end)()
        session.commit()
    assert sorted(store.blobs.values()) == sorted([picture("red"), picture("green")])
    assert_in_step(engine, store)


def test_a_session_on_a_connection_of_its_own_commits_as_usual(engine: Engine, store: FaultyStore) -> None:
    ident = stored(engine)
    with engine.connect() as connection, Session(connection) as session:
        session.get_one(User, ident).picture.from_blob(picture("blue"))
        session.commit()
    assert_in_step(engine, store)


def test_two_sessions_on_one_connection_settle_each_what_it_did(engine: Engine, store: FaultyStore) -> None:
    with engine.connect() as connection, connection.begin():
        for colour, end in (("red", "commit"), ("blue", "rollback")):
            with Session(connection, join_transaction_mode="create_savepoint") as session:
                session.add(user := User())
                user.picture.from_blob(picture(colour))
                session.flush()
                getattr(session, end)()
    assert list(store.blobs.values()) == [picture("red")]
    assert_in_step(engine, store)
