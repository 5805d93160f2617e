"""Two stores as one, of which one takes no revisions: a new picture takes the place of the former one in that alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.context import LocalProxyStore, store_context
from sqlalchemy_imageattach.errors import StoreError
from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.store import Store, can_be_shared, keeps_revisions, key_of
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.stores.mirror import MirrorStore
from sqlalchemy_imageattach.stores.overlay import OverlayStore
from sqlalchemy_imageattach.testing import FaultyStore
from tests.onex import FourMethodStore

from .conftest import MakeSession
from .helpers import OTHER, SMALL, blobs_of, picture
from .models import User


@dataclass
class Pair:
    """The stores behind the one that is used."""

    old: FaultyStore
    new: FaultyStore
    store: Store


ARRANGEMENTS: dict[str, Callable[[Store, Store], Store]] = {
    "old first": MirrorStore,
    "new first": lambda old, new: MirrorStore(new, old),
    "second not required": lambda old, new: MirrorStore(old, new, require_both=False),
    "in a wrapper": lambda old, new: FaultyStore(MirrorStore(old, new)),
    "in a proxy": lambda old, new: LocalProxyStore(lambda: MirrorStore(new, old)),
    "in another mirror": lambda old, new: MirrorStore(MirrorStore(old, new), MemoryStore()),
    "over an overlay": lambda old, new: OverlayStore(MirrorStore(old, new), MemoryStore()),
}


@pytest.fixture(params=ARRANGEMENTS)
def pair(request: pytest.FixtureRequest) -> Pair:
    old, new = FaultyStore(FourMethodStore()), FaultyStore(MemoryStore())
    return Pair(old, new, ARRANGEMENTS[request.param](old, new))


def attach(session: Session, colour: str) -> User:
    user = User()
    user.picture.from_blob(picture(colour))
    session.add(user)
    session.commit()
    return user


def assert_both_have(pair: Pair, user: User, content: bytes) -> None:
    """Both have the picture of the row, each by its own key, and nothing else."""
    [image] = user.picture
    key = key_of(image)
    assert pair.old.blobs == {replace(key, revision=None): content}
    assert pair.new.blobs == {key: content}
    assert blobs_of(user.picture) == [content]


@pytest.mark.parametrize("pair", ["old first", "new first"], indirect=True)
@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("sizes", [[SMALL], [OTHER], [SMALL, SMALL], [OTHER, SMALL]], ids=repr)
@pytest.mark.parametrize("in_savepoint", ["no", "released", "rolled back"])
def test_both_follow_the_row(
    sqlite: Engine,
    pair: Pair,
    open_session: MakeSession,
    end: str,
    sizes: list[tuple[int, int]],
    in_savepoint: str,
) -> None:
    session = open_session(sqlite)
    with store_context(pair.store):
        user = attach(session, "red")
        ident, last = user.id, picture("red")
        for colour, size in zip(["green", "blue"], sizes, strict=False):
            user.picture.from_blob(last := picture(colour, size))
            session.flush()
        if in_savepoint != "no":
            savepoint = session.begin_nested()
            user.picture.from_blob(picture("white"))
            session.flush()
            savepoint.commit() if in_savepoint == "released" else savepoint.rollback()
            last = picture("white") if in_savepoint == "released" else last
        getattr(session, end)()
        fresh = open_session(sqlite).get_one(User, ident)
        assert_both_have(pair, fresh, last if end == "commit" else picture("red"))


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_what_the_old_one_alone_had_is_not_lost(
    sqlite: Engine, pair: Pair, open_session: MakeSession, end: str
) -> None:
    session = open_session(sqlite)
    with store_context(pair.old):
        ident = attach(session, "red").id
    session.close()
    session = open_session(sqlite)
    with store_context(pair.store):
        user = session.get_one(User, ident)
        user.picture.from_blob(picture("green"))
        session.flush()
        getattr(session, end)()
        assert blobs_of(user.picture) == [picture("green" if end == "commit" else "red")]
        assert list(pair.old.blobs.values()) == [picture("green" if end == "commit" else "red")]
        assert list(pair.new.blobs.values()) == [picture("green")] * (end == "commit")


def test_a_session_that_has_written_to_the_old_one_does_not_delete_what_replaced_it(
    sqlite: Engine, pair: Pair, open_session: MakeSession
) -> None:
    session = open_session(sqlite)
    with store_context(pair.old):
        user = attach(session, "red")
    with store_context(pair.store):
        user.picture.from_blob(picture("green"))
        session.commit()
        assert_both_have(pair, user, picture("green"))


def test_what_is_removed_is_in_neither_even_if_it_was_replaced_before(
    sqlite: Engine, pair: Pair, open_session: MakeSession
) -> None:
    session = open_session(sqlite)
    with store_context(pair.store):
        user = attach(session, "red")
        user.picture.from_blob(picture("green"))
        session.flush()
        user.picture.clear()
        session.commit()
        assert pair.old.blobs == pair.new.blobs == {}


def test_removed_and_attached_anew_in_one_transaction(sqlite: Engine, pair: Pair, open_session: MakeSession) -> None:
    session = open_session(sqlite)
    with store_context(pair.store):
        user = attach(session, "red")
        user.picture.clear()
        session.flush()
        user.picture.from_blob(picture("green"))
        session.commit()
        assert_both_have(pair, user, picture("green"))


@pytest.mark.parametrize("when", ["before", "midway", "after"])
@pytest.mark.parametrize("broken", ["old", "new"])
def test_a_replacement_that_fails_in_one_leaves_both_as_they_were(
    sqlite: Engine, pair: Pair, open_session: MakeSession, broken: str, when: str
) -> None:
    session = open_session(sqlite)
    with store_context(pair.store):
        user = attach(session, "red")
        user.picture.from_blob(picture("green"))
        getattr(pair, broken).fail("put", on=1, when=when)
        if getattr(pair.store, "require_both", True) is False and broken == "new":
            session.commit()  # which does not need it, and says so in the log
            assert list(pair.old.blobs.values()) == [blobs_of(user.picture)[0]] == [picture("green")]
            return
        with pytest.raises(OSError, match="told to fail"):
            session.commit()
        session.rollback()
        assert_both_have(pair, user, picture("red"))


def test_that_one_cannot_be_asked_does_not_keep_the_other_from_being_put_right(
    sqlite: Engine, pair: Pair, open_session: MakeSession
) -> None:
    session = open_session(sqlite)
    with store_context(pair.store):
        user = attach(session, "red")
        user.picture.from_blob(picture("green"))
        session.flush()
        pair.new.fail("delete")
        session.rollback()
        assert list(pair.old.blobs.values()) == [picture("red")]
        assert picture("red") in pair.new.blobs.values()
        pair.new.heal()
        user.picture.from_blob(picture("blue"))
        session.flush()
        pair.old.fail("put")
        session.rollback()
        assert picture("blue") not in pair.new.blobs.values()
        assert blobs_of(user.picture)  # the old one still has the last picture, by the key of the former


def test_a_preview_with_a_store_of_old_follows_its_rows(sqlite: Engine, open_session: MakeSession) -> None:
    old, production = FaultyStore(FourMethodStore()), MemoryStore()
    session = open_session(sqlite)
    with store_context(production):
        ident = attach(session, "red").id
    session.close()
    there = dict(production.blobs)
    session = open_session(sqlite)
    with store_context(OverlayStore(old, production)):
        user = session.get_one(User, ident)
        for end, content in [("rollback", "red"), ("commit", "green"), ("rollback", "green"), ("commit", "blue")]:
            user.picture.from_blob(picture("blue" if content == "green" and end == "rollback" else content))
            session.flush()
            getattr(session, end)()
            assert blobs_of(user.picture) == [picture(content)]
        assert list(old.blobs.values()) == [picture("blue")]
        user.picture.clear()
        session.commit()
        assert picture("blue") not in old.blobs.values()
    assert production.blobs == there


def test_the_store_that_takes_no_revisions_decides_for_both(pair: Pair) -> None:
    assert pair.store.accepts_revision
    assert not keeps_revisions(pair.store)
    assert not can_be_shared(pair.store)


def test_a_store_under_an_overlay_is_not_written_and_has_no_say_in_it() -> None:
    overlay = OverlayStore(MemoryStore(), FourMethodStore())
    assert keeps_revisions(overlay)
    assert not can_be_shared(overlay)
    key = ImageKey("user-picture", 1, 2, 3, "image/png", "Xk3v9QpLm2w")
    assert overlay.own_key(key) == key


def test_two_stores_of_one_flush_change_roles_in_savepoints(engine: Engine) -> None:
    one, two = FaultyStore(MemoryStore("http://one/")), FaultyStore(MemoryStore("http://two/"))
    with Session(engine, info={"image_store": one}) as session:
        session.add_all([red := User(name="red"), blue := User(name="blue")])
        red.picture.from_blob(picture("red"))
        blue.picture.from_blob(picture("blue"), two)
        session.flush()
        for end in ("rollback", "commit"):
            savepoint = session.begin_nested()
            red.picture.from_blob(picture("green"), two)
            blue.picture.from_blob(picture("yellow"), one)
            session.flush()
            getattr(savepoint, end)()
            colours = ("red", "blue") if end == "rollback" else ("green", "yellow")
            assert (red.picture.make_blob(), blue.picture.make_blob()) == tuple(map(picture, colours))
        savepoint = session.begin_nested()
        red.picture.from_blob(picture("white"), one)
        blue.picture.from_blob(picture("white"), two)
        one.fail("put", on=None)
        with pytest.raises(StoreError):
            session.flush()
        savepoint.rollback()
        one.heal()
        session.commit()
        assert [len(store.blobs) for store in (one, two)] == [1, 1]
        assert red.picture.make_blob(two) == picture("green")
        assert blue.picture.make_blob(one) == picture("yellow")
