"""Below an ``AsyncSession``: on SQLite, PostgreSQL and MariaDB, by aiosqlite, asyncpg and asyncmy."""

from __future__ import annotations

import asyncio
import inspect
import io
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import URL, func, select
from sqlalchemy.exc import MissingGreenlet
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import selectinload
from sqlalchemy.pool import NullPool

from sqlalchemy_imageattach.context import get_current_store, store_context
from sqlalchemy_imageattach.entity import BaseImageSet, Image
from sqlalchemy_imageattach.errors import PolicyViolationError, RejectedImageError
from sqlalchemy_imageattach.store import key_of

from .models import Base, Post, User, UserPicture
from .support import CountingStore, SlowStore, color_of, picture, size_of

pytestmark = pytest.mark.asyncio

DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "mariadb": "mysql+asyncmy"}


@pytest.fixture(params=DRIVERS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    if request.param == "sqlite":
        return URL.create(DRIVERS["sqlite"], database=str(tmp_path / "database"))
    server: URL = request.getfixturevalue(f"{request.param}_url")
    return server.set(drivername=DRIVERS[request.param])


@pytest_asyncio.fixture
async def engine(url: URL) -> AsyncIterator[AsyncEngine]:
    # a connection of an async driver belongs to its event loop, and each test has a loop of its own
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield engine
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
    await engine.dispose()


@pytest_asyncio.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'database'}", poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield engine
    await engine.dispose()


@asynccontextmanager
async def ticking() -> AsyncIterator[list[int]]:
    """Counts how often the event loop comes round while the block runs."""
    ticks: list[int] = []

    async def tick() -> None:
        while True:
            ticks.append(1)
            await asyncio.sleep(0.005)

    heart = asyncio.create_task(tick())
    try:
        yield ticks
    finally:
        heart.cancel()
        with suppress(asyncio.CancelledError):
            await heart


async def stored(engine: AsyncEngine) -> set[Any]:
    async with AsyncSession(engine) as session:
        return {key_of(image) for image in await session.scalars(select(UserPicture))}


async def test_a_picture_lives_its_life(engine: AsyncEngine, context: CountingStore) -> None:
    async with AsyncSession(engine) as session:
        # attached, with a thumbnail
        user = User(name="Ada")
        session.add(user)
        await user.picture.afrom_file(io.BytesIO(picture(60, 40, "red")))
        await user.picture.agenerate_thumbnails([{"width": 30}, {"width": 15}])
        await session.commit()
        assert len(context) == 3
        identity = (await user.awaitable_attrs.id,)

        # loaded on demand, and located without waiting
        image_set = await user.awaitable_attrs.picture
        assert image_set.find_thumbnail(width=30).locate()
        assert color_of(await image_set.amake_blob()) == (255, 0, 0)
        with await image_set.aopen_file() as file:
            assert file.read(4) == b"\x89PNG"
        assert size_of(await image_set.find_thumbnail(width=15).amake_blob()) == (15, 10)

        # found, or made and flushed
        small = await image_set.athumbnail(width=15)
        assert small is await image_set.athumbnail(width=15)
        await image_set.athumbnail(width=20)
        assert len(context) == 4

        # rolled back
        await session.rollback()
        assert len(context) == 3
        assert await stored(engine) == set(context.blobs)

    async with AsyncSession(engine, expire_on_commit=False) as session:
        user = await session.get_one(User, identity, options=[selectinload(User.picture)])
        # replaced, but rolled back; then replaced
        await user.picture.afrom_blob(picture(60, 40, "blue"))
        await session.flush()
        assert len(context) == 4
        await session.rollback()
        assert len(context) == 3
        image_set = await user.awaitable_attrs.picture
        await image_set.afrom_blob(picture(60, 40, "blue"))
        await session.commit()
        assert len(context) == 1
        assert color_of(await user.picture.amake_blob()) == (0, 0, 255)
        assert await stored(engine) == set(context.blobs)

        # deleted
        await session.delete(user)
        await session.commit()
        assert await session.scalar(select(func.count()).select_from(UserPicture)) == 0
        assert not context.blobs


async def test_savepoints_are_released_and_rolled_back(engine: AsyncEngine, context: CountingStore) -> None:
    async with AsyncSession(engine, expire_on_commit=False) as session, session.begin():
        user = User()
        session.add(user)
        await user.picture.afrom_blob(picture(60, 40, "red"))
        await session.flush()
        savepoint = await session.begin_nested()
        await user.picture.afrom_blob(picture(60, 40, "blue"))
        await session.flush()
        await savepoint.rollback()
        async with session.begin_nested():
            await (await user.awaitable_attrs.picture).agenerate_thumbnail(width=30)
    assert len(context) == 2
    assert await stored(engine) == set(context.blobs)
    async with AsyncSession(engine) as session:
        (user,) = await session.scalars(select(User).options(selectinload(User.picture)))
        assert color_of(await user.picture.amake_blob()) == (255, 0, 0)


async def test_several_pictures_of_one_owner(engine: AsyncEngine, context: CountingStore) -> None:
    async with AsyncSession(engine, expire_on_commit=False) as session:
        post = Post()
        session.add(post)
        for index, color in ((1, "red"), (2, "blue")):
            photo = post.photos.get_image_set(order_index=index)
            await photo.afrom_raw_file(io.BytesIO(picture(60, 40, color)), size=(60, 40))
            await photo.agenerate_thumbnail(width=30)
        await session.commit()
        colors = [color_of(await photo.find_thumbnail(width=30).amake_blob()) for photo in post.photos.image_sets]
        assert colors == [(255, 0, 0), (0, 0, 255)]


async def test_many_tasks_each_with_a_session_and_a_store(engine: AsyncEngine) -> None:
    async def attach(number: int) -> CountingStore:
        with store_context(CountingStore()) as store:
            async with AsyncSession(engine, expire_on_commit=False) as session:
                user = User(name=str(number))
                session.add(user)
                await user.picture.afrom_blob(picture(60, 40 + number))
                await asyncio.sleep(0)
                await session.commit()
                await user.picture.athumbnail(width=30)
                await session.commit()
                assert user.picture.size == (60, 40 + number)
                assert get_current_store() is store
            return store  # type: ignore[return-value]

    stores = await asyncio.gather(*(attach(number) for number in range(8)))
    assert [len(store) for store in stores] == [2] * 8


# --- the event loop --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["flush", "commit", "read", "thumbnail", "delete", "rollback"])
async def test_the_event_loop_keeps_turning_while_the_store_is_slow(sqlite: AsyncEngine, step: str) -> None:
    slow = SlowStore()
    with store_context(slow):
        async with AsyncSession(sqlite, expire_on_commit=False) as session:
            user = User()
            session.add(user)
            await user.picture.afrom_blob(picture())
            steps: dict[str, Any] = {
                "flush": session.flush,
                "commit": session.commit,
                "read": user.picture.amake_blob,
                "thumbnail": lambda: user.picture.agenerate_thumbnail(width=30),
                "delete": session.commit,
                "rollback": session.rollback,
            }
            if step in {"read", "thumbnail", "delete"}:
                await session.commit()
            if step == "delete":
                await session.delete(user)
            if step == "rollback":
                await session.flush()
            async with ticking() as ticks:
                await steps[step]()
            # each of these has the store sleep for 30 times as long as the heart does
            assert len(ticks) > 5
            await session.rollback()


async def test_the_event_loop_keeps_turning_while_pictures_are_read_and_made(
    sqlite: AsyncEngine, context: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop_thread, threads = threading.get_ident(), set()
    from sqlalchemy_imageattach.imaging.engines.pillow import PillowDecoder

    frames = PillowDecoder.frames

    def watched(self: Any, *args: Any) -> Any:
        threads.add(threading.get_ident())
        return frames(self, *args)

    class Upload(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            threads.add(threading.get_ident())
            return super().read(size)

    monkeypatch.setattr(PillowDecoder, "frames", watched)
    async with AsyncSession(sqlite) as session:
        user = User()
        session.add(user)
        await user.picture.afrom_file(Upload(picture()))
        assert len(threads) == 1
        await user.picture.agenerate_thumbnail(width=30)
        await session.commit()
    assert loop_thread not in threads


async def test_blobs_of_one_flush_are_written_side_by_side(sqlite: AsyncEngine) -> None:
    together = threading.Barrier(3)

    class Meeting(CountingStore):
        def put_file(self, *args: Any, **kwargs: Any) -> None:
            together.wait()  # would wait for ever if they were written one after the other
            super().put_file(*args, **kwargs)

    with store_context(Meeting()) as store:
        async with AsyncSession(sqlite) as session:
            user = User()
            session.add(user)
            await user.picture.afrom_blob(picture())
            await user.picture.agenerate_thumbnails([{"width": 30}, {"width": 15}])
            await session.commit()
    assert isinstance(store, Meeting)
    assert len(store) == 3


class Gate(CountingStore):
    """Lets the test say when a write may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.opened = threading.Event(), threading.Event()

    def put_file(self, *args: Any, **kwargs: Any) -> None:
        self.reached.set()
        self.opened.wait()
        super().put_file(*args, **kwargs)


@pytest.mark.parametrize("times", [1, 3])
async def test_a_flush_that_is_cancelled_leaves_no_blob(engine: AsyncEngine, times: int) -> None:
    gate = Gate()

    async def attach() -> None:
        async with AsyncSession(engine) as session:
            user = User()
            session.add(user)
            await user.picture.afrom_blob(picture())
            await session.commit()

    with store_context(gate):
        task = asyncio.create_task(attach())
        while not gate.reached.is_set():
            await asyncio.sleep(0.001)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0.01)
        was_done = task.done()
        gate.opened.set()
        assert not was_done  # the blob was being written: nobody may clean up before it is
        with pytest.raises(asyncio.CancelledError):
            await task
    assert gate.calls == {"put": 1, "delete": 1}
    assert not gate.blobs
    assert await stored(engine) == set()


async def test_a_flush_that_runs_out_of_time_leaves_no_blob(engine: AsyncEngine) -> None:
    slow = SlowStore()
    slow.delay = 1.5  # far longer than a busy machine lets the timer wait
    with store_context(slow):
        async with AsyncSession(engine) as session:
            user = User()
            session.add(user)
            await user.picture.afrom_blob(picture())
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(session.flush(), 0.01)
            slow.delay = 0
            await session.rollback()
            assert not slow.blobs
            # the picture has survived, so the same object can be stored after all
            session.add(user)
            await session.commit()
    assert await stored(engine) == set(slow.blobs)
    assert len(slow) == 1


async def test_a_request_that_is_cancelled_before_its_commit_leaves_no_blob(
    engine: AsyncEngine, context: CountingStore
) -> None:
    flushed = asyncio.Event()

    async def request() -> None:
        async with AsyncSession(engine) as session:
            user = User()
            session.add(user)
            await user.picture.afrom_blob(picture())
            await session.flush()
            flushed.set()
            await asyncio.sleep(3600)

    task = asyncio.create_task(request())
    await flushed.wait()
    assert len(context) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not context.blobs


async def test_a_store_that_fails_fails_the_flush(engine: AsyncEngine) -> None:
    class Full(CountingStore):
        def put_file(self, *args: Any, **kwargs: Any) -> None:
            msg = "no space left"
            raise OSError(msg)

    with store_context(Full()) as store:
        async with AsyncSession(engine) as session:
            user = User()
            session.add(user)
            await user.picture.afrom_blob(picture())
            with pytest.raises(OSError, match="no space left"):
                await session.commit()
            await session.rollback()
    assert await stored(engine) == set()
    assert isinstance(store, Full)


# --- the awaitable twins ---------------------------------------------------------------------------------------------


async def test_everything_that_does_io_has_an_awaitable_twin() -> None:
    for cls, names in (
        (
            BaseImageSet,
            [
                *("from_file", "from_blob", "from_raw_file", "generate_thumbnail", "generate_thumbnails"),
                *("thumbnail", "open_file", "make_blob"),
            ],
        ),
        (Image, ["open_file", "make_blob"]),
    ):
        for name in names:
            twin = getattr(cls, f"a{name}")
            assert inspect.iscoroutinefunction(twin)
            assert twin.__name__ == f"a{name}"
            beside = getattr(cls, name).__qualname__.rpartition(".")[0]
            assert twin.__qualname__ == f"{beside}.a{name}"
            assert inspect.signature(twin).parameters.keys() == inspect.signature(getattr(cls, name)).parameters.keys()


async def test_errors_pass_through_the_twins_as_they_are(context: CountingStore) -> None:
    user = User()
    with pytest.raises(RejectedImageError, match="bytes of no known image type"):
        await user.picture.afrom_blob(b"Dear Sir")
    with pytest.raises(PolicyViolationError):
        await user.picture.afrom_blob(b"<svg xmlns='http://www.w3.org/2000/svg' width='1' height='1'/>")
    assert not user.picture


async def test_what_would_load_without_being_awaited_says_so(sqlite: AsyncEngine, context: CountingStore) -> None:
    async with AsyncSession(sqlite) as session:
        user = User()
        session.add(user)
        await user.picture.afrom_blob(picture())
        await session.commit()
        with pytest.raises(MissingGreenlet):
            _ = user.picture


async def test_a_picture_that_waits_to_be_flushed_is_located_by_the_awaitable_twin(
    sqlite: AsyncEngine, context: CountingStore
) -> None:
    async with AsyncSession(sqlite) as session:
        user = User(name="ada")
        session.add(user)
        await user.picture.afrom_blob(picture(40, 20))
        assert "user-picture" in await user.picture.alocate()
        thumbnail = await user.picture.agenerate_thumbnail(width=10)
        assert "10x5" in await thumbnail.alocate()
        await session.commit()


async def test_twins_work_without_any_session(context: CountingStore) -> None:
    user = User()
    await user.picture.afrom_blob(picture())
    await user.picture.athumbnail(width=30)
    assert await user.picture.amake_blob() == picture()
    assert len(user.picture) == 2
    assert not context.calls


async def test_plain_methods_work_below_run_sync(sqlite: AsyncEngine) -> None:
    slow = SlowStore()

    def work(session: Any) -> None:
        user = User()
        user.picture.from_blob(picture())
        session.add(user)
        session.flush()
        user.picture.generate_thumbnail(width=30)
        session.flush()

    with store_context(slow):
        async with AsyncSession(sqlite) as session:
            async with ticking() as ticks:
                await session.run_sync(work)
            assert len(ticks) > 10
            await session.commit()
    assert len(slow) == 2
