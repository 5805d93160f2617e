"""What was rolled back is tried again, with the same objects: their files are still there."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session, make_transient

from sqlalchemy_imageattach.testing import FaultyStore

from .conftest import MakeSession
from .helpers import OTHER, Exploded, assert_in_step, blobs_of, picture
from .models import User


@pytest.mark.parametrize("other_session", [True, False], ids=["another session", "the same session"])
def test_a_new_owner_is_added_again(
    engine: Engine, store: FaultyStore, open_session: MakeSession, other_session: bool
) -> None:
    session = open_session(engine)
    user = User()
    user.picture.from_blob(picture())
    user.picture.generate_thumbnail(width=10)
    session.add(user)
    session.flush()
    written = set(store.blobs)
    session.rollback()
    assert not store.blobs
    again = open_session(engine) if other_session else session
    again.add(user)
    again.commit()
    assert picture() in blobs_of(user.picture)
    assert len(store.blobs) == 2
    assert not written & store.blobs.keys(), "a key is never used twice"
    assert_in_step(engine, store)


def test_a_store_that_fails_at_first_is_tried_again(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    user = User()
    user.picture.from_blob(picture())
    session.add(user)
    for when in ("before", "midway", "after"):
        store.fail("put", when=when)
        with pytest.raises(OSError, match="told to fail"):
            session.commit()
        session.rollback()
        assert not store.blobs
        store.heal()
        session.add(user)
    session.commit()
    assert blobs_of(user.picture) == [picture()]
    assert_in_step(engine, store)


@pytest.mark.parametrize("size", [(40, 30), OTHER], ids=["same size", "other size"])
def test_a_picture_of_a_stored_owner_is_put_back(
    engine: Engine, store: FaultyStore, open_session: MakeSession, size: tuple[int, int]
) -> None:
    session = open_session(engine)
    user = User()
    user.picture.from_blob(picture("red"))
    session.add(user)
    session.commit()
    image = user.picture.from_blob(picture("blue", size))
    session.flush()
    session.rollback()
    assert blobs_of(user.picture) == [picture("red")]
    assert image.make_blob() == picture("blue", size), "the file in waiting is still to be read"
    user.picture = [image]  # type: ignore[assignment]
    session.commit()
    assert blobs_of(user.picture) == [picture("blue", size)]
    assert_in_step(engine, store)


def test_what_a_savepoint_undid_is_tried_again_outside(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    user = User()
    user.picture.from_blob(picture())
    savepoint = session.begin_nested()
    session.add(user)
    session.flush()
    savepoint.rollback()
    assert not store.blobs
    session.add(user)
    session.commit()
    assert blobs_of(user.picture) == [picture()]
    assert_in_step(engine, store)


def test_what_was_moved_before_the_rollback_is_tried_again(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    """The first flush writes the file, the second one moves it to the key of another owner."""
    session = open_session(engine)
    one, two = User(name="one"), User(name="two")
    image = one.picture.from_blob(picture())
    session.add_all([one, two])
    session.flush()
    two.picture.append(image)
    session.flush()
    assert len(store.blobs) == 2
    session.rollback()
    assert not store.blobs
    assert image.make_blob() == picture()
    make_transient(image)  # SQLAlchemy gives an object whose key had changed its first key back, as if it were stored
    session.add(two)
    session.commit()
    assert blobs_of(two.picture) == [picture()]
    assert_in_step(engine, store)


def test_an_image_is_pending_until_its_transaction_commits(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    user = User()
    image = user.picture.from_blob(picture())
    with pytest.raises(ValueError, match="no blob yet"):
        image.locate()
    session.add(user)
    assert image.locate()
    session.rollback()
    with pytest.raises(ValueError, match="no blob yet"):
        image.locate()


def test_several_attempts_in_one_session_with_each_kind_of_failure(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)

    def attempt(user: User) -> None:
        session.add(user)
        session.flush()
        if len(errors) < 2:
            errors.append(1)
            raise Exploded
        session.commit()

    errors: list[int] = []
    user = User(name="Ann")
    user.picture.from_blob(picture())
    for _ in range(2):
        with pytest.raises(Exploded):
            attempt(user)
        session.rollback()
    attempt(user)
    assert_in_step(engine, store)
    with Session(engine) as fresh:
        assert blobs_of(fresh.query(User).one().picture) == [picture()]
