"""Tables of 1.x, whose pictures have no revision: a place in the store is written more than once."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from sqlalchemy_imageattach.testing import FaultyStore

from .conftest import MakeSession
from .helpers import OTHER, SMALL, assert_in_step, blobs_of, picture
from .models import Member

ENDS = pytest.mark.parametrize("end", ["commit", "rollback", "close"])


def member(colour: str) -> Member:
    result = Member()
    result.portrait.from_blob(picture(colour))
    return result


@ENDS
@pytest.mark.parametrize("size", [SMALL, OTHER], ids=["same size", "other size"])
@pytest.mark.parametrize("times", [1, 2])
def test_what_is_replaced_comes_back_unless_the_transaction_commits(
    engine: Engine, store: FaultyStore, open_session: MakeSession, end: str, size: tuple[int, int], times: int
) -> None:
    session = open_session(engine)
    one = member("red")
    session.add(one)
    session.commit()
    ident = one.id
    for colour in ["green", "blue"][-times:]:
        one.portrait.from_blob(picture(colour, size))
        session.flush()
    getattr(session, end)()
    fresh = open_session(engine).get_one(Member, ident)
    assert blobs_of(fresh.portrait) == [picture("blue", size) if end == "commit" else picture("red")]
    assert_in_step(engine, store)


@pytest.mark.parametrize("outer", ["commit", "rollback"])
@pytest.mark.parametrize("inner", ["commit", "rollback"])
def test_the_same_place_written_outside_and_inside_a_savepoint(
    engine: Engine, store: FaultyStore, open_session: MakeSession, outer: str, inner: str
) -> None:
    session = open_session(engine)
    one = member("red")
    session.add(one)
    session.commit()
    one.portrait.from_blob(picture("green"))
    session.flush()
    savepoint = session.begin_nested()
    one.portrait.from_blob(picture("blue"))
    session.flush()
    getattr(savepoint, inner)()
    assert list(store.blobs.values()) == [picture("blue" if inner == "commit" else "green")]
    getattr(session, outer)()
    expected = "red" if outer == "rollback" else "blue" if inner == "commit" else "green"
    assert blobs_of(one.portrait) == [picture(expected)]
    assert_in_step(engine, store)


@pytest.mark.parametrize("outer", ["commit", "rollback"])
@pytest.mark.parametrize("inner", ["commit", "rollback"])
def test_removed_outside_and_attached_anew_inside_a_savepoint(
    engine: Engine, store: FaultyStore, open_session: MakeSession, outer: str, inner: str
) -> None:
    """On its way to the root the deletion must not overtake the new blob, which is in the same place."""
    session = open_session(engine)
    one = member("red")
    session.add(one)
    session.commit()
    one.portrait.clear()
    session.flush()
    savepoint = session.begin_nested()
    one.portrait.from_blob(picture("blue"))
    session.flush()
    getattr(savepoint, inner)()
    getattr(session, outer)()
    expected = [picture("red")] if outer == "rollback" else [picture("blue")] if inner == "commit" else []
    assert blobs_of(one.portrait) == expected
    assert_in_step(engine, store)


@pytest.mark.parametrize("outer", ["commit", "rollback"])
@pytest.mark.parametrize("inner", ["commit", "rollback"])
def test_attached_outside_and_removed_inside_a_savepoint(
    engine: Engine, store: FaultyStore, open_session: MakeSession, outer: str, inner: str
) -> None:
    session = open_session(engine)
    one = member("red")
    session.add(one)
    session.commit()
    one.portrait.from_blob(picture("blue"))
    session.flush()
    savepoint = session.begin_nested()
    one.portrait.clear()
    session.flush()
    getattr(savepoint, inner)()
    getattr(session, outer)()
    expected = [picture("red")] if outer == "rollback" else [] if inner == "commit" else [picture("blue")]
    assert blobs_of(one.portrait) == expected
    assert_in_step(engine, store)


@pytest.mark.filterwarnings("ignore:New instance .* conflicts with persistent instance")
@ENDS
def test_a_portrait_moves_and_another_takes_its_place_in_one_flush(
    engine: Engine, store: FaultyStore, open_session: MakeSession, end: str
) -> None:
    """Both concern the same place: what moves must be read before it is written over."""
    session = open_session(engine)
    one, two = member("red"), Member()
    session.add_all([one, two])
    session.commit()
    idents = one.id, two.id
    with session.no_autoflush:
        image = one.portrait.original
        assert image is not None
        two.portrait.append(image)
        one.portrait.remove(image)
        one.portrait.from_blob(picture("blue"))
    session.flush()
    getattr(session, end)()
    fresh = open_session(engine)
    found = [blobs_of(fresh.get_one(Member, ident).portrait) for ident in idents]
    assert found == ([[picture("blue")], [picture("red")]] if end == "commit" else [[picture("red")], []])
    assert_in_step(engine, store)
