"""What is registered by on_commit() is called after the outermost commit, and never otherwise."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import URL, Engine, String, create_engine, event, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker
from sqlalchemy.pool import NullPool

from sqlalchemy_imageattach.errors import InvalidTypeError, InvalidValueError
from sqlalchemy_imageattach.jobs import on_commit
from sqlalchemy_imageattach.testing import FaultyStore

from .conftest import MakeSession
from .helpers import Exploded, Stop, assert_in_step, picture
from .models import User, Vote
from .proxy import BreakingProxy
from .test_joining import MODES, JoinMode
from .test_two_phase import prepared_server  # noqa: F401 - a fixture


@pytest.fixture(params=["with a picture", "without", "without a statement"])
def work(request: pytest.FixtureRequest, store: FaultyStore) -> Callable[[Session], None]:
    """What the transaction does besides."""

    def do(session: Session) -> None:
        if request.param == "with a picture":
            user = User()
            user.picture.from_blob(picture())
            session.add(user)
            session.flush()
        elif request.param == "without":
            session.execute(select(User)).all()

    return do


# --- ends of transactions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [True, False], ids=["registered first", "registered last"])
def test_it_is_called_once_the_commit_is_visible_to_others(
    engine: Engine, work: Callable[[Session], None], first: bool, open_session: MakeSession
) -> None:
    seen: list[int] = []

    def look() -> None:
        with Session(engine) as other:
            seen.append(len(other.scalars(select(User)).all()))

    session = open_session(engine)
    if first:
        on_commit(session, look)
    session.add(User(name="Ann"))
    session.flush()
    if not first:
        on_commit(session, look)
    assert not seen
    session.commit()
    assert seen == [1]
    work(session)
    session.commit()
    assert seen == [1], "once, and not after the next transaction"


@pytest.mark.parametrize("end", ["rollback", "close", "reset", "invalidate", "exception", "garbage"])
def test_it_is_not_called_without_a_commit(engine: Engine, work: Callable[[Session], None], end: str) -> None:
    called: list[str] = []
    session = Session(engine)
    work(session)
    on_commit(session, partial(called.append, "no"))
    if end == "exception":
        with pytest.raises(Stop), session:
            raise Stop
    elif end == "garbage":
        session.connection().close()
        del session
        session = Session(engine)
    else:
        getattr(session, end)()
    with session:
        on_commit(session, partial(called.append, "yes"))
        session.commit()
    assert called == ["yes"]


@pytest.mark.parametrize("end", ["commit", "exception"])
def test_it_follows_a_begin_block(engine: Engine, work: Callable[[Session], None], end: str) -> None:
    called: list[str] = []
    session = Session(engine)
    try:
        with session, session.begin():
            work(session)
            on_commit(session, partial(called.append, "now"))
            assert not called
            if end == "exception":
                raise Stop
    except Stop:
        pass
    assert called == ["now"] * (end == "commit")


def test_sessionmaker_begin_calls_it(sqlite: Engine) -> None:
    called: list[str] = []
    with sessionmaker(sqlite).begin() as session:
        on_commit(session, partial(called.append, "now"))
    assert called == ["now"]


def test_after_a_refused_commit_it_is_not_called_and_the_next_transaction_starts_afresh(postgresql: Engine) -> None:
    called: list[str] = []
    with Session(postgresql) as session:
        session.add(Vote(user_id=4711))
        on_commit(session, partial(called.append, "first"))
        with pytest.raises(IntegrityError):
            session.commit()
        session.rollback()
        on_commit(session, partial(called.append, "second"))
        session.commit()
    assert called == ["second"]


def test_a_flush_that_fails_takes_it_along(sqlite: Engine) -> None:
    called: list[str] = []
    with Session(sqlite) as session:
        session.add_all([User(name="Ann"), User(name="Ann")])
        on_commit(session, partial(called.append, "no"))
        with pytest.raises(IntegrityError):
            session.commit()
        on_commit(session, partial(called.append, "no"))  # SQLAlchemy wants a rollback first
        session.rollback()
        session.commit()
    assert not called


# --- savepoints ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outer", ["commit", "rollback"])
def test_savepoints_keep_the_order_and_forget_what_is_rolled_back(
    engine: Engine, work: Callable[[Session], None], outer: str, open_session: MakeSession
) -> None:
    called: list[int] = []
    session = open_session(engine)
    on_commit(session, partial(called.append, 1))
    with session.begin_nested():
        work(session)
        on_commit(session, partial(called.append, 2))
        lost = session.begin_nested()
        on_commit(session, partial(called.append, 0))
        with session.begin_nested():
            on_commit(session, partial(called.append, 0))
        lost.rollback()
        with session.begin_nested():
            on_commit(session, partial(called.append, 3))
        assert not called
    on_commit(session, partial(called.append, 4))
    with pytest.raises(Stop), session.begin_nested():
        on_commit(session, partial(called.append, 0))
        raise Stop
    assert not called
    getattr(session, outer)()
    assert called == ([1, 2, 3, 4] if outer == "commit" else [])


def test_a_commit_from_within_a_savepoint_calls_all(sqlite: Engine, open_session: MakeSession) -> None:
    called: list[int] = []
    session = open_session(sqlite)
    on_commit(session, partial(called.append, 1))
    session.begin_nested()
    on_commit(session, partial(called.append, 2))
    session.commit()  # of the savepoint and of all around it
    assert called == [1, 2]


# --- what is called --------------------------------------------------------------------------------------------------


def test_an_error_is_logged_and_breaks_nobody_elses(
    engine: Engine, store: FaultyStore, caplog: pytest.LogCaptureFixture, open_session: MakeSession
) -> None:
    def fail() -> None:
        raise Stop

    called: list[str] = []
    session = open_session(engine)
    user = User(name="Ann")
    user.picture.from_blob(picture())
    session.add(user)
    on_commit(session, partial(called.append, "before"))
    on_commit(session, fail)
    on_commit(session, partial(called.append, "after"))
    session.commit()
    assert called == ["before", "after"]
    [record] = [record for record in caplog.records if record.name.endswith(".calls")]
    assert "fail" in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], Stop)
    assert_in_step(engine, store)
    assert user.name == "Ann", "the session goes on"


def test_a_store_that_fails_after_the_commit_hinders_no_call(
    sqlite: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    called: list[str] = []
    session = open_session(sqlite)
    user = User()
    user.picture.from_blob(picture("red"))
    session.add(user)
    session.commit()
    user.picture.from_blob(picture("blue"))
    on_commit(session, partial(called.append, "now"))
    store.fail("delete", error=Exploded("no"))
    session.commit()
    assert called == ["now"]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interruption_goes_on_its_way_after_the_others(
    sqlite: Engine, interruption: type[BaseException], open_session: MakeSession
) -> None:
    def interrupt() -> None:
        raise interruption

    called: list[str] = []
    session = open_session(sqlite)
    session.add(User(name="Ann"))
    on_commit(session, interrupt)
    on_commit(session, partial(called.append, "after"))
    with pytest.raises(interruption):
        session.commit()
    assert called == ["after"]
    assert session.scalars(select(User.name)).all() == ["Ann"]


def test_blobs_are_deleted_before_and_even_an_interruption_there_hinders_no_call(
    sqlite: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(sqlite)
    user = User()
    user.picture.from_blob(picture("red"))
    session.add(user)
    session.commit()
    seen: list[int] = []
    user.picture.from_blob(picture("blue"))
    on_commit(session, lambda: seen.append(len(store.blobs)))
    session.commit()
    assert seen == [1]
    user.picture.from_blob(picture("green"))
    on_commit(session, lambda: seen.append(len(store.blobs)))
    store.fail("delete", error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        session.commit()
    assert seen == [1, 2]


@pytest.mark.parametrize("block", [True, False], ids=["begin block", "commit()"])
def test_what_it_registers_for_the_same_session_is_called_too(engine: Engine, block: bool) -> None:
    called: list[int] = []

    def more() -> None:
        called.append(1)
        on_commit(session, partial(called.append, 3))

    session = Session(engine)
    if block:
        with session.begin():
            on_commit(session, more)
            on_commit(session, partial(called.append, 2))
    else:
        on_commit(session, more)
        on_commit(session, partial(called.append, 2))
        session.commit()
    assert called == [1, 2, 3]
    assert not session.in_transaction()
    session.close()


def test_it_can_open_sessions_that_register_calls_of_their_own(engine: Engine) -> None:
    called: list[str] = []

    def other_session() -> None:
        with Session(engine) as other:
            other.add(User(name="Bob"))
            on_commit(other, partial(called.append, "inner"))
            other.commit()
        called.append("outer")

    with Session(engine) as session:
        session.add(User(name="Ann"))
        on_commit(session, other_session)
        on_commit(session, partial(called.append, "last"))
        session.commit()
        assert sorted(session.scalars(select(User.name))) == ["Ann", "Bob"]  # type: ignore[type-var]
    assert called == ["inner", "outer", "last"]


def test_a_new_transaction_of_the_same_session_within_a_call_is_one_of_its_own(
    engine: Engine, open_session: MakeSession
) -> None:
    called: list[str] = []
    session = open_session(engine)

    def go_on(end: str) -> None:
        session.add(User(name=end))
        on_commit(session, partial(called.append, end))
        getattr(session, end)()

    on_commit(session, partial(go_on, "commit"))
    on_commit(session, partial(go_on, "rollback"))
    on_commit(session, partial(called.append, "last"))
    session.commit()
    assert called == ["commit", "last"]


@pytest.mark.parametrize("moment", ["before_commit", "after_commit", "after_flush"])
@pytest.mark.parametrize("savepoint", [False, True])
def test_listeners_of_the_application_can_register_calls(
    sqlite: Engine, moment: str, savepoint: bool, open_session: MakeSession
) -> None:
    called: list[str] = []
    session = open_session(sqlite)
    event.listen(session, moment, lambda own, *_: on_commit(own, partial(called.append, moment)))
    if savepoint:
        with session.begin_nested():
            session.add(User())
    session.add(User())
    assert not called
    session.commit()
    assert called
    assert set(called) == {moment}


# --- two phases, joined transactions, no transactions ----------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("end", ["commit", "rollback", "close"])
@pytest.mark.parametrize("database", ["prepared_server", "mariadb"])
def test_prepare_decides_nothing(request: pytest.FixtureRequest, database: str, when: str, end: str) -> None:
    called: list[str] = []
    with Session(request.getfixturevalue(database), twophase=True) as session:
        session.execute(text("SELECT 1"))
        if when == "before":
            on_commit(session, partial(called.append, "now"))
        session.prepare()
        if when == "after":
            on_commit(session, partial(called.append, "now"))
        assert not called
        getattr(session, end)()
    assert called == ["now"] * (end == "commit")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("within", ["transaction", "savepoint"])
@pytest.mark.parametrize("trusting", [False, True])
@pytest.mark.parametrize("first", [True, False], ids=["registered first", "registered last"])
def test_a_joined_session_calls_nothing_unless_it_is_told_to(
    engine: Engine, mode: JoinMode, within: str, trusting: bool, first: bool, caplog: pytest.LogCaptureFixture
) -> None:
    called: list[str] = []
    with engine.connect() as connection:
        transaction = connection.begin()
        if within == "savepoint":
            connection.begin_nested()
        info = {"image_calls_when_joined": True} if trusting else {}
        with Session(connection, join_transaction_mode=mode, info=info) as session:
            if first:
                on_commit(session, partial(called.append, "now"))
            session.execute(select(User)).all()
            if not first:
                on_commit(session, partial(called.append, "now"))
            session.commit()
        committed = mode == "control_fully" and within == "transaction"
        assert called == ["now"] * (committed or trusting)
        assert ("has joined an outer transaction" in caplog.text) == (not called)
        if transaction.is_active:
            transaction.rollback()


def test_a_joined_session_that_rolls_back_calls_nothing(engine: Engine) -> None:
    called: list[str] = []
    with engine.begin() as connection:
        for end in ("rollback", "close"):
            info = {"image_calls_when_joined": True}
            with Session(connection, join_transaction_mode="create_savepoint", info=info) as session:
                session.execute(select(User)).all()
                on_commit(session, partial(called.append, "no"))
                getattr(session, end)()
    assert not called


def test_a_session_on_a_connection_of_its_own_calls_it(engine: Engine) -> None:
    called: list[str] = []
    with engine.connect() as connection, Session(connection) as session:
        session.execute(select(User)).all()
        on_commit(session, partial(called.append, "now"))
        session.commit()
    assert called == ["now"]


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_in_autocommit_the_end_of_the_session_decides(server: Engine, end: str) -> None:
    called: list[str] = []
    with Session(server.execution_options(isolation_level="AUTOCOMMIT")) as session:
        session.execute(select(User)).all()
        on_commit(session, partial(called.append, "now"))
        getattr(session, end)()
    assert called == ["now"] * (end == "commit")


# --- doubt -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("committed", [True, False], ids=["was committed", "was not"])
@pytest.mark.parametrize("first", [True, False], ids=["registered first", "registered last"])
def test_if_the_answer_to_commit_is_lost_it_is_not_called_and_that_is_said(
    server: Engine, caplog: pytest.LogCaptureFixture, committed: bool, first: bool
) -> None:
    called: list[str] = []
    proxy = BreakingProxy(server.url, deliver=committed)
    engine = create_engine(proxy.url)
    with Session(engine) as session:
        if first:
            on_commit(session, partial(called.append, "no"))
        session.add(User())
        session.flush()
        if not first:
            on_commit(session, partial(called.append, "no"))
        proxy.armed = True
        with pytest.raises(DBAPIError):
            session.commit()
        proxy.armed = False
        session.rollback()
    engine.dispose()
    proxy.close()
    assert not called
    assert "1 calls that were to follow the transaction are not made" in caplog.text


@pytest.mark.parametrize("first", [True, False], ids=["before the error", "after the error"])
def test_a_commit_that_postgresql_turns_into_a_rollback_calls_nothing(
    postgresql: Engine, caplog: pytest.LogCaptureFixture, first: bool, open_session: MakeSession
) -> None:
    called: list[str] = []
    session = open_session(postgresql)
    session.add(User())
    session.flush()
    if first:
        on_commit(session, partial(called.append, "no"))
    with pytest.raises(DBAPIError):
        session.execute(text("SELECT 1 / 0"))
    if not first:
        on_commit(session, partial(called.append, "no"))
    session.commit()
    assert not session.scalars(select(User)).all()
    assert not called
    assert "may have undone it" in caplog.text


def test_an_error_within_a_savepoint_that_is_rolled_back_does_not_hinder_it(
    engine: Engine, open_session: MakeSession
) -> None:
    called: list[str] = []
    session = open_session(engine)
    on_commit(session, partial(called.append, "now"))
    with pytest.raises(DBAPIError), session.begin_nested():
        session.execute(text("SELECT * FROM tx_no_such_table"))
    session.commit()
    assert called == ["now"]


def test_what_a_broken_rollback_left_behind_is_not_called_later(
    server: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """SQLAlchemy does not tell the end of a transaction that close() cannot roll back."""
    called: list[str] = []
    proxy = BreakingProxy(server.url, deliver=True, trigger=b"ROLLBACK")
    engine = create_engine(proxy.url)
    session = Session(engine)
    session.execute(select(User)).all()
    on_commit(session, partial(called.append, "no"))
    proxy.armed = True
    with pytest.raises(DBAPIError):
        session.close()
    proxy.armed = False
    proxy.broken.clear()
    session.add(User())
    on_commit(session, partial(called.append, "yes"))
    session.commit()
    session.close()
    engine.dispose()
    proxy.close()
    assert called == ["yes"]
    assert "could not be rolled back in order" in caplog.text


# --- arguments -------------------------------------------------------------------------------------------------------


def test_what_is_no_session_or_no_function_is_refused(sqlite: Engine, open_session: MakeSession) -> None:
    async def later() -> None: ...

    for wrong in (None, sqlite, "session", Session, sessionmaker(sqlite)):
        with pytest.raises(InvalidTypeError, match="session: expected a Session"):
            on_commit(wrong, print)
    with pytest.raises(InvalidTypeError, match=r"functools\.partial"):
        on_commit(open_session(sqlite), 5)  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match="async function"):
        on_commit(open_session(sqlite), later)


def test_a_session_that_begins_nothing_by_itself_has_to_be_in_a_transaction(sqlite: Engine) -> None:
    called: list[str] = []
    with Session(sqlite, autobegin=False) as session:
        with pytest.raises(InvalidValueError, match="begin one"):
            on_commit(session, partial(called.append, "no"))
        with session.begin():
            on_commit(session, partial(called.append, "yes"))
    assert called == ["yes"]


def test_a_scoped_session_is_the_one_of_the_thread(sqlite: Engine) -> None:
    called: list[str] = []
    scoped = scoped_session(sessionmaker(sqlite))
    on_commit(scoped, partial(called.append, "now"))
    scoped.commit()
    assert called == ["now"]
    scoped.remove()


def test_a_session_with_the_info_of_another_one_has_calls_of_its_own(sqlite: Engine, open_session: MakeSession) -> None:
    called: list[str] = []
    one = open_session(sqlite)
    on_commit(one, partial(called.append, "one"))
    other = open_session(sqlite, info=one.info)
    on_commit(other, partial(called.append, "other"))
    other.commit()
    assert called == ["other"]
    one.commit()
    assert called == ["other", "one"]


def test_what_a_coroutine_is_needed_for_without_an_event_loop_is_logged(
    sqlite: Engine, caplog: pytest.LogCaptureFixture, open_session: MakeSession
) -> None:
    async def later() -> None: ...

    session = open_session(sqlite)
    on_commit(session, lambda: later())
    session.commit()
    assert "takes an AsyncSession" in caplog.text


# --- AsyncSession ----------------------------------------------------------------------------------------------------


class AsyncBase(DeclarativeBase):
    pass


class Note(AsyncBase):
    __tablename__ = "tx_note"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))


@pytest_asyncio.fixture(params=["sqlite+aiosqlite", "postgresql+asyncpg", "mysql+asyncmy"])
async def async_engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    if request.param.startswith("sqlite"):
        url = URL.create(request.param, database=str(tmp_path / "async.db"))
    else:
        name = "postgresql_url" if request.param.startswith("postgresql") else "mariadb_url"
        url = request.getfixturevalue(name).set(drivername=request.param)
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.run_sync(AsyncBase.metadata.create_all)
    yield engine
    async with engine.begin() as connection:
        await connection.run_sync(AsyncBase.metadata.drop_all)
    await engine.dispose()


@pytest.mark.asyncio
@pytest.mark.parametrize("end", ["commit", "rollback", "close"])
async def test_below_an_async_session_functions_run_in_a_thread_and_coroutines_in_the_loop(
    async_engine: AsyncEngine, end: str
) -> None:
    called: list[Any] = []

    async def later() -> None:
        async with AsyncSession(async_engine) as other:
            called.append((threading.current_thread(), (await other.scalars(select(Note.name))).all()))

    async with AsyncSession(async_engine) as session:
        on_commit(session, lambda: called.append(threading.current_thread()))
        session.add(Note(name="Ann"))
        async with session.begin_nested():
            on_commit(session, later)
            on_commit(session, lambda: later())
        on_commit(session.sync_session, partial(called.append, "last"))
        assert not called
        await getattr(session, end)()
    if end != "commit":
        assert not called
        return
    thread, *coroutines, last = called
    assert thread is not threading.current_thread()
    assert coroutines == [(threading.current_thread(), ["Ann"])] * 2
    assert last == "last"


@pytest.mark.asyncio
async def test_a_task_that_is_cancelled_in_a_call_makes_the_others_and_is_cancelled_then(
    async_engine: AsyncEngine,
) -> None:
    called: list[str] = []
    started = asyncio.Event()

    async def wait() -> None:
        started.set()
        await asyncio.Event().wait()

    async def other() -> None:
        called.append("async")

    async def main() -> None:
        async with AsyncSession(async_engine) as session:
            session.add(Note(name="Ann"))
            on_commit(session, wait)
            on_commit(session, partial(called.append, "plain"))
            on_commit(session, other)
            await session.commit()
            called.append("not cancelled")

    task = asyncio.create_task(main())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert called == ["plain", "async"]


@pytest.mark.asyncio
async def test_calls_of_an_async_session_can_register_more(async_engine: AsyncEngine) -> None:
    called: list[int] = []
    scoped = async_scoped_session(async_sessionmaker(async_engine), scopefunc=asyncio.current_task)

    async def more() -> None:
        on_commit(session, partial(called.append, 3))

    def still_more() -> None:
        on_commit(session, more)

    session = scoped()
    on_commit(scoped, still_more)
    on_commit(scoped, partial(called.append, 1))
    await scoped.commit()
    assert called == [1, 3]
    await scoped.remove()
