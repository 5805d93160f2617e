"""A blob has the name that its row says tomorrow, whatever a type or the database does to a key."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import (
    BINARY,
    CHAR,
    DateTime,
    Engine,
    ForeignKey,
    Integer,
    LargeBinary,
    Numeric,
    String,
    TypeDecorator,
    Uuid,
    select,
)
from sqlalchemy.dialects.postgresql import CITEXT
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session, declarative_base, mapped_column, selectinload
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


class Stripped(TypeDecorator[str]):
    impl, cache_ok = String(100), True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return value and value.strip()


def models(kind: Any, mixin: type[Image] = Image, **attributes: Any) -> tuple[Any, Any, Any]:
    base: Any = declarative_base()
    owner = type("Owner", (base,), {
        "__tablename__": "kept_owner",
        "id": mapped_column(kind, primary_key=True, autoincrement=False),
        "picture": image_attachment("Pic"),
    })  # fmt: skip
    pic = type("Pic", (base, mixin), {
        "__tablename__": "kept_pic",
        "owner_id": mapped_column(kind, ForeignKey("kept_owner.id"), primary_key=True),
        **attributes,
    })  # fmt: skip
    return base, owner, pic


@contextmanager
def tables(engine: Engine, base: Any) -> Iterator[None]:
    base.metadata.create_all(engine)
    try:
        yield
    finally:
        base.metadata.drop_all(engine)


SPELT = "6F9619FF-8B86-D011-B42D-00CF4FC964FF"

KINDS: dict[str, tuple[Any, Any, set[str]]] = {
    "lowered": (Lower(), "Ada@Example.org", {"sqlite", "postgresql", "mariadb"}),
    "stripped": (Stripped(), " ada ", {"sqlite", "postgresql", "mariadb"}),
    "upper-case UUID": (Uuid(as_uuid=False), SPELT, {"sqlite", "postgresql", "mariadb"}),
    "UUID without hyphens": (Uuid(as_uuid=False), SPELT.replace("-", ""), {"sqlite", "postgresql", "mariadb"}),
    "padded": (CHAR(10), "ada", {"sqlite", "postgresql", "mariadb"}),
    "trailing blank": (CHAR(10), "ada ", {"sqlite", "postgresql", "mariadb"}),
    "plain with a trailing blank": (String(10), "ada ", {"sqlite", "postgresql", "mariadb"}),
    "not ASCII": (String(10), "Åda", {"sqlite", "postgresql", "mariadb"}),
    "bytes": (LargeBinary(16), b"\x00\x01 ", {"sqlite", "postgresql"}),
}


@pytest.mark.parametrize("mixin", [Image, LegacyImage])
@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_is_read_back_as_another_one_keeps_its_blob(engine: Engine, kind: str, mixin: type[Image]) -> None:
    type_, value, databases = KINDS[kind]
    if engine.dialect.name.replace("mysql", "mariadb") not in databases:
        return
    base, owner_class, pic = models(type_, mixin)
    store = MemoryStore()
    with tables(engine, base), Session(engine, info={"image_store": store}) as session:
        owner = owner_class(id=value)
        owner.picture.from_blob(picture())
        owner.picture.generate_thumbnail(width=10)
        session.add(owner)
        session.commit()
        assert len(store) == 2
        assert {image.make_blob() == picture() for image in session.scalars(select(pic))} == {True, False}
        session.expunge_all()
        with check(session, base, store, grace=timedelta(0)) as report:
            assert not list(report)
        if engine.dialect.name == "sqlite" and "UUID" in kind:
            return  # SQLAlchemy itself does not find what it has read by the same value again
        owner = session.scalars(select(owner_class)).one()
        owner.picture.thumbnail(width=5)
        session.commit()
        owner = session.scalars(select(owner_class)).one()
        owner.picture.from_blob(picture("blue", OTHER))
        session.commit()
        owner = session.scalars(select(owner_class)).one()
        assert owner.picture.make_blob() == picture("blue", OTHER)
        session.delete(owner)
        session.commit()
        assert not store.blobs


@pytest.fixture
def asyncpg(postgresql: Engine, request: pytest.FixtureRequest) -> AsyncEngine:
    """The database of ``postgresql``, by the other driver; each event loop gets connections of its own."""
    url = request.getfixturevalue("postgresql_url").set(drivername="postgresql+asyncpg")
    return create_async_engine(url, poolclass=NullPool)


@pytest.mark.parametrize("mixin", [Image, LegacyImage])
@pytest.mark.parametrize("kind", KINDS)
def test_with_asyncpg_too(postgresql: Engine, asyncpg: AsyncEngine, kind: str, mixin: type[Image]) -> None:
    type_, value, _ = KINDS[kind]
    base, owner_class, pic = models(type_, mixin)
    store = MemoryStore()

    async def main() -> None:
        async with AsyncSession(asyncpg, info={"image_store": store}) as session:
            owner = owner_class(id=value)
            await owner.picture.afrom_blob(picture())
            await owner.picture.agenerate_thumbnail(width=10)
            session.add(owner)
            await session.commit()
            assert len(store) == 2
        async with AsyncSession(asyncpg, info={"image_store": store}) as session:
            images = (await session.scalars(select(pic))).all()
            assert {await image.amake_blob() == picture() for image in images} == {True, False}
            [owner] = await session.scalars(select(owner_class).options(selectinload(owner_class.picture)))
            await owner.picture.afrom_blob(picture("blue", OTHER))
            await session.commit()
            [owner] = await session.scalars(select(owner_class).options(selectinload(owner_class.picture)))
            assert await owner.picture.amake_blob() == picture("blue", OTHER)
            await owner.picture.athumbnail(width=5)
            await session.flush()
            await session.rollback()
            assert len(store) == 1
            [owner] = await session.scalars(select(owner_class).options(selectinload(owner_class.picture)))
            await session.delete(owner)
            await session.commit()
        assert not store.blobs

    with tables(postgresql, base):
        asyncio.run(main())


def test_with_asyncpg_a_key_that_moves_is_read_back_as_well(postgresql: Engine, asyncpg: AsyncEngine) -> None:
    base, owner_class, pic = models(Lower())
    store = MemoryStore()

    async def main() -> None:
        async with AsyncSession(asyncpg, info={"image_store": store}) as session:
            session.add_all([owner := owner_class(id="ada"), owner_class(id="bob")])
            await owner.picture.afrom_blob(picture())
            await session.commit()
            (await session.scalars(select(pic))).one().owner_id = "BOB"
            await session.commit()
            session.expunge_all()
            assert await (await session.scalars(select(pic))).one().amake_blob() == picture()
            assert len(store) == 1

    with tables(postgresql, base):
        asyncio.run(main())


@pytest.mark.parametrize(
    ("kind", "value", "is_refused"),
    [(Lower(), "Front", False), (Uuid(as_uuid=False), SPELT, False), (CHAR(8), "f", True)],
)
def test_with_asyncpg_one_picture_of_several_is_found_by_any_spelling_or_refused(
    postgresql: Engine, asyncpg: AsyncEngine, kind: Any, value: str, is_refused: bool
) -> None:
    base, post_class, photo = several(kind)
    store = MemoryStore()

    async def main() -> None:
        async with AsyncSession(asyncpg, info={"image_store": store}) as session:
            session.add(post := post_class())
            await post.photos.get_image_set(slug=value).afrom_blob(picture())
            if is_refused:
                with pytest.raises(ImageIdentityError, match=rf"Photo\.slug: .* got '{value}', which is stored as"):
                    await session.commit()
                await session.rollback()
                assert not store.blobs
                return
            await session.commit()
            [post] = await session.scalars(select(post_class).options(selectinload(post_class.photos)))
            await post.photos.get_image_set(slug=value).afrom_blob(picture("blue", OTHER))
            await session.commit()
            [image] = await session.scalars(select(photo))
            assert await image.amake_blob() == picture("blue", OTHER)
            assert len(store) == 1

    with tables(postgresql, base):
        asyncio.run(main())


def test_a_key_that_does_not_find_its_row_is_refused_with_both_values(mariadb: Engine) -> None:
    base, owner_class, _ = models(BINARY(4))
    store = MemoryStore()
    with tables(mariadb, base), Session(mariadb, info={"image_store": store}) as session:
        owner = owner_class(id=b"x")
        owner.picture.from_blob(picture())
        session.add(owner)
        with pytest.raises(ImageIdentityError, match=r"Pic\.owner_id was given b'x', and the row has b'x\\x00"):
            session.commit()
        session.rollback()
        assert not store.blobs


def test_case_insensitive_text_is_kept_as_it_is(postgresql: Engine) -> None:
    with postgresql.begin() as connection:
        connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS citext")
    base, owner_class, pic = models(CITEXT())
    with tables(postgresql, base), Session(postgresql, info={"image_store": MemoryStore()}) as session:
        owner = owner_class(id="Ada")
        owner.picture.from_blob(picture())
        session.add(owner)
        session.commit()
        assert session.scalars(select(pic)).one().make_blob() == picture()


@pytest.mark.parametrize("which", ["amount", "made_at", "label"])
def test_an_object_id_of_ones_own_reads_what_the_row_says(engine: Engine, which: str) -> None:
    def object_id(self: Any) -> int:
        if which == "amount":
            return int(self.amount * 1000)
        if which == "made_at":
            return int(self.made_at.replace(tzinfo=UTC).timestamp() * 1_000_000)
        return sum(map(ord, self.label))

    base, owner_class, pic = models(
        Integer,
        amount=mapped_column(Numeric(10, 2)),
        made_at=mapped_column(DateTime()),
        label=mapped_column(Lower()),
        object_id=property(object_id),
    )
    store = MemoryStore()
    with tables(engine, base), Session(engine, info={"image_store": store}) as session:
        owner = owner_class(id=1)
        values = {"amount": Decimal("1.239"), "made_at": datetime(2020, 1, 2, 3, 4, 5, 678901), "label": "ABC"}
        owner.picture.from_blob(picture(), extra_kwargs=values)
        session.add(owner)
        session.commit()
        image = session.scalars(select(pic)).one()
        assert image.make_blob() == picture()
        image.amount, image.label = Decimal("7.777"), "XYZ"
        session.commit()
        session.expunge_all()
        assert session.scalars(select(pic)).one().make_blob() == picture()
        assert len(store) == 1


def test_only_what_an_object_id_reads_is_asked_for(sqlite: Engine) -> None:
    base, owner_class, _ = models(
        Integer, label=mapped_column(Lower()), object_id=property(lambda self: self.owner_id * 2)
    )
    with tables(sqlite, base), Session(sqlite, info={"image_store": MemoryStore()}) as session:
        owner = owner_class(id=1)
        owner.picture.from_blob(picture(), extra_kwargs={"label": "ABC"})
        session.add(owner)
        with statements(sqlite) as sent:
            session.commit()
    assert sent == ["INSERT kept_owner", "INSERT kept_pic"]


@pytest.mark.parametrize(
    ("kind", "value"),
    [(Integer(), 5), (String(50), "ada"), (Uuid(), uuid.UUID(SPELT)), (Uuid(as_uuid=False), SPELT.lower())],
)
def test_the_ordinary_key_costs_no_statement(engine: Engine, kind: Any, value: Any) -> None:
    base, owner_class, _ = models(kind)
    with tables(engine, base), Session(engine, info={"image_store": MemoryStore()}) as session:
        owner = owner_class(id=value)
        owner.picture.from_blob(picture())
        session.add(owner)
        with statements(engine) as sent:
            session.commit()
    assert sent == ["INSERT kept_owner", "INSERT kept_pic"]


def test_a_key_that_moves_is_read_back_as_well(engine: Engine) -> None:
    base, owner_class, pic = models(Lower())
    store = MemoryStore()
    with tables(engine, base), Session(engine, info={"image_store": store}) as session:
        owner, other = owner_class(id="ada"), owner_class(id="bob")
        owner.picture.from_blob(picture())
        session.add_all([owner, other])
        session.commit()
        session.scalars(select(pic)).one().owner_id = "BOB"
        session.commit()
        session.expunge_all()
        assert session.scalars(select(pic)).one().make_blob() == picture()
        assert len(store) == 1


# --- several pictures of one owner -----------------------------------------------------------------------------------


def several(kind: Any) -> tuple[Any, Any, Any]:
    base: Any = declarative_base()
    post = type("Post", (base,), {
        "__tablename__": "kept_post",
        "id": mapped_column(Integer, primary_key=True),
        "photos": image_attachment("Photo", uselist=True),
    })  # fmt: skip
    photo = type("Photo", (base, Image), {
        "__tablename__": "kept_photo",
        "post_id": mapped_column(Integer, ForeignKey("kept_post.id"), primary_key=True),
        "slug": mapped_column(kind, primary_key=True),
    })  # fmt: skip
    return base, post, photo


@pytest.mark.parametrize(("kind", "value"), [(Lower(), "Front"), (Stripped(), " front"), (Uuid(as_uuid=False), SPELT)])
def test_one_picture_of_several_is_found_by_any_spelling(engine: Engine, kind: Any, value: str) -> None:
    base, post_class, photo = several(kind)
    store = MemoryStore()
    with tables(engine, base), Session(engine, info={"image_store": store}) as session:
        session.add(post := post_class())
        for colour, size in (("red", SMALL), ("blue", OTHER)):
            post.photos.get_image_set(slug=value).from_blob(picture(colour, size))
            session.flush()
            assert post.photos.get_image_set(slug=value).make_blob() == picture(colour, size)
            session.commit()
        assert len(post.photos.image_sets) == len(store) == 1
        assert session.scalars(select(photo)).one().make_blob() == picture("blue", OTHER)


def test_what_only_the_database_changes_is_refused_with_both_values(engine: Engine) -> None:
    base, post_class, _ = several(CHAR(8))
    store = MemoryStore()
    with tables(engine, base), Session(engine, info={"image_store": store}) as session:
        session.add(post := post_class())
        value = "front" if engine.dialect.name == "postgresql" else "front  "
        post.photos.get_image_set(slug=value).from_blob(picture())
        if engine.dialect.name == "sqlite":  # which changes nothing
            session.commit()
            assert post.photos.get_image_set(slug=value).make_blob() == picture()
            return
        with pytest.raises(ImageIdentityError, match=rf"Photo\.slug: .* got '{value}', which is stored as 'front ?"):
            session.flush()
        session.rollback()
        assert not store.blobs
