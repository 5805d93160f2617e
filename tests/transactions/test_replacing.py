"""A picture takes the place of another one, or of none, or is taken away."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.testing import FaultyStore

from .conftest import MakeSession
from .helpers import OTHER, SMALL, assert_in_step, blobs_of, picture, rows
from .models import Comment, User, UserPicture

SIZES = pytest.mark.parametrize("size", [SMALL, OTHER], ids=["same size", "other size"])
ENDS = pytest.mark.parametrize("end", ["commit", "rollback", "close"])


def stored_user(session: Session, thumbnail: bool = False) -> User:
    user = User(name="Ann")
    user.picture.from_blob(picture("red"))
    if thumbnail:
        user.picture.generate_thumbnail(width=10)
    session.add(user)
    session.commit()
    return user


def image_of(blob: bytes) -> UserPicture:
    """An image with a file that is in no set."""
    other = User()
    image = other.picture.from_blob(blob)
    other.picture.remove(image)
    return image


def from_blob(session: Session, user: User, blob: bytes) -> None:
    user.picture.from_blob(blob)


def twice_before_the_flush(session: Session, user: User, blob: bytes) -> None:
    user.picture.from_blob(picture("white"))
    user.picture.from_blob(blob)


def twice_in_two_flushes(session: Session, user: User, blob: bytes) -> None:
    user.picture.from_blob(picture("white"))
    session.flush()
    user.picture.from_blob(blob)


def there_and_back(session: Session, user: User, blob: bytes) -> None:
    """By way of another size, and of the first size again."""
    user.picture.from_blob(picture("white", OTHER))
    session.flush()
    user.picture.from_blob(picture("black", SMALL))
    session.flush()
    user.picture.from_blob(blob)


def through_an_expired_attribute(session: Session, user: User, blob: bytes) -> None:
    session.expire(user, ["picture"])
    user.picture.from_blob(blob)


def through_an_expired_image(session: Session, user: User, blob: bytes) -> None:
    for image in user.picture:
        session.expire(image)
    user.picture.from_blob(blob)


def through_an_unloaded_attribute(session: Session, user: User, blob: bytes) -> None:
    ident = user.id
    session.expunge_all()
    session.get_one(User, ident).picture.from_blob(blob)


def clear_and_attach_in_one_flush(session: Session, user: User, blob: bytes) -> None:
    user.picture.clear()
    assert not user.picture
    user.picture.from_blob(blob)


def clear_and_attach_in_two_flushes(session: Session, user: User, blob: bytes) -> None:
    user.picture.clear()
    session.flush()
    user.picture.from_blob(blob)


def assigning_a_list(session: Session, user: User, blob: bytes) -> None:
    user.picture = [image_of(blob)]  # type: ignore[assignment]


def deleting_the_image_and_adding_another(session: Session, user: User, blob: bytes) -> None:
    for former in list(user.picture):
        session.delete(former)
    user.picture.append(image_of(blob))


def deleting_the_image_in_a_flush_of_its_own(session: Session, user: User, blob: bytes) -> None:
    for former in list(user.picture):
        session.delete(former)
    session.flush()
    session.expire(user, ["picture"])
    user.picture.from_blob(blob)


WAYS = (
    from_blob,
    twice_before_the_flush,
    twice_in_two_flushes,
    there_and_back,
    through_an_expired_attribute,
    through_an_expired_image,
    through_an_unloaded_attribute,
    clear_and_attach_in_one_flush,
    clear_and_attach_in_two_flushes,
    assigning_a_list,
    deleting_the_image_and_adding_another,
    deleting_the_image_in_a_flush_of_its_own,
)


@pytest.mark.parametrize("replace", WAYS, ids=lambda way: way.__name__.replace("_", " "))
@SIZES
@ENDS
def test_in_whatever_way_a_picture_is_replaced_blobs_follow_rows(
    engine: Engine,
    store: FaultyStore,
    open_session: MakeSession,
    replace: Callable[[Session, User, bytes], None],
    size: tuple[int, int],
    end: str,
) -> None:
    session = open_session(engine)
    user = stored_user(session, thumbnail=True)
    ident, former = user.id, store.blobs
    replace(session, user, picture("blue", size))
    session.flush()
    assert former.items() <= store.blobs.items(), "former blobs stay until the commit"
    getattr(session, end)()
    fresh = open_session(engine).get_one(User, ident)
    if end == "commit":
        assert blobs_of(fresh.picture) == [picture("blue", size)]
    else:
        assert store.blobs == former
    assert_in_step(engine, store)


@ENDS
def test_clearing_a_set_removes_all_its_blobs_at_commit(
    engine: Engine, store: FaultyStore, open_session: MakeSession, end: str
) -> None:
    session = open_session(engine)
    user = stored_user(session, thumbnail=True)
    user.picture.clear()
    session.flush()
    assert len(store.blobs) == 2
    getattr(session, end)()
    assert len(store.blobs) == (0 if end == "commit" else 2)
    assert_in_step(engine, store)


@ENDS
@pytest.mark.parametrize("loaded", [True, False], ids=["loaded", "unloaded"])
def test_deleting_the_owner_removes_all_its_blobs_at_commit(
    engine: Engine, store: FaultyStore, open_session: MakeSession, end: str, loaded: bool
) -> None:
    session = open_session(engine)
    user = stored_user(session, thumbnail=True)
    for number in 1, 2:
        user.photos.get_image_set(number=number).from_blob(picture())
    session.commit()
    if loaded:
        assert len(user.picture) == len(user.photos) == 2
    session.delete(user)
    session.flush()
    assert len(store.blobs) == 4
    getattr(session, end)()
    assert len(store.blobs) == (0 if end == "commit" else 4)
    assert_in_step(engine, store)


@pytest.mark.parametrize("in_savepoint", [True, False], ids=["in a savepoint", "alone"])
def test_an_owner_whose_deletion_a_foreign_key_blocks_keeps_its_blobs(
    engine: Engine, store: FaultyStore, open_session: MakeSession, in_savepoint: bool
) -> None:
    session = open_session(engine)
    user = stored_user(session, thumbnail=True)
    session.add(Comment(user_id=user.id))
    session.commit()
    ident = user.id
    if in_savepoint:
        with pytest.raises(IntegrityError), session.begin_nested():
            session.delete(user)
        session.commit()
    else:
        session.delete(user)
        with pytest.raises(IntegrityError):
            session.commit()
        session.rollback()
    assert len(open_session(engine).get_one(User, ident).picture) == 2
    assert_in_step(engine, store)


@ENDS
def test_pictures_of_a_multiple_set_are_replaced_each_for_itself(
    engine: Engine, store: FaultyStore, open_session: MakeSession, end: str
) -> None:
    session = open_session(engine)
    user = User()
    for number, colour in enumerate(["red", "green", "blue"]):
        user.photos.get_image_set(number=number).from_blob(picture(colour))
    session.add(user)
    session.commit()
    ident = user.id
    user.photos.get_image_set(number=1).from_blob(picture("white"))
    user.photos.get_image_set(number=2).clear()
    session.flush()
    getattr(session, end)()
    fresh = open_session(engine).get_one(User, ident)
    expected = ["red", "white"] if end == "commit" else ["red", "green", "blue"]
    assert [blobs_of(subset) for subset in fresh.photos.image_sets] == [[picture(colour)] for colour in expected]
    assert_in_step(engine, store)


def test_a_picture_attached_and_replaced_before_any_commit_leaves_only_the_last(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    user = User()
    session.add(user)
    for colour in ("red", "green", "blue"):
        user.picture.from_blob(picture(colour))
        session.flush()
    session.commit()
    assert blobs_of(user.picture) == [picture("blue")]
    assert_in_step(engine, store)


def test_a_thumbnail_made_again_takes_the_place_of_the_former_one(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    user = stored_user(session, thumbnail=True)
    for _ in range(2):
        user.picture.generate_thumbnail(width=10)
    session.commit()
    assert len(rows(engine)) == 2
    assert_in_step(engine, store)


def test_pictures_of_different_classes_are_replaced_in_one_flush(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    user = User()
    session.add(user)
    for colour in ("red", "blue"):
        with session.no_autoflush:  # which loading the sets would otherwise set off between the two
            user.picture.from_blob(picture(colour))
            user.photos.get_image_set(number=1).from_blob(picture(colour))
        session.commit()
    assert blobs_of(user.picture) == blobs_of(user.photos) == [picture("blue")]
    assert_in_step(engine, store)
