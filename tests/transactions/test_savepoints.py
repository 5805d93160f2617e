"""Savepoints: released, rolled back and nested.  This is where others take a release for a commit."""

from __future__ import annotations

from itertools import product

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.testing import FaultyStore

from .conftest import MakeSession
from .helpers import OTHER, SMALL, Stop, assert_in_step, blobs_of, picture, rows
from .models import User

COLOURS = ("red", "green", "blue", "white")


def a_user(session: Session, name: str, colour: str = "red") -> User:
    user = User(name=name)
    user.picture.from_blob(picture(colour))
    session.add(user)
    session.flush()
    return user


def test_a_released_savepoint_is_no_commit(engine: Engine, store: FaultyStore, open_session: MakeSession) -> None:
    session = open_session(engine)
    with session.begin_nested():
        a_user(session, "Ann")
    assert len(store.blobs) == 1
    session.rollback()
    assert not store.blobs
    assert_in_step(engine, store)


def test_replacing_in_a_released_savepoint_keeps_the_former_blob_until_the_commit(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    user = a_user(session, "Ann")
    session.commit()
    with session.begin_nested():
        user.picture.from_blob(picture("blue"))
    assert len(store.blobs) == 2, "the former blob may be needed yet"
    session.rollback()
    assert blobs_of(user.picture) == [picture("red")]
    assert_in_step(engine, store)
    with session.begin_nested():
        user.picture.from_blob(picture("blue"))
    session.commit()
    assert blobs_of(user.picture) == [picture("blue")]
    assert_in_step(engine, store)


def test_deleting_in_a_savepoint_that_is_rolled_back_deletes_nothing(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    user = a_user(session, "Ann")
    session.commit()
    savepoint = session.begin_nested()
    session.delete(user)
    session.flush()
    savepoint.rollback()
    session.commit()
    assert blobs_of(user.picture) == [picture("red")]
    assert_in_step(engine, store)


@pytest.mark.parametrize("ends", list(product(["release", "rollback", "exception"], repeat=3)), ids="-".join)
@pytest.mark.parametrize("root", ["commit", "rollback", "close"])
def test_savepoints_nested_three_deep_end_in_any_combination(
    engine: Engine, store: FaultyStore, open_session: MakeSession, ends: tuple[str, ...], root: str
) -> None:
    """On each level one picture is attached before the next savepoint, and one after it."""
    session = open_session(engine)

    def descend(level: int) -> set[str]:
        """Gives the names of the users that this level and those below leave."""
        a_user(session, f"before {level}")
        names = {f"before {level}"}
        if level < len(ends):
            savepoint = session.begin_nested()
            try:
                with savepoint:
                    below = descend(level + 1)
                    if ends[level] == "exception":
                        raise Stop
                    if ends[level] == "rollback":
                        savepoint.rollback()
            except Stop:
                pass
            if ends[level] == "release":
                names |= below
        a_user(session, f"after {level}")
        return names | {f"after {level}"}

    names = descend(0)
    assert len(store.blobs) == len(names), "what was rolled back is gone at once, and nothing else"
    getattr(session, root)()
    with Session(engine) as fresh:
        assert {user.name for user in fresh.query(User)} == (names if root == "commit" else set())
    assert_in_step(engine, store)


@pytest.mark.parametrize("sizes", [(SMALL,) * 4, (SMALL, OTHER, SMALL, OTHER)], ids=["same size", "other sizes"])
@pytest.mark.parametrize("ends", list(product(["release", "rollback"], repeat=3)), ids="-".join)
@pytest.mark.parametrize("root", ["commit", "rollback"])
def test_one_picture_replaced_on_each_of_three_levels_is_that_of_its_row(
    engine: Engine,
    store: FaultyStore,
    open_session: MakeSession,
    ends: tuple[str, ...],
    root: str,
    sizes: tuple[tuple[int, int], ...],
) -> None:
    session = open_session(engine)
    user = a_user(session, "Ann", COLOURS[0])
    session.commit()

    def descend(level: int, former: bytes) -> bytes:
        mine = picture(COLOURS[level], sizes[level])
        savepoint = session.begin_nested()
        user.picture.from_blob(mine)
        session.flush()
        last = descend(level + 1, mine) if level < 3 else mine
        if ends[level - 1] == "release":
            savepoint.commit()
            return last
        savepoint.rollback()
        return former

    last = descend(1, picture(COLOURS[0]))
    assert blobs_of(user.picture) == [last]
    getattr(session, root)()
    assert blobs_of(user.picture) == [last if root == "commit" else picture(COLOURS[0])]
    assert_in_step(engine, store)


def test_a_picture_attached_and_removed_within_savepoints_leaves_nothing(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    user = User(name="Ann")
    session.add(user)
    session.commit()
    with session.begin_nested():
        user.picture.from_blob(picture())
        session.flush()
        with session.begin_nested():
            user.picture.clear()
    session.commit()
    assert not rows(engine)
    assert not store.blobs


def test_a_removal_undone_by_a_savepoint_within_a_transaction_that_attached_it(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    user = a_user(session, "Ann")
    savepoint = session.begin_nested()
    user.picture.clear()
    session.flush()
    savepoint.rollback()
    session.commit()
    assert blobs_of(user.picture) == [picture("red")]
    assert_in_step(engine, store)


def test_a_picture_takes_the_place_of_one_that_was_rolled_back_and_is_still_known(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    """SQLAlchemy keeps objects that were loaded in the savepoint, although their rows are gone."""
    session = open_session(engine)
    user = User(name="Ann")
    session.add(user)
    session.commit()
    savepoint = session.begin_nested()
    user.picture.from_blob(picture("red"))
    session.flush()
    session.expunge_all()
    user = session.query(User).one()
    loaded = user.picture.require_original()
    session.expire_all()
    savepoint.rollback()
    assert loaded in session
    user.picture.from_blob(picture("blue"))
    session.commit()
    assert blobs_of(user.picture) == [picture("blue")]
    assert_in_step(engine, store)


@pytest.mark.parametrize("end", ["commit", "rollback", "close"])
def test_a_root_that_ends_with_open_savepoints_decides_for_them(
    engine: Engine, store: FaultyStore, open_session: MakeSession, end: str
) -> None:
    session = open_session(engine)
    a_user(session, "Ann")
    for name in ("Bob", "Cid"):
        session.begin_nested()
        a_user(session, name)
    getattr(session, end)()
    assert len(rows(engine)) == (3 if end == "commit" else 0)
    assert_in_step(engine, store)


def test_a_store_that_fails_in_a_savepoint_spares_what_is_outside(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    a_user(session, "Ann")
    store.fail("put", on=2)
    with pytest.raises(OSError, match="told to fail"), session.begin_nested():
        a_user(session, "Bob")
        a_user(session, "Cid")
    store.heal()
    a_user(session, "Dan")
    session.commit()
    assert len(rows(engine)) == 2
    assert_in_step(engine, store)
