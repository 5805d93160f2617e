"""What the bulk operations see through the sessions of applications that do not show every row of one database."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Engine,
    Integer,
    String,
    Table,
    create_engine,
    event,
    func,
    insert,
    select,
)
from sqlalchemy.ext.horizontal_shard import ShardedSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, with_loader_criteria

from sqlalchemy_imageattach.bulk import keyset
from sqlalchemy_imageattach.entity import Image
from sqlalchemy_imageattach.errors import InvalidTypeError, InvalidValueError
from sqlalchemy_imageattach.imaging import Rendition
from sqlalchemy_imageattach.key import ImageKey, new_revision
from sqlalchemy_imageattach.maintenance import check, sweep
from sqlalchemy_imageattach.migration import migrate
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.variants.backfill import backfill
from tests.migrating import Base, User, UserPicture, attach, database, fill, picture, row_of

NOW = timedelta(0)

#: Whether sessions have execution options of their own.
SINCE_2_1 = tuple(map(int, sqlalchemy.__version__.split(".")[:2])) >= (2, 1)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = database(f"sqlite:///{tmp_path}/test.db")
    yield engine
    engine.dispose()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


# --- an application that hides rows from all its queries -------------------------------------------------------------


@pytest.fixture
def some_hidden() -> Iterator[None]:
    def hide(state: Any) -> None:
        if state.is_select and not state.is_column_load:
            state.statement = state.statement.options(
                with_loader_criteria(UserPicture, UserPicture.user_id > 3, include_aliases=True)
            )

    event.listen(Session, "do_orm_execute", hide)
    yield
    event.remove(Session, "do_orm_execute", hide)


@pytest.mark.usefixtures("some_hidden")
def test_a_row_that_the_application_hides_keeps_its_blob(engine, store) -> None:
    fill(engine, store, 10)
    with Session(engine) as session:
        assert len(session.scalars(select(UserPicture)).all()) == 7
    with Session(engine) as session, sweep(session, Base, store, dry_run=False, grace=NOW) as report:
        assert (report.rows, report.deleted, len(store)) == (10, 0, 10)


@pytest.mark.usefixtures("some_hidden")
def test_the_blob_of_a_row_that_the_application_hides_is_migrated(engine, store) -> None:
    fill(engine, store, 10)
    destination, totals = MemoryStore(), []
    with Session(engine) as session:
        migrate(session, Base, store, destination, progress=lambda result: totals.append(result.total)).execute()
        assert destination.blobs == store.blobs
        assert set(totals) == {10}


# --- sessions with execution options ---------------------------------------------------------------------------------


@pytest.fixture
def tenant(tmp_path: Path) -> Iterator[tuple[Engine, dict[str, Any]]]:
    """A database with the same tables in two schemas, and the options by which sessions see those of the second."""
    engine = create_engine("sqlite://", poolclass=sqlalchemy.StaticPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"ATTACH '{tmp_path}/tenant.db' AS tenant")
        connection.commit()
    options: dict[str, Any] = {"schema_translate_map": {None: "tenant"}}
    Base.metadata.create_all(engine)
    Base.metadata.create_all(engine.execution_options(**options))
    yield engine, options
    engine.dispose()


@pytest.mark.skipif(not SINCE_2_1, reason="sessions have had execution options since SQLAlchemy 2.1")
def test_rows_are_read_in_the_schema_that_the_session_says(tenant, store) -> None:
    engine, options = tenant
    fill(engine.execution_options(**options), store, 10)
    destination = MemoryStore()
    with Session(engine, execution_options=options) as session:
        with sweep(session, Base, store, dry_run=False, grace=NOW, limit=1) as report:
            assert (report.rows, report.deleted, len(store)) == (10, 0, 10)
        assert migrate(session, Base, store, destination).execute().copied == 10
        assert not session.in_transaction()


@pytest.mark.skipif(not SINCE_2_1, reason="sessions have had execution options since SQLAlchemy 2.1")
def test_thumbnails_are_made_in_the_schema_that_the_session_says(tenant, store) -> None:
    engine, options = tenant
    with Session(engine, execution_options=options) as session:
        attach(session, store, picture())
        session.commit()
    with Session(engine, execution_options=options) as session:
        assert backfill(session, Base, [Rendition(width=10)], store).generated == 1
        assert session.scalar(select(func.count()).select_from(UserPicture)) == 2
    with Session(engine) as session:
        assert session.scalars(select(User)).all() == []


# --- sessions of several databases -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "use",
    [
        lambda session, store: check(session, Base, store),
        lambda session, store: sweep(session, Base, store, dry_run=False, grace=NOW),
        lambda session, store: migrate(session, Base, store, MemoryStore()),
        lambda session, store: backfill(session, Base, [Rendition(width=10)], store),
    ],
)
def test_a_session_that_spreads_a_class_over_several_databases_is_refused(engine, store, use) -> None:
    other = database()
    fill(engine, store, 10)
    fill(other, store, 10, first=11)
    session = ShardedSession(
        shards={"one": engine, "other": other},
        shard_chooser=lambda mapper, instance, clause=None: "one",
        identity_chooser=lambda *args, **kwargs: ["one", "other"],
        execute_chooser=lambda context: ["one", "other"],
    )
    with session, pytest.raises(InvalidTypeError, match="one database, got ShardedSession"):
        use(session, store)
    assert len(store) == 20
    other.dispose()


# --- rows without a whole key ----------------------------------------------------------------------------------------


class LooseBase(DeclarativeBase):
    pass


class LoosePhoto(LooseBase, Image):
    """Mapped by columns that are no primary key to the database, and may be NULL there."""

    __table__ = Table(
        "loose_photo",
        LooseBase.metadata,
        Column("album", Integer),
        Column("number", Integer),
        *(Column(name, Integer) for name in ("width", "height", "byte_size", "frames", "focal_x", "focal_y")),
        *(
            Column(name, String(64))
            for name in ("mimetype", "variant", "revision", "checksum", "dominant_color", "thumbhash", "made_for")
        ),
        Column("original", Boolean),
        Column("created_at", DateTime(timezone=True)),
    )
    __mapper_args__ = {"primary_key": [__table__.c.album, __table__.c.number]}
    object_type = "photo"
    album: Mapped[int]
    number: Mapped[int | None]

    @property
    def object_id(self) -> int:
        return self.album * 1000 + (self.number or 0)


@pytest.mark.parametrize("last", [5, None])
def test_rows_that_cannot_be_read_in_pages_are_not_left_out_in_silence(tmp_path, store, monkeypatch, last) -> None:
    monkeypatch.setattr(keyset, "PAGE", 3)
    engine = database(f"sqlite:///{tmp_path}/test.db", LooseBase)
    with engine.begin() as connection:
        for album, number in [(1, last), (1, 1), (1, 2), (2, 1), (2, last), (2, 2), (3, last), (3, 1), (4, 1)]:
            key = ImageKey("photo", album * 1000 + (number or 0), 640, 480, "image/jpeg", new_revision())
            store.put(key, io.BytesIO(b"a picture"), reproducible=False)
            row = row_of(key, b"a picture", album=album, number=number)
            connection.execute(insert(LoosePhoto), [row])
    with Session(engine) as session:
        if last is None:
            with pytest.raises(InvalidValueError, match=r"no row with NULL in its primary key \(album, number\)"):
                sweep(session, LooseBase, store, dry_run=False, grace=NOW)
        else:
            with sweep(session, LooseBase, store, dry_run=False, grace=NOW) as report:
                assert report.rows == 9
    assert len(store) == 9
    engine.dispose()


# --- bases of the same database --------------------------------------------------------------------------------------


class AllBase(DeclarativeBase):
    pass


class ShopBase(AllBase):
    __abstract__ = True


class BlogBase(AllBase):
    __abstract__ = True


class ShopPhoto(ShopBase, Image):
    __tablename__ = "shop_photo"
    object_type = "photo"

    id: Mapped[int] = mapped_column(primary_key=True)


class BlogPhoto(BlogBase, Image):
    __tablename__ = "blog_photo"
    object_type = "photo"

    id: Mapped[int] = mapped_column(primary_key=True)


class BlogHeader(BlogBase, Image):
    __tablename__ = "blog_header"

    id: Mapped[int] = mapped_column(primary_key=True)


def test_a_blob_that_a_class_of_another_abstract_base_names_is_no_orphan(tmp_path, store) -> None:
    engine = database(f"sqlite:///{tmp_path}/test.db", AllBase)
    with engine.begin() as connection:
        for cls, number in ((ShopPhoto, 1), (BlogPhoto, 2), (BlogHeader, 3)):
            object_type = "blog-header" if cls is BlogHeader else "photo"
            key = ImageKey(object_type, number, 640, 480, "image/jpeg", new_revision())
            store.put(key, io.BytesIO(b"a picture"), reproducible=False)
            connection.execute(insert(cls), [row_of(key, b"a picture", id=number)])
    with Session(engine) as session, sweep(session, ShopBase, store, dry_run=False, grace=NOW) as report:
        assert (report.rows, report.deleted, len(store)) == (2, 0, 3)
        assert [problem.kind.name for problem in report] == ["UNMAPPED"]
    engine.dispose()
