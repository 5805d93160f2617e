"""An ``object_id`` that reads another row than the image's own: the owner's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import pytest
from sqlalchemy import CHAR, DateTime, Engine, ForeignKey, Integer, Numeric, String, TypeDecorator, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, declarative_base, mapped_column, relationship, selectinload
from sqlalchemy.pool import NullPool

from sqlalchemy_imageattach.entity import Image, LegacyImage, image_attachment
from sqlalchemy_imageattach.errors import ImageIdentityError
from sqlalchemy_imageattach.maintenance import check
from sqlalchemy_imageattach.stores.memory import MemoryStore

from .helpers import OTHER, SMALL, picture, statements


class Lower(TypeDecorator[str]):
    impl, cache_ok = String(100), True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return value and value.lower()


def _of_text(value: str) -> int:
    return int.from_bytes(value.encode(), "big")


#: The type of the owner's column, two values, and what ``object_id`` makes of them.
KINDS: dict[str, tuple[Any, Any, Any, Any]] = {
    "kept": (Integer(), 5, 7, lambda value: value),
    "lowered": (Lower(), "Ada", "ZOE", _of_text),
    "padded": (CHAR(10), "ada", "bob ", _of_text),
    "rounded": (Numeric(10, 2), Decimal("1.239"), Decimal("7.777"), lambda value: int(value * 1000)),
    "cut off": (
        DateTime(),
        datetime(2020, 1, 2, 3, 4, 5, 678901),
        datetime(2021, 1, 2, 3, 4, 5, 678901),
        lambda value: int(value.replace(tzinfo=UTC).timestamp() * 1_000_000),
    ),
}


def models(kind: str, mixin: Any = Image, *, uselist: bool = False, **options: Any) -> tuple[Any, type[Any], type[Any]]:
    type_, _, _, number = KINDS[kind]
    base: Any = declarative_base()

    class Owner(base):
        __tablename__ = "read_owner"
        id = mapped_column(Integer, primary_key=True)
        label = mapped_column(type_)
        remark = mapped_column(String(10))
        picture = image_attachment("Pic", uselist=uselist, **({"back_populates": "owner"} if not options else {}))

    class Pic(base, mixin):
        __tablename__ = "read_pic"
        owner_id = mapped_column(ForeignKey(Owner.id), primary_key=True)
        owner = relationship(Owner, **(options or {"back_populates": "picture"}))
        if uselist:
            number = mapped_column(Integer, primary_key=True, autoincrement=False)

        @property
        def object_id(self) -> int:
            found: int = number(self.owner.label)
            return found * 10 + cast(int, self.number) if uselist else found

    return base, Owner, Pic


@contextmanager
def tables(engine: Engine, base: Any) -> Iterator[None]:
    base.metadata.create_all(engine)
    try:
        yield
    finally:
        base.metadata.drop_all(engine)


def assert_in_step(session: Session, base: Any, store: MemoryStore, blobs: int) -> None:
    session.rollback()
    with Session(session.get_bind()) as other, check(other, base, store, grace=timedelta(0)) as report:
        assert not list(report)
    assert len(store) == blobs


RELATIONS: dict[str, dict[str, Any]] = {
    "of both": {},
    "to look at": {"viewonly": True},
    "loaded on demand only": {"viewonly": True, "lazy": "raise"},
}


@pytest.mark.parametrize("mixin", [Image, LegacyImage])
@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_blob_is_named_after_what_the_owner_s_row_says(
    engine: Engine, kind: str, relation: str, mixin: type[Image]
) -> None:
    base, owner_class, pic = models(kind, mixin, **RELATIONS[relation])
    _, first, second, _ = KINDS[kind]
    store = MemoryStore()
    with tables(engine, base), Session(engine, info={"image_store": store}) as session:
        owner = owner_class(id=1, label=first)
        owner.picture.from_blob(picture())
        session.add(owner)
        session.commit()
        assert_in_step(session, base, store, 1)
        session.get_one(owner_class, 1).label = second
        session.commit()
        assert_in_step(session, base, store, 1)
        owner = session.get_one(owner_class, 1)
        for label, size in ((first, SMALL), (second, OTHER)):  # of the size that it has, and of another
            owner.label = label
            owner.picture.from_blob(picture("blue", size))
            session.commit()
            assert_in_step(session, base, store, 1)
        owner.picture.from_blob(picture("green", OTHER))
        session.commit()
        assert_in_step(session, base, store, 1)
        if "lazy" not in RELATIONS[relation]:
            assert session.scalars(select(pic)).one().make_blob() == picture("green", OTHER)
        session.delete(session.get_one(owner_class, 1))
        session.commit()
        assert not store.blobs


@pytest.mark.parametrize("kind", KINDS)
def test_in_the_session_that_stores_it_the_key_is_that_of_the_row_too(engine: Engine, kind: str) -> None:
    base, owner_class, pic = models(kind)
    store = MemoryStore()
    with tables(engine, base):
        with Session(engine, info={"image_store": store}, expire_on_commit=False) as session:
            owner = owner_class(id=1, label=KINDS[kind][1])
            owner.picture.from_blob(picture())
            session.add(owner)
            session.flush()
            assert owner.picture.make_blob() == picture()
            session.commit()
            located = owner.picture.locate()
        with Session(engine, info={"image_store": store}) as session:
            assert session.scalars(select(pic)).one().locate() == located


def test_a_change_of_the_owner_that_is_rolled_back_leaves_the_blob_where_it_was(engine: Engine) -> None:
    base, owner_class, _ = models("kept")
    store = MemoryStore()
    with tables(engine, base), Session(engine, info={"image_store": store}) as session:
        owner = owner_class(id=1, label=5)
        owner.picture.from_blob(picture())
        owner.picture.generate_thumbnail(width=10)
        session.add(owner)
        session.commit()
        before = set(store.blobs)
        savepoint = session.begin_nested()
        owner.label = 7
        session.flush()
        savepoint.rollback()
        assert set(store.blobs) == before
        owner.label = 8
        session.flush()
        assert len(store) == 4
        session.rollback()
        assert set(store.blobs) == before
        assert_in_step(session, base, store, 2)


def test_several_pictures_of_an_owner_follow_it(engine: Engine) -> None:
    base, owner_class, _ = models("lowered", uselist=True)
    store = MemoryStore()
    with tables(engine, base), Session(engine, info={"image_store": store}) as session:
        session.add(owner := owner_class(id=1, label="Ada"))
        for number in (1, 2):
            owner.picture.get_image_set(number=number).from_blob(picture())
        session.commit()
        assert_in_step(session, base, store, 2)
        owner.label = "ZOE"
        owner.picture.get_image_set(number=1).clear()
        session.commit()
        assert_in_step(session, base, store, 1)


def test_a_picture_that_gets_another_owner_is_named_after_that_one(engine: Engine) -> None:
    for options in (RELATIONS["of both"], RELATIONS["to look at"]):
        base, owner_class, pic = models("lowered", **options)
        store = MemoryStore()
        with tables(engine, base), Session(engine, info={"image_store": store}) as session:
            session.add_all([one := owner_class(id=1, label="Ada"), owner_class(id=2, label="Bob")])
            one.picture.from_blob(picture())
            session.commit()
            session.scalars(select(pic)).one().owner_id = 2
            session.commit()
            assert_in_step(session, base, store, 1)


def test_a_key_that_no_row_says_is_refused_before_a_blob_is_written(engine: Engine) -> None:
    base: Any = declarative_base()

    class Owner(base):
        __tablename__ = "read_owner"
        id = mapped_column(Integer, primary_key=True)
        picture = image_attachment("Pic")

    class Pic(base, Image):
        __tablename__ = "read_pic"
        owner_id = mapped_column(ForeignKey(Owner.id), primary_key=True)

        @property
        def object_id(self) -> int:
            return self.in_memory_only

    store = MemoryStore()
    with tables(engine, base), Session(engine, info={"image_store": store}) as session:
        session.add(owner := Owner(id=1))
        owner.picture.from_blob(picture()).in_memory_only = 7
        with pytest.raises(ImageIdentityError, match=r"do not say the key .* AttributeError .*in_memory_only"):
            session.commit()
        session.rollback()
        assert not store.blobs
        assert not session.scalars(select(Pic)).all()


def test_what_the_key_does_not_read_costs_no_blob_to_be_moved(sqlite: Engine) -> None:
    base, owner_class, _ = models("kept")
    store = MemoryStore()
    with tables(sqlite, base), Session(sqlite, info={"image_store": store}) as session:
        owner = owner_class(id=1, label=5)
        owner.picture.from_blob(picture())
        session.add(owner)
        with statements(sqlite) as sent:
            session.commit()
        assert sent == ["INSERT read_owner", "INSERT read_pic", "SELECT read_pic", "SELECT read_owner"]
        before = dict(store.blobs)
        owner.remark = "new"
        session.commit()
        assert dict(store.blobs) == before


@pytest.mark.parametrize("kind", KINDS)
def test_with_asyncpg_too(postgresql: Engine, request: pytest.FixtureRequest, kind: str) -> None:
    """No connection of an ``AsyncSession`` may be asked outside of its own greenlet."""
    base, owner_class, pic = models(kind)
    _, first, second, _ = KINDS[kind]
    store = MemoryStore()
    url = request.getfixturevalue("postgresql_url").set(drivername="postgresql+asyncpg")
    engine = create_async_engine(url, poolclass=NullPool)

    async def main() -> None:
        async with AsyncSession(engine, info={"image_store": store}) as session:
            owner = owner_class(id=1, label=first)
            await owner.picture.afrom_blob(picture())
            session.add(owner)
            await session.commit()
            (await session.get_one(owner_class, 1)).label = second
            await session.commit()
            image = (await session.scalars(select(pic).options(selectinload(pic.owner)))).one()
            assert await image.amake_blob() == picture()
            assert len(store) == 1
            await session.delete(await session.get_one(owner_class, 1))
            await session.commit()
            assert not store.blobs

    with tables(postgresql, base):
        asyncio.run(main())
