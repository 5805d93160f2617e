"""Which store is meant when none is named, and which one a blob is deleted from."""

from __future__ import annotations

import asyncio
import copy
import inspect
import io
import logging
import threading
from collections.abc import Iterator
from contextvars import Context, copy_context
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import StaticPool

from sqlalchemy_imageattach import context as context_module
from sqlalchemy_imageattach.context import (
    LocalProxyStore,
    current_store,
    get_current_context_id,
    get_current_store,
    pop_store_context,
    push_store_context,
    set_default_store,
    store_context,
)
from sqlalchemy_imageattach.errors import ContextError, InvalidTypeError
from sqlalchemy_imageattach.store import Store
from tests.onex import FourMethodStore

from .models import Base, User
from .support import CountingStore, picture


@pytest.fixture
def default() -> Iterator[CountingStore]:
    store = CountingStore()
    set_default_store(store)
    yield store
    set_default_store(None)


def attach(session: Session, **options: Any) -> User:
    user = User()
    session.add(user)
    user.picture.from_blob(picture(), **options)
    session.commit()
    return user


# --- the order -------------------------------------------------------------------------------------------------------


def test_the_argument_comes_before_the_context_the_session_and_the_default(
    engine: Engine, default: CountingStore
) -> None:
    argument, context, bound = CountingStore(), CountingStore(), CountingStore()
    stores = [argument, context, bound, default]
    with Session(engine, info={"image_store": bound}) as session:
        with store_context(context):
            attach(session, store=argument)
            assert [len(store) for store in stores] == [1, 0, 0, 0]
            attach(session)
            assert [len(store) for store in stores] == [1, 1, 0, 0]
        attach(session)
        assert [len(store) for store in stores] == [1, 1, 1, 0]
    with Session(engine) as session:
        attach(session)
        assert [len(store) for store in stores] == [1, 1, 1, 1]
        # the current store as an argument is no argument
        attach(session, store=current_store)
        assert [len(store) for store in stores] == [1, 1, 1, 2]


@pytest.mark.parametrize("kind", ["sessionmaker", "scoped_session", "Session"])
def test_a_session_bound_to_a_store_needs_no_context(engine: Engine, store: CountingStore, kind: str) -> None:
    info = {"image_store": store}
    factory: Any = {
        "sessionmaker": lambda: sessionmaker(engine, info=info)(),
        "scoped_session": lambda: scoped_session(sessionmaker(engine, info=info)),
        "Session": lambda: Session(engine, info=info),
    }[kind]
    session = factory()
    user = attach(session)
    user.picture.generate_thumbnail(width=10)
    session.commit()
    assert user.picture.find_thumbnail(width=10).locate().startswith("memory:///")
    assert user.picture.make_blob() == picture()
    session.delete(user)
    session.commit()
    assert store.calls["put"] == store.calls["delete"] == 2
    session.close()


def test_an_async_session_bound_to_a_store_needs_no_context(store: CountingStore) -> None:
    async def program() -> None:
        engine = create_async_engine("sqlite+aiosqlite://", poolclass=StaticPool)
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        sessions = async_sessionmaker(engine, expire_on_commit=False, info={"image_store": store})
        async with sessions() as session:
            user = User()
            session.add(user)
            await user.picture.afrom_blob(picture())
            await session.commit()
            assert user.picture.locate().startswith("memory:///")
            assert await user.picture.amake_blob() == picture()
        await engine.dispose()

    Context().run(asyncio.run, program())
    assert len(store) == 1


def test_a_picture_attached_before_its_owner_is_in_a_session_goes_to_the_store_of_that(
    engine: Engine, default: CountingStore
) -> None:
    bound = CountingStore()
    user = User()
    user.picture.from_blob(picture())
    with Session(engine, info={"image_store": bound}) as session:
        session.add(user)
        session.commit()
        assert (len(default), len(bound)) == (0, 1)


def test_the_default_can_be_taken_away(default: CountingStore) -> None:
    assert get_current_store() is default
    set_default_store(None)
    with pytest.raises(ContextError):
        get_current_store()


# --- contexts --------------------------------------------------------------------------------------------------------


def test_contexts_nest_and_give_back_the_former_one() -> None:
    outer, inner = CountingStore(), CountingStore()
    with store_context(outer) as entered:
        assert entered is outer is get_current_store()
        with store_context(inner):
            assert get_current_store() is inner
        assert get_current_store() is outer
    with pytest.raises(ContextError):
        get_current_store()


def test_a_context_ends_when_its_block_raises() -> None:
    with pytest.raises(ZeroDivisionError), store_context(CountingStore()):
        _ = 1 / 0
    with pytest.raises(ContextError):
        get_current_store()


def test_a_context_ends_as_it_began_whatever_was_pushed_within() -> None:
    outer = CountingStore()
    with store_context(outer):
        with store_context(CountingStore()):
            push_store_context(CountingStore())
        assert get_current_store() is outer


def test_contexts_can_be_pushed_and_popped_by_hooks() -> None:
    first, second = CountingStore(), CountingStore()
    push_store_context(first)
    push_store_context(second)
    assert get_current_store() is second
    assert pop_store_context() is second
    assert pop_store_context() is first
    with pytest.raises(ContextError, match=r"pop_store_context\(\) without a push_store_context\(\) before it"):
        pop_store_context()


def test_threads_do_not_see_the_contexts_of_others() -> None:
    seen: list[object] = []

    def look() -> None:
        try:
            seen.append(get_current_store())
        except ContextError:
            seen.append(None)

    with store_context(CountingStore()) as store:
        for target in (look, partial(copy_context().run, look)):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
    assert seen == [None, store]


def test_tasks_have_contexts_of_their_own() -> None:
    async def task(own: Store, outer: Store) -> None:
        assert get_current_store() is outer
        with store_context(own):
            await asyncio.sleep(0)
            assert get_current_store() is own
            await asyncio.sleep(0)
        assert get_current_store() is outer

    async def program() -> None:
        with store_context(CountingStore()) as outer:
            await asyncio.gather(*(task(CountingStore(), outer) for _ in range(5)))

    asyncio.run(program())


def test_the_current_store_is_a_proxy_of_the_one_that_is_current(session: Session, store: CountingStore) -> None:
    user = attach(session)
    image = user.picture.require_original()
    assert isinstance(current_store, LocalProxyStore)
    assert current_store == store
    assert current_store.locate(image) == store.locate(image)
    assert current_store.open(image).read() == picture()
    assert current_store.get_url(image.object_type, image.object_id, 60, 40, "image/png") == store.get_url(
        image.object_type, image.object_id, 60, 40, "image/png"
    )
    assert repr(current_store) == "sqlalchemy_imageattach.context.current_store"
    assert user.picture.locate(current_store) == user.picture.locate()
    current_store.delete(image)
    assert not store.blobs


def test_a_context_of_a_proxy_is_one_of_the_store_behind_it() -> None:
    with store_context(CountingStore()) as store:
        with store_context(current_store):
            assert get_current_store() is store
        with store_context(LocalProxyStore(lambda: store, "it")) as entered:
            assert get_current_store() is store is entered


PUBLIC = [name for name, value in vars(Store).items() if inspect.isfunction(value) and not name.startswith("_")]


@pytest.mark.parametrize("name", PUBLIC)
def test_a_proxy_hands_on_every_method_of_a_store(name: str) -> None:
    calls: list[Any] = []

    def method(self: Any, *args: Any, **kwargs: Any) -> None:
        calls.append((self, args, kwargs))

    given = [
        p for p in list(inspect.signature(getattr(Store, name)).parameters.values())[1:] if p.kind != p.VAR_KEYWORD
    ]
    args = tuple(object() for p in given if p.kind == p.POSITIONAL_OR_KEYWORD)
    kwargs = {p.name: object() for p in given if p.kind == p.KEYWORD_ONLY}
    if name == "is_same_place":  # the wrapper asks with the store itself in place of the other one
        kwargs, args = {}, (CountingStore(),)
    store = type("Recorder", (Store,), {name: method})()
    getattr(LocalProxyStore(lambda: store), name)(*args, **kwargs)
    ((called, got, by_name),) = calls
    assert called is store
    assert (*got, *by_name.values()) == (*args, *kwargs.values())


def test_a_proxy_has_the_attributes_of_its_store_too() -> None:
    store = CountingStore()
    proxy: Any = LocalProxyStore(lambda: store)
    assert proxy.base_url == "memory:///"
    assert hash(proxy) == hash(store)
    assert copy.copy(proxy) == store
    with pytest.raises(AttributeError):
        _ = proxy.no_such_attribute
    nothing = LocalProxyStore(get_current_store)
    assert nothing == nothing
    assert nothing != store


def test_a_proxy_of_ones_own_shows_as_it_is_told_to() -> None:
    store = CountingStore()
    assert repr(LocalProxyStore(lambda: store, "mine")) == "mine"
    assert repr(LocalProxyStore(lambda: store)) == repr(store)


def test_names_that_make_no_sense_any_more_warn() -> None:
    with pytest.warns(DeprecationWarning, match="contexts have no identifiers any more"):
        identifier = get_current_context_id()
    with store_context(CountingStore()) as store:
        with pytest.warns(DeprecationWarning, match="context_stacks is a read-only view"):
            stacks: Any = context_module.context_stacks
        assert stacks == {identifier: [store]}
    with pytest.raises(AttributeError, match="has no attribute 'stacks'"):
        _ = context_module.stacks


# --- deleting --------------------------------------------------------------------------------------------------------


def test_a_blob_is_deleted_from_the_store_that_is_known_to_have_it(engine: Engine) -> None:
    mine, current = CountingStore(), CountingStore()
    with Session(engine) as session, store_context(current):
        user = User()
        session.add(user)
        original = user.picture.from_blob(picture(), store=mine)
        session.commit()
        session.delete(user)
        session.commit()
        assert original not in session
    assert mine.calls == {"put": 1, "delete": 1}
    assert not current.calls


def test_a_store_is_known_to_have_a_blob_that_was_read_from_it(engine: Engine) -> None:
    mine, current = CountingStore(), CountingStore()
    with Session(engine) as session:
        attach(session, store=mine)
    with Session(engine) as session, store_context(current):
        user = session.get_one(User, 1)
        original = user.picture.require_original()
        assert user.picture.make_blob(mine) == picture()
        session.delete(user)
        session.commit()
        assert original not in session
    assert mine.calls["delete"] == 1
    assert not current.calls


def test_a_replaced_picture_is_deleted_from_the_store_that_is_said_to_have_it(engine: Engine) -> None:
    mine, current = CountingStore(), CountingStore()
    with Session(engine) as session:
        attach(session, store=mine)
    with Session(engine) as session, store_context(current):
        session.get_one(User, 1).picture.from_blob(picture(20, 20), store=mine)
        session.commit()
        assert len(mine) == 1
        session.get_one(User, 1).picture.clear(store=mine)
        session.commit()
        assert not mine.blobs
    assert not current.calls


def test_a_blob_that_the_current_store_does_not_have_is_warned_about(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    mine, current = CountingStore(), CountingStore()
    with Session(engine) as session:
        attach(session, store=mine)
    with caplog.at_level(logging.WARNING), Session(engine) as session, store_context(current):
        session.delete(session.get_one(User, 1))
        session.commit()
    (record,) = caplog.records
    assert record.name.startswith("sqlalchemy_imageattach.")
    assert "does not have it; if it lives in another store" in record.getMessage()
    assert len(mine) == 1


def test_a_store_with_a_length_is_a_store_even_while_it_is_empty(engine: Engine) -> None:
    class Sized(FourMethodStore):
        def __len__(self) -> int:
            return len(self.blobs)

    mine, current = Sized(), CountingStore()
    with Session(engine, info={"image_store": mine}) as session:
        user = User()
        session.add(user)
        original = user.picture.from_blob(picture())
        assert not mine
        session.commit()
        with store_context(current):
            mine.blobs.clear()
            small = user.picture.from_raw_file(io.BytesIO(picture(30, 20)), mine, original=False)
            session.commit()
            assert len(mine) == 1
            mine.blobs.clear()
            session.delete(user)
            session.commit()
        assert original not in session
        assert small not in session
    assert not current.calls


def test_without_any_store_nothing_is_deleted_and_the_flush_says_why(engine: Engine) -> None:
    mine = CountingStore()
    with Session(engine) as session:
        attach(session, store=mine)
    with Session(engine) as session:
        session.delete(session.get_one(User, 1))
        with pytest.raises(ContextError, match="no image store is set"):
            session.commit()
        session.rollback()
        assert session.get_one(User, 1).picture.make_blob(mine) == picture()


def test_a_store_without_revisions_is_found_out_by_its_class() -> None:
    class Old(Store):
        def put_file(self, *args: Any) -> None: ...

    assert not Old.accepts_revision
    assert CountingStore.accepts_revision
    with store_context(Old()):
        assert not current_store.accepts_revision
    with store_context(CountingStore()):
        assert current_store.accepts_revision


def test_an_async_session_sees_the_store_of_the_task_that_uses_it(store: CountingStore) -> None:
    async def program() -> None:
        engine = create_async_engine("sqlite+aiosqlite://", poolclass=StaticPool)
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        user = User()
        with store_context(store):
            async with AsyncSession(engine) as session:
                session.add(user)
                await user.picture.afrom_blob(picture())
                await session.commit()
        await engine.dispose()

    asyncio.run(program())
    assert len(store) == 1


def test_what_is_no_store_is_not_entered() -> None:
    with pytest.raises(InvalidTypeError), store_context(object()):  # type: ignore[arg-type]
        raise AssertionError
    with pytest.raises(ContextError):
        get_current_store()
