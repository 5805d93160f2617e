"""merge() and copies of rows: never do two rows share a blob that one of them can delete."""

from __future__ import annotations

import pickle

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session, make_transient

from sqlalchemy_imageattach.errors import ConcurrentReplacementError, ImageIdentityError, NoFileError
from sqlalchemy_imageattach.testing import FaultyStore

from .conftest import MakeSession
from .helpers import OTHER, SMALL, assert_in_step, blobs_of, picture
from .models import User, UserPicture

ENDS = pytest.mark.parametrize("end", ["commit", "rollback", "close"])
SIZES = pytest.mark.parametrize("size", [SMALL, OTHER], ids=["same size", "other size"])


def user_with(colour: str, size: tuple[int, int] = SMALL, **columns: object) -> User:
    user = User(**columns)
    user.picture.from_blob(picture(colour, size))
    return user


def stored_user(engine: Engine) -> int:
    with Session(engine) as session:
        session.add(user := user_with("red"))
        session.commit()
        return user.id


@ENDS
@pytest.mark.parametrize("kept", [True, False], ids=["source kept", "source dropped"])
def test_merging_a_new_owner_takes_the_file_along(
    engine: Engine, store: FaultyStore, open_session: MakeSession, end: str, kept: bool
) -> None:
    session = open_session(engine)
    source = user_with("red")
    source.picture.generate_thumbnail(width=10)
    merged = session.merge(source)
    if not kept:
        del source
    session.flush()
    assert merged.picture.make_blob() == picture()
    getattr(session, end)()
    assert len(store.blobs) == (2 if end == "commit" else 0)
    assert_in_step(engine, store)


@ENDS
@SIZES
@pytest.mark.parametrize("whole_key", [True, False], ids=["with its key", "without a key"])
def test_merging_a_new_picture_into_a_stored_owner_replaces(
    engine: Engine, store: FaultyStore, open_session: MakeSession, end: str, size: tuple[int, int], whole_key: bool
) -> None:
    """With its whole key, one of the same size is merged into the very row of the former one."""
    ident = stored_user(engine)
    session = open_session(engine)
    source = user_with("blue", size, id=ident)
    if whole_key:
        source.picture.require_original().user_id = ident
    merged = session.merge(source)
    session.flush()
    getattr(session, end)()
    fresh = open_session(engine).get_one(User, ident)
    assert blobs_of(fresh.picture) == [picture("blue", size) if end == "commit" else picture("red")]
    if end == "rollback":
        assert blobs_of(merged.picture) == [picture("red")], "it must not go on showing what was rolled back"
    assert_in_step(engine, store)


def test_both_the_source_and_its_merged_copy_can_be_added_each_with_its_own_blob(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    source = user_with("red")
    session.merge(source)
    session.commit()
    session.add(source)
    session.commit()
    assert len(store.blobs) == 2
    session.delete(source)
    session.commit()
    assert_in_step(engine, store)


def test_merging_a_detached_owner_changes_nothing(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    ident = stored_user(engine)
    with Session(engine) as first:
        user = first.get_one(User, ident)
        assert user.picture
    calls = len(store.calls)
    session = open_session(engine)
    merged = session.merge(user)
    session.commit()
    assert len(store.calls) == calls
    assert blobs_of(merged.picture) == [picture("red")]
    assert_in_step(engine, store)


def test_merging_a_detached_owner_whose_picture_was_replaced_meanwhile_is_refused(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    ident = stored_user(engine)
    with Session(engine) as first:
        stale = first.get_one(User, ident)
        assert stale.picture
    with Session(engine) as second:
        second.get_one(User, ident).picture.from_blob(picture("blue"))
        second.commit()
    session = open_session(engine)
    session.merge(stale)
    with pytest.raises(ImageIdentityError):
        session.commit()
    session.rollback()
    assert blobs_of(session.get_one(User, ident).picture) == [picture("blue")]
    assert_in_step(engine, store)


def test_a_stale_picture_from_a_cache_cannot_be_replaced(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    """merge(load=False) believes what the cache says."""
    ident = stored_user(engine)
    with Session(engine) as first:
        user = first.get_one(User, ident)
        assert user.picture
        cached = pickle.dumps(user)
    with Session(engine) as second:
        second.get_one(User, ident).picture.from_blob(picture("blue"))
        second.commit()
    session = open_session(engine)
    session.merge(pickle.loads(cached), load=False).picture.from_blob(picture("green"))
    with pytest.raises(ConcurrentReplacementError):
        session.commit()
    session.rollback()
    assert_in_step(engine, store)


def test_merging_an_owner_that_was_deleted_meanwhile_is_refused(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    ident = stored_user(engine)
    with Session(engine) as first:
        gone = first.get_one(User, ident)
        assert gone.picture
    with Session(engine) as second:
        second.delete(second.get_one(User, ident))
        second.commit()
    assert not store.blobs
    session = open_session(engine)
    session.merge(gone)
    with pytest.raises(NoFileError):
        session.commit()
    session.rollback()
    assert_in_step(engine, store)


def test_a_copy_of_a_row_needs_a_file_of_its_own(engine: Engine, store: FaultyStore, open_session: MakeSession) -> None:
    ident = stored_user(engine)
    session = open_session(engine)
    image = session.get_one(User, ident).picture.require_original()
    other = User(name="other")
    session.add(other)
    session.flush()
    columns = {c.key: getattr(image, c.key) for c in UserPicture.__mapper__.column_attrs if c.key != "user_id"}
    other.picture.append(UserPicture(**columns))
    with pytest.raises(NoFileError, match="make_blob"):
        session.commit()
    session.rollback()
    other = User(name="other")
    other.picture.from_blob(image.make_blob())
    session.add(other)
    session.commit()
    assert len(store.blobs) == 2
    session.delete(other)
    session.commit()
    assert blobs_of(session.get_one(User, ident).picture) == [picture("red")]
    assert_in_step(engine, store)


@pytest.mark.parametrize("other_owner", [True, False], ids=["other owner", "same owner"])
def test_a_row_made_transient_and_added_again_is_refused(
    engine: Engine, store: FaultyStore, open_session: MakeSession, other_owner: bool
) -> None:
    ident = stored_user(engine)
    with Session(engine) as first:
        image = first.get_one(User, ident).picture.require_original()
        assert image.width
    make_transient(image)
    session = open_session(engine)
    owner = User(name="other") if other_owner else session.get_one(User, ident)
    if not other_owner:
        owner.picture.clear()
        session.flush()
    owner.picture.append(image)
    session.add(owner)
    with pytest.raises(NoFileError):
        session.commit()
    session.rollback()
    assert_in_step(engine, store)
