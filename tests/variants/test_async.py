"""Declared variants below an ``AsyncSession``, whose jobs are done by threads with plain sessions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import selectinload, sessionmaker
from sqlalchemy.pool import NullPool

from sqlalchemy_imageattach.errors import InvalidValueError
from sqlalchemy_imageattach.jobs import JobRunner, ThreadQueue
from sqlalchemy_imageattach.store import key_of

from ..entity.support import SlowStore, picture
from ..entity.test_async import ticking
from .models import Base, Product

pytestmark = pytest.mark.asyncio

Sessions = async_sessionmaker[AsyncSession]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> SlowStore:
    monkeypatch.setattr(SlowStore, "delay", 0.05)
    return SlowStore()


@pytest_asyncio.fixture
async def made(tmp_path: Path, store: SlowStore) -> AsyncIterator[tuple[Sessions, ThreadQueue]]:
    """Sessions of a file of SQLite, and the queue that they have."""
    plain = create_engine(f"sqlite:///{tmp_path / 'shop.db'}", poolclass=NullPool)
    Base.metadata.create_all(plain)
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'shop.db'}", poolclass=NullPool)
    info = {"image_store": store}
    with ThreadQueue(JobRunner(sessionmaker(plain, info=info), Base)) as queue:
        yield async_sessionmaker(engine, info={**info, "image_queue": queue}, expire_on_commit=False), queue
    await engine.dispose()


async def find(session: AsyncSession) -> Product:
    options = [selectinload(Product.photo)]
    return await session.get_one(Product, 1, options=options, populate_existing=True)


async def test_what_is_declared_is_made_now_and_later(made: tuple[Sessions, ThreadQueue], store: SlowStore) -> None:
    sessions, queue = made
    async with sessions() as session:
        session.add(product := Product(id=1))
        await product.photo.afrom_blob(picture(200, 100, "red", "JPEG"))
        await session.commit()
        assert product.photo.variant("card").is_complete
    queue.join()
    async with sessions() as session:
        product = await find(session)
        assert product.photo.variant("hero").is_complete
        assert await product.photo.amake_variants("print")
        await session.commit()
    assert len(store) == len(product.photo) == 12


async def test_a_focal_point_is_moved_while_the_loop_keeps_turning(
    made: tuple[Sessions, ThreadQueue], store: SlowStore
) -> None:
    sessions, queue = made
    async with sessions() as session:
        session.add(product := Product(id=1))
        await product.photo.afrom_blob(picture(200, 100, "red", "JPEG"))
        await session.commit()
    queue.join()
    async with sessions() as session:
        product = await find(session)
        before = {key_of(image) for image in product.photo.variant("avatar")}
        async with ticking() as ticks:
            await product.photo.aset_focal_point((0.0, 0.5))
        assert len(ticks) > 3, "the original is read for ten times as long as the heart rests"
        with pytest.raises(InvalidValueError):
            await product.photo.aset_focal_point((0, 2))
        await session.commit()
        assert product.photo.focal_point == (0.0, 0.5)
        assert product.photo.variant("avatar").is_complete
    queue.join()
    async with sessions() as session:
        product = await find(session)
        assert product.photo.variant("hero").is_complete
        after = {key_of(image) for image in product.photo}
    assert not before & after
    assert after == set(store.blobs)
