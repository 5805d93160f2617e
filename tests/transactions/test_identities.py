"""A stored row becomes another one: its blob comes along, or it is refused."""

from __future__ import annotations

import warnings
from enum import IntEnum, StrEnum
from typing import Any

import pytest
from sqlalchemy import Engine, event, select
from sqlalchemy.exc import DBAPIError, SADeprecationWarning

from sqlalchemy_imageattach.errors import ImageIdentityError, InvalidTypeError
from sqlalchemy_imageattach.testing import FaultyStore

from .conftest import MakeSession
from .helpers import OTHER, Stop, assert_in_step, blobs_of, picture
from .models import City, Country, Gallery, Member, User, UserPicture

ENDS = pytest.mark.parametrize("end", ["commit", "rollback", "close"])


@ENDS
@pytest.mark.parametrize("loaded", [True, False], ids=["loaded", "unloaded"])
def test_a_new_key_of_the_owner_takes_its_blobs_along(
    engine: Engine, store: FaultyStore, open_session: MakeSession, end: str, loaded: bool
) -> None:
    session = open_session(engine)
    city = City(code="old")
    city.crest.from_blob(picture())
    city.crest.generate_thumbnail(width=10)
    session.add(city)
    session.commit()
    if loaded:
        assert len(city.crest) == 2
    city.code = "new"
    session.flush()
    assert len(store.blobs) == 4
    getattr(session, end)()
    fresh = open_session(engine).scalars(select(City)).one()
    assert fresh.code == ("new" if end == "commit" else "old")
    assert picture() in blobs_of(fresh.crest)
    assert_in_step(engine, store)


@ENDS
@pytest.mark.parametrize("loaded", [True, False], ids=["loaded", "unloaded"])
def test_a_key_that_the_database_cascades_is_no_way_to_lose_blobs(
    engine: Engine, store: FaultyStore, open_session: MakeSession, end: str, loaded: bool
) -> None:
    """ON UPDATE CASCADE changes the rows of images without a word to SQLAlchemy."""
    session = open_session(engine)
    country = Country(code="old")
    country.flag.from_blob(picture())
    country.flag.generate_thumbnail(width=10)
    session.add(country)
    session.commit()
    if loaded:
        assert len(country.flag) == 2
    country.code = "new"
    session.flush()
    assert len(store.blobs) == 4
    getattr(session, end)()
    fresh = open_session(engine).scalars(select(Country)).one()
    assert fresh.code == ("new" if end == "commit" else "old")
    assert picture() in blobs_of(fresh.flag)
    assert_in_step(engine, store)


def test_an_owner_without_pictures_changes_its_key_as_it_likes(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    country = Country(code="old")
    session.add(country)
    session.commit()
    country.code = "new"
    session.commit()
    country.flag.from_blob(picture())
    session.commit()
    assert_in_step(engine, store)


def test_a_new_key_and_a_picture_removed_in_one_flush_is_refused(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    """The DELETE would not find its row, whose key the database has changed a moment before."""
    session = open_session(engine)
    country = Country(code="old")
    country.flag.from_blob(picture("red"))
    session.add(country)
    session.commit()
    assert country.flag
    country.code = "new"
    country.flag.from_blob(picture("blue", OTHER))
    with pytest.raises(ImageIdentityError, match="flush in between"):
        session.commit()
    session.rollback()
    assert_in_step(engine, store)


@pytest.mark.parametrize("loaded", [True, False], ids=["loaded", "unloaded"])
@pytest.mark.parametrize("when", ["before_flush", "before_update"])
def test_a_key_that_a_listener_cascades_during_the_flush_is_refused(
    engine: Engine, store: FaultyStore, open_session: MakeSession, when: str, loaded: bool
) -> None:
    session = open_session(engine)
    country, other = Country(code="old"), Country(code="bare")
    country.flag.from_blob(picture())
    session.add_all([country, other])
    session.commit()
    if loaded:
        assert country.flag
    target, owners = (session if when == "before_flush" else Country), [other]

    def rename(*_: object) -> None:
        for owner in owners:
            owner.code = f"{owner.code}er"
        owners.clear()

    event.listen(target, when, rename)
    try:
        other.code = "bald"
        session.commit()  # it has no picture, so nothing is lost
        assert_in_step(engine, store)
        owners.append(country)
        country.code = "cold"
        with pytest.raises(ImageIdentityError, match="by a listener of the flush"):
            session.commit()
    finally:
        event.remove(target, when, rename)
    session.rollback()
    assert_in_step(engine, store)


def test_a_cascaded_key_waits_for_the_flush_of_its_owner(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    country, user = Country(code="old"), User()
    country.flag.from_blob(picture())
    session.add_all([country, user])
    session.commit()
    country.code, user.name = "new", "somebody"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SADeprecationWarning)  # from 2.1 on
        session.flush([user])
    session.commit()
    assert blobs_of(country.flag) == [picture()]
    assert_in_step(engine, store)


@pytest.mark.parametrize("ends", [("commit", "commit"), ("commit", "rollback"), ("rollback", "commit")], ids="-".join)
def test_a_cascaded_key_changes_twice_once_in_a_savepoint(
    engine: Engine, store: FaultyStore, open_session: MakeSession, ends: tuple[str, str]
) -> None:
    inner, outer = ends
    session = open_session(engine)
    country = Country(code="old")
    country.flag.from_blob(picture("red"))
    session.add(country)
    session.commit()
    country.code = "new"
    session.flush()
    savepoint = session.begin_nested()
    country.code = "newer"
    session.flush()
    getattr(savepoint, inner)()
    getattr(session, outer)()
    fresh = open_session(engine).scalars(select(Country)).one()
    assert fresh.code == ("old" if outer == "rollback" else "newer" if inner == "commit" else "new")
    assert blobs_of(fresh.flag) == [picture("red")]
    assert_in_step(engine, store)


def test_an_owner_that_leaves_its_session_before_the_flush_keeps_its_key(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    country = Country(code="old")
    country.flag.from_blob(picture("red"))
    session.add(country)
    session.commit()
    assert country.flag
    country.code = "new"
    session.expunge(country)
    session.add(User(name="somebody"))  # so that there is something to flush
    session.commit()
    assert session.scalars(select(Country.code)).one() == "old"
    assert_in_step(engine, store)


@ENDS
def test_a_new_key_and_then_a_new_picture(
    engine: Engine, store: FaultyStore, open_session: MakeSession, end: str
) -> None:
    session = open_session(engine)
    country = Country(code="old")
    country.flag.from_blob(picture("red"))
    session.add(country)
    session.commit()
    country.code = "new"
    session.flush()
    country.flag.from_blob(picture("blue", OTHER))
    session.flush()
    getattr(session, end)()
    fresh = open_session(engine).scalars(select(Country)).one()
    assert blobs_of(fresh.flag) == [picture("blue", OTHER) if end == "commit" else picture("red")]
    assert_in_step(engine, store)


@ENDS
def test_a_picture_moves_to_another_owner_with_its_blob(
    engine: Engine, store: FaultyStore, open_session: MakeSession, end: str
) -> None:
    session = open_session(engine)
    one, two = User(name="one"), User(name="two")
    one.picture.from_blob(picture())
    session.add_all([one, two])
    session.commit()
    idents = one.id, two.id
    image = one.picture.original
    assert image is not None
    two.picture.append(image)
    session.flush()
    getattr(session, end)()
    fresh = open_session(engine)
    found = [blobs_of(fresh.get_one(User, ident).picture) for ident in idents]
    assert found == ([[], [picture()]] if end == "commit" else [[picture()], []])
    assert_in_step(engine, store)


@pytest.mark.parametrize("ends", [("commit", "commit"), ("commit", "rollback"), ("rollback", "commit")], ids="-".join)
def test_a_picture_moves_twice_once_in_a_savepoint(
    engine: Engine, store: FaultyStore, open_session: MakeSession, ends: tuple[str, str]
) -> None:
    inner, outer = ends
    session = open_session(engine)
    users = [User(name=name) for name in ("one", "two", "three")]
    image = users[0].picture.from_blob(picture())
    session.add_all(users)
    session.commit()
    users[1].picture.append(image)
    session.flush()
    savepoint = session.begin_nested()
    users[2].picture.append(image)
    session.flush()
    getattr(savepoint, inner)()
    getattr(session, outer)()
    session.expire_all()
    at = 0 if outer == "rollback" else 2 if inner == "commit" else 1
    assert [blobs_of(user.picture) for user in users] == [[picture()] if number == at else [] for number in range(3)]
    assert_in_step(engine, store)


@pytest.mark.parametrize("loaded", [True, False], ids=["loaded", "expired"])
@pytest.mark.parametrize("then", ["keep", "replace", "remove"])
def test_a_column_that_an_object_id_is_made_of_changes_with_the_blob(
    engine: Engine, store: FaultyStore, open_session: MakeSession, loaded: bool, then: str
) -> None:
    session = open_session(engine, expire_on_commit=not loaded)
    gallery = Gallery()
    poster = gallery.poster.from_blob(picture(), extra_kwargs={"wall": 1})
    session.add(gallery)
    session.commit()
    poster.wall = 2  # which does not load what it was before
    if then == "replace":
        with session.no_autoflush:
            gallery.poster.from_blob(picture("blue"), extra_kwargs={"wall": 3})
    elif then == "remove":
        with session.no_autoflush:
            gallery.poster.clear()
    session.commit()
    assert blobs_of(gallery.poster) == {"keep": [picture()], "replace": [picture("blue")], "remove": []}[then]
    assert_in_step(engine, store)


def test_after_a_move_that_was_rolled_back_the_picture_is_as_it_was(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    """It neither waits for a file nor reads one that is not its own."""
    session = open_session(engine, autoflush=False)
    one, two = User(name="one"), User(name="two")
    one.picture.from_blob(picture())
    session.add_all([one, two])
    session.commit()
    session.expunge_all()
    one, two = session.query(User).order_by(User.id)
    image = one.picture.original
    assert image is not None
    two.picture.append(image)
    session.flush()
    session.rollback()
    assert image.locate() == one.picture.locate()
    assert image.make_blob() == picture()
    assert_in_step(engine, store)


TAMPERING: list[dict[str, Any]] = [
    {"width": 41},
    {"size": (41, 31)},
    {"mimetype": "image/jpeg"},
    {"revision": "another"},
    {"revision": None},
    {"width": 41, "revision": "another"},
]


@pytest.mark.parametrize("change", TAMPERING, ids=repr)
def test_a_row_cannot_be_given_what_its_blob_has_not(
    engine: Engine, store: FaultyStore, open_session: MakeSession, change: dict[str, Any]
) -> None:
    session = open_session(engine)
    user = User()
    user.picture.from_blob(picture())
    session.add(user)
    session.commit()
    image = user.picture.original
    for name, value in change.items():
        setattr(image, name, value)
    with pytest.raises(ImageIdentityError, match="another size, type or revision"):
        session.commit()
    session.rollback()
    assert blobs_of(user.picture) == [picture()]
    assert_in_step(engine, store)


def test_other_columns_of_a_row_change_without_a_look_at_the_store(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    user = User()
    user.picture.from_blob(picture())
    session.add(user)
    session.commit()
    calls = len(store.calls)
    image = session.scalars(select(UserPicture)).one()
    image.original = False
    session.commit()
    image.width = image.width  # the same value is no change
    session.commit()
    assert len(store.calls) == calls
    assert_in_step(engine, store)


def test_a_legacy_row_cannot_change_its_type_either(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    member = Member()
    member.portrait.from_blob(picture())
    session.add(member)
    session.commit()
    member.portrait.require_original().mimetype = "image/jpeg"
    with pytest.raises(ImageIdentityError):
        session.commit()
    session.rollback()
    assert_in_step(engine, store)


def test_a_move_whose_blob_cannot_be_read_is_refused(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    one, two = User(name="one"), User(name="two")
    image = one.picture.from_blob(picture())
    session.add_all([one, two])
    session.commit()
    two.picture.append(image)
    store.fail("get", error=Stop)
    with pytest.raises(Stop):
        session.commit()
    session.rollback()
    store.heal()
    assert blobs_of(one.picture) == [picture()]
    assert_in_step(engine, store)


def test_a_move_onto_a_place_that_is_taken_is_refused_by_the_database(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    one, two = User(name="one"), User(name="two")
    image = one.picture.from_blob(picture("red"))
    two.picture.from_blob(picture("blue"))
    session.add_all([one, two])
    session.commit()
    two.picture.append(image)
    with pytest.raises(DBAPIError):
        session.commit()
    session.rollback()
    assert [blobs_of(user.picture) for user in (one, two)] == [[picture("red")], [picture("blue")]]
    assert_in_step(engine, store)


class Code(StrEnum):
    """Columns of strings take it, and give back a str."""

    NORTH = "north"


class Number(IntEnum):
    """Columns of integers take it, and give back an int."""

    FIRST = 1


def test_a_key_of_an_enumeration_is_the_one_that_is_read_back(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    country, user = Country(code=Code.NORTH), User()
    country.flag.from_blob(picture("red"))
    user.photos.get_image_set(number=Number.FIRST).from_blob(picture("blue"))
    session.add_all([country, user])
    session.commit()
    assert blobs_of(country.flag) == [picture("red")]
    assert blobs_of(user.photos.get_image_set(number=1)) == [picture("blue")]
    assert_in_step(engine, store)


@pytest.mark.parametrize(
    ("cls", "key", "attribute"),
    [(User, {"id": "5"}, "picture"), (Country, {"code": 5}, "flag")],
    ids=["str for int", "int for str"],
)
def test_a_key_that_would_be_read_back_as_another_one_is_refused(
    engine: Engine, store: FaultyStore, open_session: MakeSession, cls: Any, key: dict[str, Any], attribute: str
) -> None:
    """Databases take the one for the other: stored under "5", the blob would be looked for under 5."""
    session = open_session(engine)
    owner = cls(**key)
    getattr(owner, attribute).from_blob(picture())
    session.add(owner)
    with pytest.raises(InvalidTypeError, match="expected (int|str), as its column has, got (str|int) .*convert it"):
        session.commit()
    session.rollback()
    assert not store.blobs
    assert_in_step(engine, store)


def test_a_new_key_that_would_be_read_back_as_another_one_is_refused(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    country = Country(code="4")
    country.flag.from_blob(picture())
    session.add(country)
    session.commit()
    country.code = 5  # type: ignore[assignment]
    with pytest.raises(InvalidTypeError, match="expected str, as its column has, got int"):
        session.commit()
    session.rollback()
    assert_in_step(engine, store)


def test_a_picture_of_several_is_not_chosen_by_a_value_of_another_type() -> None:
    """It would not find the one that is there, and add a second one beside it."""
    with pytest.raises(InvalidTypeError, match=r"UserPhoto\.number: expected int, as its column has, got str \('1'\)"):
        User().photos.get_image_set(number="1")
