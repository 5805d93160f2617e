from __future__ import annotations

import asyncio
import contextvars
import copy
import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import greenlet  # type: ignore[import-untyped]
import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, sessionmaker

from sqlalchemy_imageattach import context
from sqlalchemy_imageattach.context import (
    ContextError,
    LocalProxyStore,
    current_store,
    find_store,
    get_current_context_id,
    get_current_store,
    pop_store_context,
    push_store_context,
    set_default_store,
    store_context,
)
from sqlalchemy_imageattach.errors import InvalidTypeError
from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.store import Store
from sqlalchemy_imageattach.stores.memory import MemoryStore

KEY = ImageKey("user-picture", 7, 640, 480, "image/jpeg", "Xk3v9QpLm2w")

# what runs in a context of its own neither disturbs other tests nor is disturbed by them
pytestmark = pytest.mark.usefixtures("no_default_store")


@pytest.fixture
def no_default_store() -> Iterator[None]:
    set_default_store(None)
    yield
    set_default_store(None)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore("memory:///first")


@pytest.fixture
def other() -> MemoryStore:
    return MemoryStore("memory:///second")


def _current() -> Store | None:
    try:
        return get_current_store()
    except ContextError:
        return None


# --- store_context ---------------------------------------------------------------------------------------------------


def test_within_the_block_the_store_is_the_current_one(store: MemoryStore) -> None:
    with store_context(store) as entered:
        assert entered is store
        assert get_current_store() is store
    assert _current() is None


def test_blocks_can_be_nested(store: MemoryStore, other: MemoryStore) -> None:
    with store_context(store):
        with store_context(other):
            assert get_current_store() is other
            with store_context(store):
                assert get_current_store() is store
            assert get_current_store() is other
        assert get_current_store() is store


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_a_block_that_raises_leaves_no_store_behind(store: MemoryStore, error: type[BaseException]) -> None:
    with pytest.raises(error), store_context(store):
        raise error
    assert _current() is None


def test_a_block_that_forgets_to_pop_leaves_no_store_behind(store: MemoryStore, other: MemoryStore) -> None:
    with store_context(store):
        push_store_context(other)
    assert _current() is None


def test_a_block_that_pops_too_much_does_not_disturb_what_is_around(store: MemoryStore, other: MemoryStore) -> None:
    with store_context(store):
        with store_context(other):
            pop_store_context()
            pop_store_context()
        assert get_current_store() is store


def test_decorates_functions_too(store: MemoryStore) -> None:
    @store_context(store)
    def view() -> Store:
        return get_current_store()

    assert view() is view() is store
    assert _current() is None


@pytest.mark.parametrize("wrong", [None, "fs", MemoryStore, 42])
@pytest.mark.parametrize("operation", [push_store_context, find_store, lambda wrong: store_context(wrong).__enter__()])
def test_what_is_no_store_is_refused(operation: Any, wrong: Any) -> None:
    if operation is find_store and wrong is None:
        pytest.raises(ContextError, operation, wrong)  # none is not a wrong one
        return
    with pytest.raises(InvalidTypeError, match="expected a store"):
        operation(wrong)
    assert _current() is None


# --- push and pop ----------------------------------------------------------------------------------------------------


def test_push_and_pop_are_a_stack(store: MemoryStore, other: MemoryStore) -> None:
    push_store_context(store)
    push_store_context(other)
    assert get_current_store() is other
    assert pop_store_context() is other
    assert get_current_store() is store
    assert pop_store_context() is store
    assert _current() is None


def test_popping_from_nothing_is_an_error_that_says_so() -> None:
    with pytest.raises(ContextError, match=r"without a push_store_context\(\)"):
        pop_store_context()


# --- separate flows of control ---------------------------------------------------------------------------------------


def test_threads_do_not_see_each_others_stores(store: MemoryStore) -> None:
    with store_context(store), ThreadPoolExecutor(1) as pool:
        assert pool.submit(_current).result() is None


def test_threads_with_stores_of_their_own_do_not_mix() -> None:
    stores = [MemoryStore(f"memory:///{number}") for number in range(8)]
    meeting = threading.Barrier(len(stores), timeout=60)

    def work(store: Store) -> set[Store]:
        seen = set()
        for _ in range(20):
            with store_context(store):
                meeting.wait()
                seen.add(get_current_store())
        return seen

    with ThreadPoolExecutor(len(stores)) as pool:
        assert list(pool.map(work, stores)) == [{store} for store in stores]


def test_tasks_with_stores_of_their_own_do_not_mix() -> None:
    async def work(store: Store, turn: asyncio.Barrier) -> bool:
        with store_context(store):
            for _ in range(3):
                await turn.wait()
                assert get_current_store() is store
        return _current() is None

    async def main() -> list[bool]:
        turn = asyncio.Barrier(5)
        return await asyncio.gather(*(work(MemoryStore(), turn) for _ in range(5)))

    assert asyncio.run(main()) == [True] * 5


def test_a_task_begins_with_the_store_of_the_one_that_started_it(store: MemoryStore, other: MemoryStore) -> None:
    async def work() -> Store:
        before = get_current_store()
        push_store_context(other)
        return before

    async def main() -> tuple[Store, Store]:
        with store_context(store):
            before = await asyncio.create_task(work())
            return before, get_current_store()  # what the task pushed stays with the task

    assert asyncio.run(main()) == (store, store)


def test_greenlets_do_not_see_each_others_stores(store: MemoryStore, other: MemoryStore) -> None:
    def work(mine: Store) -> list[Store | None]:
        seen: list[Store | None] = [_current()]
        with store_context(mine):
            main.switch()
            seen.append(get_current_store())
        return seen

    main = greenlet.getcurrent()
    first, second = greenlet.greenlet(work), greenlet.greenlet(work)
    first.switch(store)
    second.switch(other)
    assert first.switch() == [None, store]
    assert second.switch() == [None, other]


def test_the_greenlet_of_an_async_session_sees_the_store_of_its_task(store: MemoryStore) -> None:
    async def main() -> Store:
        engine = create_async_engine("sqlite+aiosqlite://")
        try:
            async with AsyncSession(engine) as session:
                with store_context(store):
                    return await session.run_sync(lambda _: get_current_store())
        finally:
            await engine.dispose()

    assert asyncio.run(main()) is store


def test_a_store_can_be_pushed_in_one_context_and_left_there(store: MemoryStore) -> None:
    request = contextvars.Context()
    request.run(push_store_context, store)
    assert _current() is None
    assert request.run(get_current_store) is store


# --- the order in which a store is looked for ------------------------------------------------------------------------


def test_the_order_is_argument_context_session_default() -> None:
    argument, within, session, default = (MemoryStore() for _ in range(4))
    info = {"image_store": session}
    set_default_store(default)
    with store_context(within):
        assert find_store(argument, info) is argument
        assert find_store(None, info) is within
    assert find_store(None, info) is session
    assert find_store(None, {}) is default
    assert find_store(None, {"image_store": None}) is default
    assert find_store() is get_current_store() is default


def test_a_session_and_its_factory_take_a_store(store: MemoryStore) -> None:
    info = {context.SESSION_STORE_KEY: store}
    for session in (Session(info=info), sessionmaker(create_engine("sqlite://"), info=info)()):
        with session:
            assert find_store(None, session.info) is store


def test_passing_the_current_store_is_passing_none(store: MemoryStore) -> None:
    assert find_store(current_store, {"image_store": store}) is store


def test_without_any_store_the_error_names_all_the_ways() -> None:
    with pytest.raises(ContextError) as caught:
        get_current_store()
    for way in ("store=", "store_context(store)", "info=", "set_default_store(store)"):
        assert way in str(caught.value)
    assert isinstance(caught.value, LookupError)


@pytest.mark.parametrize("wrong", ["fs", MemoryStore])
def test_a_session_with_something_else_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidTypeError, match="expected a store"):
        find_store(None, {"image_store": wrong})


def test_the_default_store_is_seen_by_all_threads_and_can_be_taken_away(store: MemoryStore) -> None:
    set_default_store(store)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(get_current_store).result() is store
    set_default_store(None)
    assert _current() is None


@pytest.mark.parametrize("wrong", ["fs", MemoryStore])
def test_a_default_store_that_is_none_is_refused_and_the_former_stays(store: MemoryStore, wrong: Any) -> None:
    set_default_store(store)
    with pytest.raises(InvalidTypeError):
        set_default_store(wrong)
    assert get_current_store() is store


# --- proxies ---------------------------------------------------------------------------------------------------------


class Picture:
    object_type = "user-picture"
    object_id = 7
    width = 640
    height = 480
    mimetype = "image/jpeg"
    revision = "Xk3v9QpLm2w"
    original = True
    created_at = None


def test_the_proxy_does_everything_with_the_current_store(store: MemoryStore) -> None:
    image = Picture()
    with store_context(store):
        current_store.store(image, io.BytesIO(b"a picture"))
        assert store.blobs == {KEY: b"a picture"}
        assert current_store.open(image).read() == b"a picture"
        assert current_store.locate(image) == store.locate(image)
        current_store.delete(image)
        assert store.blobs == {}


def test_the_proxy_does_it_by_key_and_by_part_too(store: MemoryStore) -> None:
    parts = ("user-picture", 7, 640, 480, "image/jpeg")
    with store_context(store):
        assert current_store.accepts_revision
        assert current_store.own_key(KEY) == KEY
        current_store.put(KEY, io.BytesIO(b"a picture"), reproducible=True)
        assert current_store.get(KEY).read() == b"a picture"
        assert current_store.delete_key(KEY) is True
        current_store.put_file(io.BytesIO(b"a picture"), *parts, True, revision="r")  # type: ignore[call-arg]
        assert current_store.get_file(*parts, revision="r").read() == b"a picture"  # type: ignore[call-arg]
        assert current_store.get_url(*parts).startswith("memory:///first/")
        assert current_store.delete_file(*parts, revision="r") is True  # type: ignore[call-arg]


def test_the_proxy_takes_no_revision_if_the_store_does_not() -> None:
    class Old(Store):
        pass

    with store_context(Old()):
        assert not current_store.accepts_revision
        assert current_store.own_key(KEY).revision is None


def test_a_subclass_of_the_proxy_follows_its_store_too() -> None:
    class Old(Store):
        pass

    class Tenant(LocalProxyStore):
        pass

    assert not Tenant(Old).accepts_revision
    assert Tenant(MemoryStore).accepts_revision


def test_the_proxy_hands_on_what_a_store_overrides(store: MemoryStore) -> None:
    class Signing(MemoryStore):
        def locate(self, image: Any) -> str:
            return f"{super().locate(image)}?signed"

        def list_blobs(self, prefix: str = "") -> Iterator[Any]:
            return iter([prefix])

        def discard_temporary(self, blob: Any) -> bool:
            return True

    with store_context(Signing()):
        assert current_store.locate(Picture()).endswith("?signed")
        assert next(current_store.list_blobs("user")) == "user"  # type: ignore[comparison-overlap]
        assert current_store.discard_temporary(KEY)  # type: ignore[arg-type]


def test_the_proxy_has_the_stores_own_attributes(store: MemoryStore) -> None:
    with store_context(store):
        assert current_store.blobs == {}  # type: ignore[attr-defined]
        with pytest.raises(AttributeError):
            current_store.flavour  # type: ignore[attr-defined] # noqa: B018


def test_the_proxy_equals_the_store_it_stands_for(store: MemoryStore, other: MemoryStore) -> None:
    with store_context(store):
        assert current_store == store
        assert current_store != other
        assert hash(current_store) == hash(store)
    assert current_store == current_store
    assert current_store != store


def test_what_is_remembered_is_the_store_and_not_the_proxy(store: MemoryStore, other: MemoryStore) -> None:
    with store_context(store):
        with store_context(current_store):
            with store_context(other):
                pass
            assert get_current_store() is store
        push_store_context(current_store)
        assert pop_store_context() is store
        set_default_store(current_store)
    assert get_current_store() is store


def test_a_proxy_of_a_proxy_is_seen_through(store: MemoryStore) -> None:
    outer = LocalProxyStore(lambda: LocalProxyStore(lambda: store))
    assert find_store(outer) is store


def test_the_proxy_without_a_store_says_so() -> None:
    with pytest.raises(ContextError):
        current_store.locate(Picture())


def test_the_repr_of_a_proxy_is_its_own_or_that_of_the_store(store: MemoryStore) -> None:
    assert repr(current_store) == "sqlalchemy_imageattach.context.current_store"
    assert repr(LocalProxyStore(lambda: store)) == repr(store)
    assert repr(LocalProxyStore(lambda: store, "mine")) == "mine"


def test_tools_can_look_at_the_proxy_without_a_store_and_copy_it() -> None:
    assert not hasattr(current_store, "__wrapped__")
    assert repr(copy.copy(current_store)) == repr(current_store)
    with pytest.raises(AttributeError):
        LocalProxyStore.__new__(LocalProxyStore).anything  # noqa: B018


# --- what is only there because it was documented --------------------------------------------------------------------


def test_the_context_id_tells_threads_and_tasks_apart() -> None:
    async def identify() -> object:
        with pytest.warns(DeprecationWarning, match="identifiers"):
            return get_current_context_id()

    async def main() -> set[object]:
        return set(await asyncio.gather(identify(), identify()))

    with pytest.warns(DeprecationWarning, match="identifiers"):
        here = get_current_context_id()
    assert here == threading.get_ident()
    assert len({here} | asyncio.run(main())) == 3


def test_the_stacks_are_a_view_of_the_running_context(store: MemoryStore, other: MemoryStore) -> None:
    def stacks() -> Any:
        with pytest.warns(DeprecationWarning, match="get_current_store"):
            return context.context_stacks

    assert stacks() == {}
    with store_context(store), store_context(other):
        assert stacks() == {threading.get_ident(): [store, other]}


def test_the_module_has_nothing_else() -> None:
    with pytest.raises(AttributeError, match="flavour"):
        context.flavour  # noqa: B018
