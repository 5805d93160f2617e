"""Two transactions at once.  Nobody's blob is deleted by another, and no picture is a mixture of two."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.context import store_context
from sqlalchemy_imageattach.entity import is_conflict
from sqlalchemy_imageattach.errors import BlobNotFoundError, ConcurrentReplacementError
from sqlalchemy_imageattach.testing import FaultyStore

from .conftest import MakeSession, server_engine, sqlite_engine
from .helpers import OTHER, SMALL, assert_in_step, blobs_of, picture, rows, wait_until_blocked
from .models import Base, Member, User

#: How often each pair of actions races.
RACES = int(os.environ.get("IMAGEATTACH_RACES", "4"))

#: What the loser of a race may be told.
TYPED = (ConcurrentReplacementError, DBAPIError)

Action = Callable[[Session, User], Any]


def replace(colour: str, size: tuple[int, int] = SMALL) -> Action:
    return lambda _session, user: user.picture.from_blob(picture(colour, size))


def thumbnail(_session: Session, user: User) -> None:
    user.picture.thumbnail(width=10)


def generate_thumbnail(_session: Session, user: User) -> None:
    user.picture.generate_thumbnail(width=10)


def clear(_session: Session, user: User) -> None:
    user.picture.clear()


def clear_and_replace(session: Session, user: User) -> None:
    user.picture.clear()
    session.flush()
    user.picture.from_blob(picture("white"))


def delete_owner(session: Session, user: User) -> None:
    session.delete(user)


def stored_user(engine: Engine) -> int:
    with Session(engine) as session:
        session.add(user := User())
        user.picture.from_blob(picture("red"))
        session.commit()
        return user.id


def loaded(session: Session, ident: int) -> User:
    user = session.get_one(User, ident)
    assert user.picture
    return user


def outcome_of(work: Callable[[], object]) -> BaseException | None:
    try:
        work()
    except TYPED as error:
        return error
    return None


def interleave(
    engine: Engine, store: FaultyStore, ident: int, first: Action, second: Action, end: Literal["commit", "rollback"]
) -> BaseException | None:
    """Both load the picture, then ``first`` is flushed, ``second`` waits for it, and ``first`` ends.

    Gives the error of the second one.
    """

    def run_second() -> None:
        with store_context(store), Session(engine) as session:
            user = loaded(session, ident)
            ready.set()
            go.wait()
            second(session, user)
            session.commit()

    ready, go = threading.Event(), threading.Event()
    with Session(engine) as session, ThreadPoolExecutor(1) as pool:
        user = loaded(session, ident)
        running = pool.submit(outcome_of, run_second)
        while not ready.wait(0.1):
            assert not running.done(), running.result()
        first(session, user)
        session.flush()
        go.set()
        wait_until_blocked(engine, or_else=running.done)
        getattr(session, end)()
        return running.result()


def check_picture(engine: Engine, ident: int, *expected: str) -> None:
    """Whatever happened, there is one original, of one of the colours, and its thumbnail is made from it."""
    with Session(engine) as session:
        user = session.get_one(User, ident)
        assert len([image for image in user.picture if image.original]) == 1
        assert user.picture.make_blob() in [picture(colour, user.picture.size) for colour in expected]


@pytest.mark.parametrize("sizes", [(SMALL, SMALL), (SMALL, OTHER), (OTHER, SMALL), (OTHER, OTHER)], ids=repr)
def test_of_two_replacements_the_second_is_told_that_it_lost(
    server: Engine, store: FaultyStore, sizes: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    ident = stored_user(server)
    first, second = replace("green", sizes[0]), replace("blue", sizes[1])
    error = interleave(server, store, ident, first, second, "commit")
    assert isinstance(error, ConcurrentReplacementError)
    check_picture(server, ident, "green")
    assert len(rows(server)) == 1
    assert_in_step(server, store)


@pytest.mark.parametrize("sizes", [(SMALL, SMALL), (SMALL, OTHER), (OTHER, SMALL), (OTHER, OTHER)], ids=repr)
def test_of_two_replacements_the_second_wins_if_the_first_is_rolled_back(
    server: Engine, store: FaultyStore, sizes: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    ident = stored_user(server)
    first, second = replace("green", sizes[0]), replace("blue", sizes[1])
    assert interleave(server, store, ident, first, second, "rollback") is None
    check_picture(server, ident, "blue")
    assert len(rows(server)) == 1
    assert_in_step(server, store)


@pytest.mark.parametrize("remove", [clear, delete_owner])
def test_a_replacement_of_what_is_removed_meanwhile_is_refused(
    server: Engine, store: FaultyStore, remove: Action
) -> None:
    ident = stored_user(server)
    error = interleave(server, store, ident, remove, replace("blue"), "commit")
    assert isinstance(error, TYPED)
    assert not rows(server)
    assert_in_step(server, store)


@pytest.mark.parametrize("remove", [clear, delete_owner])
def test_a_removal_of_what_is_replaced_meanwhile_is_refused(server: Engine, store: FaultyStore, remove: Action) -> None:
    ident = stored_user(server)
    error = interleave(server, store, ident, replace("blue"), remove, "commit")
    assert isinstance(error, ConcurrentReplacementError)
    check_picture(server, ident, "blue")
    assert_in_step(server, store)


@pytest.mark.parametrize("make", [thumbnail, generate_thumbnail])
@pytest.mark.parametrize("size", [SMALL, OTHER], ids=repr)
def test_a_thumbnail_of_what_is_replaced_meanwhile_is_refused(
    server: Engine, store: FaultyStore, make: Action, size: tuple[int, int]
) -> None:
    ident = stored_user(server)
    error = interleave(server, store, ident, replace("blue", size), make, "commit")
    assert isinstance(error, ConcurrentReplacementError)
    check_picture(server, ident, "blue")
    assert len(rows(server)) == 1
    assert_in_step(server, store)


@pytest.mark.parametrize("make", [thumbnail, generate_thumbnail])
@pytest.mark.parametrize("second", [replace("blue"), replace("blue", OTHER), clear_and_replace])
def test_a_replacement_of_what_is_thumbnailed_meanwhile_is_refused(
    server: Engine, store: FaultyStore, make: Action, second: Action
) -> None:
    """Otherwise the new picture would have the thumbnail of the former one."""
    ident = stored_user(server)
    error = interleave(server, store, ident, make, second, "commit")
    assert isinstance(error, ConcurrentReplacementError)
    check_picture(server, ident, "red")
    assert len(rows(server)) == 2
    assert_in_step(server, store)


@pytest.mark.parametrize("savepoint", ["around neither", "around clear()"])
def test_a_removal_finds_thumbnails_made_before_it(
    server: Engine, store: FaultyStore, open_session: MakeSession, savepoint: str
) -> None:
    """Nobody waits here: the thumbnail is committed between the load and the first flush."""
    ident = stored_user(server)
    session = open_session(server)
    user = loaded(session, ident)
    with Session(server) as other:
        loaded(other, ident).picture.thumbnail(width=10)
        other.commit()
    savepoint_or_not = session.begin_nested() if savepoint == "around clear()" else nullcontext()
    with pytest.raises(ConcurrentReplacementError), savepoint_or_not:
        user.picture.clear()
        session.flush()
    session.rollback()
    assert len(rows(server)) == 2
    assert_in_step(server, store)


def test_removing_an_owner_that_is_thumbnailed_meanwhile_is_refused(server: Engine, store: FaultyStore) -> None:
    ident = stored_user(server)
    error = interleave(server, store, ident, thumbnail, delete_owner, "commit")
    assert isinstance(error, TYPED)
    assert len(rows(server)) == 2
    assert_in_step(server, store)


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_of_two_who_ask_for_a_thumbnail_one_makes_it_and_the_other_finds_it(
    server: Engine, store: FaultyStore, end: Literal["commit", "rollback"]
) -> None:
    ident = stored_user(server)
    puts = store.count("put")
    assert interleave(server, store, ident, thumbnail, thumbnail, end) is None
    assert store.count("put") - puts == (1 if end == "commit" else 2)
    assert len(rows(server)) == 2
    assert_in_step(server, store)


def test_a_lock_taken_in_a_savepoint_that_was_rolled_back_is_taken_anew(server: Engine, store: FaultyStore) -> None:
    """PostgreSQL lets go of it at the rollback, so that others may have replaced the picture."""
    ident = stored_user(server)
    with Session(server) as session:
        user = loaded(session, ident)
        savepoint = session.begin_nested()
        thumbnail(session, user)
        savepoint.rollback()
        outcome = []
        if server.dialect.name == "postgresql":
            with Session(server) as other:
                loaded(other, ident).picture.from_blob(picture("blue"))
                other.commit()
        try:
            user.picture.thumbnail(width=10)
            session.commit()
        except ConcurrentReplacementError as error:
            outcome.append(error)
        else:
            assert server.dialect.name != "postgresql" or user.picture.make_blob() == picture("blue")
    check_picture(server, ident, "blue" if server.dialect.name == "postgresql" else "red")
    assert_in_step(server, store)


def test_the_blob_of_a_row_that_is_no_longer_true_is_a_conflict_and_no_loss(
    server: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    for change in (replace("blue"), replace("blue", OTHER), clear, delete_owner):
        ident = stored_user(server)
        session = open_session(server)
        user = loaded(session, ident)
        with Session(server) as other:
            change(other, loaded(other, ident))
            other.commit()
        image = user.picture.require_original()
        works: list[Callable[[], object]] = [
            image.make_blob,
            image.open_file,
            partial(user.picture.generate_thumbnail, width=9),
            partial(user.picture.thumbnail, width=9),
        ]
        for work in works:
            with pytest.raises(ConcurrentReplacementError):
                work()
        session.rollback()
    ident = stored_user(server)
    session = open_session(server)
    user = loaded(session, ident)
    for key in list(store.blobs):
        store.delete_key(key)
    with pytest.raises(BlobNotFoundError):
        user.picture.make_blob()


PAIRS: dict[str, tuple[Action, Action]] = {
    "replace, delete": (replace("green"), delete_owner),
    "replace, replace by another size": (replace("green"), replace("blue", OTHER)),
    "replace, clear": (replace("green"), clear),
    "delete, thumbnail": (delete_owner, thumbnail),
    "clear, thumbnail": (clear, generate_thumbnail),
    "the same task twice": (generate_thumbnail, generate_thumbnail),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_of_a_racing_pair_nobody_deadlocks_and_the_loser_is_told_of_a_conflict(
    server: Engine, store: FaultyStore, pair: str
) -> None:
    for _ in range(RACES):
        ident = stored_user(server)
        with Session(server) as session:
            loaded(session, ident).picture.generate_thumbnails([{"width": width} for width in (5, 6, 7, 8)])
            session.commit()
        errors = [error for error in race(server, store, ident, *PAIRS[pair]) if error is not None]
        assert len(errors) <= 1
        for error in errors:
            assert isinstance(error, ConcurrentReplacementError)
            assert is_conflict(error)
            assert "deadlock" not in str(error).lower()
        with Session(server) as session:
            if (user := session.get(User, ident)) is not None:
                session.delete(user)
                session.commit()
        assert_in_step(server, store)


# --- without any order -----------------------------------------------------------------------------------------------


def race(engine: Engine, store: FaultyStore, ident: int, *actions: Action) -> list[BaseException | None]:
    """All load the picture, and then act and commit at the same time."""
    barrier = threading.Barrier(len(actions))

    def run(action: Action) -> None:
        with store_context(store), Session(engine) as session:
            user = loaded(session, ident)
            barrier.wait()
            action(session, user)
            session.commit()

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(lambda action: outcome_of(lambda: run(action)), actions))


@pytest.mark.parametrize("isolation", [None, "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_racing_replacements_end_with_one_row_and_its_own_blob(
    server: Engine, store: FaultyStore, isolation: str | None
) -> None:
    engine = server_engine(server.url, isolation_level=isolation) if isolation else server
    ident = stored_user(server)
    for colours in (["green", "blue"], ["white", "black"], ["green", "blue"]):
        actions = [replace(colours[0], OTHER), replace(colours[1]), replace(colours[0])]
        outcomes = race(engine, store, ident, *actions)
        assert None in outcomes, "somebody wins"
        check_picture(server, ident, "red", *colours)
        assert len(rows(server)) == 1
        assert_in_step(server, store)
    if engine is not server:
        engine.dispose()


def test_two_first_pictures_of_an_owner_attached_at_once_keep_each_its_own_blob(
    server: Engine, store: FaultyStore
) -> None:
    """There is no row to lock yet.  Of the same size only one gets in; of two sizes both do, and the younger counts."""
    barrier = threading.Barrier(2)

    def run(ident: int, colour: str, size: tuple[int, int]) -> None:
        with store_context(store), Session(server) as session:
            user = session.get_one(User, ident)
            assert not user.picture
            barrier.wait()
            user.picture.from_blob(picture(colour, size))
            session.commit()

    for sizes in ((SMALL, SMALL), (SMALL, OTHER)):
        with Session(server) as session:
            session.add(user := User())
            session.commit()
            ident = user.id
        with ThreadPoolExecutor(2) as pool:
            jobs = [partial(run, ident, colour, size) for colour, size in zip(("green", "blue"), sizes, strict=True)]
            errors = [error for error in pool.map(outcome_of, jobs) if error is not None]
        assert len(errors) == (sizes[0] == sizes[1])
        for error in errors:
            assert isinstance(error, ConcurrentReplacementError)
            assert isinstance(error, IntegrityError), "it is the database's own as well"
            assert error.orig is not None
        with Session(server) as session:
            user = session.get_one(User, ident)
            assert len(user.picture) == 2 - len(errors)
            assert user.picture.require_original().created_at == max(image.created_at for image in user.picture)
        assert_in_step(server, store)


def test_racing_thumbnails_end_with_one_row_and_no_error(server: Engine, store: FaultyStore) -> None:
    for _ in range(4):
        ident = stored_user(server)
        assert race(server, store, ident, thumbnail, thumbnail, thumbnail, thumbnail) == [None] * 4
        with Session(server) as session:
            assert len(loaded(session, ident).picture) == 2
    assert_in_step(server, store)


def test_racing_thumbnails_and_replacements_never_mix(server: Engine, store: FaultyStore) -> None:
    for round_ in range(5):
        ident = stored_user(server)
        race(server, store, ident, thumbnail, replace("blue"), generate_thumbnail, replace("green", OTHER))
        check_picture(server, ident, "red", "blue", "green")
        with Session(server) as session:
            user = loaded(session, ident)
            original = user.picture.require_original()
            for image in user.picture:
                expected = user.picture.make_blob() if image is original else None
                assert (
                    image.make_blob() == expected
                    or abs(image.width / image.height - original.width / original.height) < 0.2
                ), f"round {round_}: a thumbnail of another picture"
    assert_in_step(server, store)


def test_transactions_of_different_owners_do_not_hinder_each_other(server: Engine, store: FaultyStore) -> None:
    """They are neighbours in the index, where MariaDB locks gaps as well as rows."""
    idents = [stored_user(server) for _ in range(4)]

    def work(ident: int) -> list[BaseException | None]:
        def once() -> None:
            with store_context(store), Session(server) as session:
                user = loaded(session, ident)
                barrier.wait()
                user.picture.from_blob(picture("blue", OTHER if user.picture.size == SMALL else SMALL))
                session.commit()

        return [outcome_of(once) for _ in range(5)]

    barrier = threading.Barrier(len(idents))
    with ThreadPoolExecutor(len(idents)) as pool:
        errors = [error for outcomes in pool.map(work, idents) for error in outcomes if error is not None]
    assert not errors
    assert_in_step(server, store)


def test_of_two_transactions_in_sqlite_the_second_is_told_that_it_is_locked(tmp_path: Path, store: FaultyStore) -> None:
    engine = sqlite_engine(tmp_path / "two.db", connect_args={"timeout": 0})
    Base.metadata.create_all(engine)
    ident = stored_user(engine)
    with Session(engine) as one, Session(engine) as two:
        users = loaded(one, ident), loaded(two, ident)
        users[0].picture.from_blob(picture("green"))
        one.flush()
        users[1].picture.from_blob(picture("blue"))
        with pytest.raises(OperationalError, match="locked"):
            two.flush()
        two.close()
        one.commit()
    check_picture(engine, ident, "green")
    assert_in_step(engine, store)
    with Session(engine) as one, Session(engine) as two:
        users = loaded(one, ident), loaded(two, ident)
        two.rollback()  # its transaction is over, but what it knows stays what it was
        users[0].picture.from_blob(picture("blue", OTHER))
        one.commit()
    check_picture(engine, ident, "blue")
    assert_in_step(engine, store)
    engine.dispose()


def test_in_sqlite_a_stale_picture_cannot_be_replaced(tmp_path: Path, store: FaultyStore) -> None:
    engine = sqlite_engine(tmp_path / "stale.db")
    Base.metadata.create_all(engine)
    ident = stored_user(engine)
    with Session(engine, expire_on_commit=False) as one, Session(engine) as two:
        user = loaded(one, ident)
        one.commit()
        loaded(two, ident).picture.from_blob(picture("green"))
        two.commit()
        user.picture.from_blob(picture("blue"))
        with pytest.raises(ConcurrentReplacementError):
            one.commit()
        one.rollback()
    check_picture(engine, ident, "green")
    assert_in_step(engine, store)
    engine.dispose()


def test_two_sessions_with_different_owners_leave_each_others_blobs_alone(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    if engine.dialect.name == "sqlite":
        one, two = open_session(engine), open_session(engine)
        for session, end in ((one, "commit"), (two, "rollback")):
            session.add(user := User())
            user.picture.from_blob(picture())
            session.flush()
            getattr(session, end)()
    else:
        one, two = open_session(engine), open_session(engine)
        for session in (one, two):
            session.add(user := User())
            user.picture.from_blob(picture())
            session.flush()
        two.rollback()
        one.commit()
    assert len(store.blobs) == 1
    assert_in_step(engine, store)


def test_legacy_pictures_replaced_at_once_are_those_of_their_rows(server: Engine, store: FaultyStore) -> None:
    """The last writer wins, and the row lock makes that one after the other."""
    with Session(server) as session:
        session.add(member := Member())
        member.portrait.from_blob(picture("red"))
        session.commit()
        ident = member.id

    def run(colour: str) -> None:
        with store_context(store), Session(server) as session:
            member = session.get_one(Member, ident)
            assert member.portrait
            barrier.wait()
            member.portrait.from_blob(picture(colour))
            session.commit()

    barrier = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        errors = list(pool.map(lambda colour: outcome_of(lambda: run(colour)), ["green", "blue"]))
    assert errors == [None, None]
    with Session(server) as session:
        [blob] = blobs_of(session.get_one(Member, ident).portrait)
    assert blob in (picture("green"), picture("blue"))
    assert_in_step(server, store)
