"""Stores that fail, several stores in one transaction, and stores of the old kind."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.context import store_context
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.testing import FaultyStore
from tests.onex import FourMethodStore

from .conftest import MakeSession
from .helpers import OTHER, SMALL, Exploded, assert_in_step, blobs_of, new_store, picture, rows
from .models import Base, User

ROOT = Path(__file__).parents[2]


def attached(session: Session, *colours: str, store: FaultyStore | None = None) -> list[User]:
    users = [User(name=colour) for colour in colours]
    for user, colour in zip(users, colours, strict=True):
        user.picture.from_blob(picture(colour), store=store)
    session.add_all(users)
    return users


# --- that fail -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "midway", "after"])
@pytest.mark.parametrize("on", [1, 2, 3, None])
def test_a_put_that_raises_leaves_neither_row_nor_blob(
    engine: Engine, store: FaultyStore, open_session: MakeSession, when: str, on: int | None
) -> None:
    """Also if it has stored the blob all the same."""
    session = open_session(engine)
    attached(session, "red", "green", "blue")
    store.fail("put", on=on, when=when, error=Exploded("no"))  # type: ignore[arg-type]
    with pytest.raises(Exploded):
        session.commit()
    assert store.count("put") == 3, "the others are not interrupted"
    session.rollback()
    assert not store.blobs
    assert_in_step(engine, store)


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_delete_that_raises_is_logged_and_left_for_the_sweeper(
    engine: Engine, store: FaultyStore, open_session: MakeSession, caplog: pytest.LogCaptureFixture, end: str
) -> None:
    session = open_session(engine)
    [user] = attached(session, "red")
    session.commit()
    former = set(store.blobs)
    user.picture.from_blob(picture("blue"))
    session.flush()
    new = set(store.blobs) - former
    store.fail("delete", error=Exploded("out of reach"))
    getattr(session, end)()  # raises nothing
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    left = former if end == "commit" else new
    assert repr(next(iter(left))) in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], Exploded)
    assert_in_step(engine, store, left=left)


def test_of_many_deletes_only_those_that_raise_are_left(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    users = attached(session, "red", "green", "blue", "white")
    session.commit()
    store.fail("delete", on=1, when="before")
    store.fail("delete", on=2, when="after")
    store.fail("delete", on=3, error=RuntimeError("not even an OSError"))
    for user in users:
        session.delete(user)
    session.commit()
    assert len(store.blobs) == 2
    assert_in_step(engine, store, left=set(store.blobs))


def test_if_neither_put_nor_delete_works_the_error_of_put_is_raised(
    engine: Engine, store: FaultyStore, open_session: MakeSession, caplog: pytest.LogCaptureFixture
) -> None:
    session = open_session(engine)
    attached(session, "red", "green")
    store.fail("put", on=2, when="after", error=Exploded("put"))
    store.fail("delete", error=Exploded("delete"))
    with pytest.raises(Exploded, match="put"):
        session.commit()
    session.rollback()
    assert "left" in caplog.text
    assert_in_step(engine, store, left=set(store.blobs))
    assert len(store.blobs) == 2


def test_an_interrupted_put_cleans_up_as_well(engine: Engine, store: FaultyStore, open_session: MakeSession) -> None:
    session = open_session(engine)
    attached(session, "red", "green")
    store.fail("put", on=2, when="after", error=KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        session.commit()
    session.close()
    assert_in_step(engine, store)


def test_ctrl_c_during_a_deletion_is_heard_and_the_others_are_deleted(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    users = attached(session, "red", "green")
    session.commit()
    store.fail("delete", on=1, error=KeyboardInterrupt)
    for user in users:
        session.delete(user)
    with pytest.raises(KeyboardInterrupt):
        session.commit()
    session.close()
    assert len(store.blobs) == 1
    assert_in_step(engine, store, left=set(store.blobs))


AT_EXIT = """
import atexit, sys
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from sqlalchemy_imageattach.context import set_default_store
from tests.transactions.helpers import new_store, picture, assert_in_step
from tests.transactions.models import Base, User

store, engine = new_store(), create_engine("sqlite://")
set_default_store(store)
Base.metadata.create_all(engine)
session = Session(engine)
users = [User() for _ in range(3)]
for user in users:
    user.picture.from_blob(picture("red"))
session.add_all(users)
session.commit()
for user in users:
    user.picture.from_blob(picture("blue"))
session.flush()

@atexit.register
def late():
    session.commit()
    assert_in_step(engine, store)
    print("in step")
"""


def test_a_commit_while_the_interpreter_shuts_down_raises_nothing() -> None:
    """No thread can be started any more then."""
    child = subprocess.run([sys.executable, "-c", AT_EXIT], cwd=ROOT, capture_output=True, text=True)
    assert (child.stdout, child.stderr) == ("in step\n", "")


def test_a_commit_while_the_event_loop_shuts_down_raises_nothing(
    tmp_path: Path, store: FaultyStore, caplog: pytest.LogCaptureFixture
) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'async.db'}")

    async def shut_down_in_between() -> None:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with AsyncSession(engine, expire_on_commit=False) as session:
            user = User()
            await user.picture.afrom_blob(picture("red"))
            session.add(user)
            await session.commit()
            await user.picture.afrom_blob(picture("blue"))
            await session.flush()
            await asyncio.get_running_loop().shutdown_default_executor()
            await session.commit()
        await engine.dispose()

    asyncio.run(shut_down_in_between())
    assert "left for the sweeper" in caplog.text
    former = [key for key, blob in store.blobs.items() if blob == picture("red")]
    sync = create_engine(f"sqlite:///{tmp_path / 'async.db'}")
    assert_in_step(sync, store, left=former)
    sync.dispose()


# --- several ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["commit", "rollback", "close"])
def test_each_blob_goes_to_and_from_its_own_store(
    engine: Engine, store: FaultyStore, open_session: MakeSession, end: str
) -> None:
    here, there = store, new_store()
    session = open_session(engine)
    attached(session, "red", store=here)
    attached(session, "blue", store=there)
    session.flush()
    assert (len(here.blobs), len(there.blobs)) == (1, 1)
    getattr(session, end)()
    assert_in_step(engine, here, there)
    assert (len(here.blobs), len(there.blobs)) == ((1, 1) if end == "commit" else (0, 0))


@pytest.mark.parametrize("end", ["commit", "rollback", "close"])
def test_a_picture_moves_to_another_store_by_being_replaced(
    engine: Engine, store: FaultyStore, open_session: MakeSession, end: str
) -> None:
    there = new_store()
    session = open_session(engine)
    [user] = attached(session, "red")
    session.commit()
    user.picture.from_blob(picture("blue"), store=there)
    session.flush()
    getattr(session, end)()
    assert_in_step(engine, store, there)
    assert (len(store.blobs), len(there.blobs)) == ((0, 1) if end == "commit" else (1, 0))


def test_a_store_that_fails_takes_the_blobs_of_the_others_along(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    there = new_store()
    session = open_session(engine)
    attached(session, "red")
    attached(session, "blue", store=there)
    there.fail("put")
    with pytest.raises(OSError, match="told to fail"):
        session.commit()
    session.rollback()
    assert_in_step(engine, store, there)


def test_what_was_removed_with_another_store_and_rolled_back_is_removed_from_its_own(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    """The store that an attempt named, which was rolled back, has no say in the next one."""
    there = new_store()
    session = open_session(engine)
    attached(session, "red")
    session.commit()
    session.expunge_all()
    user = session.query(User).one()  # now nobody knows which store has the blob
    user.picture.from_blob(picture("blue"), store=there)
    session.rollback()
    user.picture = []  # type: ignore[assignment]
    session.commit()
    assert_in_step(engine, store, there)
    assert not store.blobs


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_without_a_current_store_the_one_that_is_passed_is_enough(
    engine: Engine, open_session: MakeSession, end: str
) -> None:
    only = new_store()
    with open_session(engine) as session:
        attached(session, "red", store=only)
        session.commit()
    session = open_session(engine)
    session.query(User).one().picture.from_blob(picture("blue"), store=only)
    session.flush()
    getattr(session, end)()
    assert list(only.blobs.values()) == [picture("blue" if end == "commit" else "red")]
    assert_in_step(engine, only)


class Taciturn(MemoryStore):
    """Cannot tell whether it had what it has deleted."""

    def delete_file(self, *args: Any, **kwargs: Any) -> None:
        super().delete_file(*args, **kwargs)


def test_where_a_store_cannot_tell_the_other_one_is_asked_too(engine: Engine, open_session: MakeSession) -> None:
    here, there = Taciturn(), Taciturn()
    session = open_session(engine)
    with store_context(here):
        attached(session, "red")
        session.commit()
        session.expunge_all()
        session.query(User).one().picture.from_blob(picture("blue"), store=there)
        session.commit()
    assert not here.blobs
    assert_in_step(engine, here, there)


def test_a_blob_that_was_not_where_it_was_sought_is_reported(
    engine: Engine, store: FaultyStore, open_session: MakeSession, caplog: pytest.LogCaptureFixture
) -> None:
    there = new_store()
    session = open_session(engine)
    [user] = attached(session, "red")
    session.commit()
    session = open_session(engine)  # the one that has written it knows better
    with store_context(there):
        session.delete(session.query(User).one())
        session.commit()
    assert "another store" in caplog.text
    assert_in_step(engine, store, there, left=set(store.blobs))


class Counted(FourMethodStore):
    """An empty one is false."""

    def __len__(self) -> int:
        return len(self.blobs)


def test_a_store_that_is_false_while_empty_is_a_store(engine: Engine, open_session: MakeSession) -> None:
    here, there = Counted(), Counted()
    session = open_session(engine, expire_on_commit=False)
    with store_context(here):
        user = User()
        user.picture.from_blob(picture(), store=there)
        session.add(user)
        session.commit()
        [key] = there.blobs
        there.blobs.clear()
        here.blobs[key] = b"of somebody else"  # a key without a revision says nothing of whose it is
        session.delete(user)
        session.commit()
    assert here.blobs == {key: b"of somebody else"}


# --- of the old kind: places that are written more than once ---------------------------------------------------------


@pytest.fixture
def old() -> FaultyStore:
    return FaultyStore(FourMethodStore())


@pytest.mark.parametrize("end", ["commit", "rollback", "close"])
@pytest.mark.parametrize("sizes", [[SMALL], [OTHER], [SMALL, SMALL], [OTHER, SMALL]], ids=repr)
@pytest.mark.parametrize("in_savepoint", ["no", "released", "rolled back"])
def test_a_store_without_revisions_follows_its_rows(
    engine: Engine,
    old: FaultyStore,
    open_session: MakeSession,
    end: str,
    sizes: list[tuple[int, int]],
    in_savepoint: str,
) -> None:
    session = open_session(engine)
    with store_context(old):
        user = User()
        user.picture.from_blob(picture("red"))
        session.add(user)
        session.commit()
        ident = user.id
        last = picture("red")
        for colour, size in zip(["green", "blue"], sizes, strict=False):
            user.picture.from_blob(picture(colour, size))
            session.flush()
            last = picture(colour, size)
        if in_savepoint != "no":
            savepoint = session.begin_nested()
            user.picture.from_blob(picture("white"))
            session.flush()
            savepoint.commit() if in_savepoint == "released" else savepoint.rollback()
            last = picture("white") if in_savepoint == "released" else last
        getattr(session, end)()
        fresh = open_session(engine).get_one(User, ident)
        assert blobs_of(fresh.picture) == [last if end == "commit" else picture("red")]
        assert_in_step(engine, old)


def test_a_store_without_revisions_that_fails_keeps_what_was_there(
    engine: Engine, old: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    with store_context(old):
        [user, other] = attached(session, "red", "green")
        session.commit()
        former = old.blobs.copy()
        for number in (1, 2):
            with session.no_autoflush:
                user.picture.from_blob(picture("blue"))
                other.picture.from_blob(picture("white"))
            old.fail("put", on=number, when="before")
            with pytest.raises(OSError, match="told to fail"):
                session.commit()
            session.rollback()
            old.heal()
            assert old.blobs == former
    assert_in_step(engine, old)


@pytest.mark.parametrize("error", [Exploded("timeout"), RuntimeError("timeout"), OSError(110, "timed out")], ids=repr)
def test_what_cannot_be_read_is_not_written_over(
    engine: Engine, old: FaultyStore, open_session: MakeSession, error: Exception
) -> None:
    """Otherwise nothing could bring it back."""
    session = open_session(engine)
    with store_context(old):
        [user] = attached(session, "red")
        session.commit()
        user.picture.from_blob(picture("blue"))
        old.fail("get", error=error)
        # what is no OSError is no answer of a store, and becomes one that says so
        with pytest.raises(OSError if type(error) is RuntimeError else type(error), match="time"):
            session.commit()
        session.rollback()
        old.heal()
        assert blobs_of(user.picture) == [picture("red")]
    assert_in_step(engine, old)
    assert len(rows(engine)) == 1
