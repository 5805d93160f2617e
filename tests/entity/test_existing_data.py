"""A database and a directory written by version 1.x: read, located, resized, replaced and deleted in place."""

from __future__ import annotations

import importlib.util
import io
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from PIL import Image as Pillow
from sqlalchemy import URL, Engine, ForeignKey, Select, create_engine, inspect, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from sqlalchemy_imageattach.context import store_context
from sqlalchemy_imageattach.entity import (
    Image,
    LegacyImage,
    image_attachment,
)
from sqlalchemy_imageattach.errors import InvalidValueError, VariantConflictError
from sqlalchemy_imageattach.imaging import Rendition
from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.store import Store
from sqlalchemy_imageattach.stores.fs import FileSystemStore
from sqlalchemy_imageattach.variants.backfill import backfill
from tests.onex import FourMethodStore

from .support import color_of, picture, size_of

RECIPE = Path(__file__).parents[2] / "docs" / "examples" / "alembic_upgrade.py"
TIMESTAMP = {"sqlite": "DATETIME", "mysql": "DATETIME", "mariadb": "DATETIME"}

# What 1.x had SQLAlchemy create: the columns of the mixin first, and the type of a picture no part of its key.
SCHEMA = """
CREATE TABLE {q}user{q} (id INTEGER NOT NULL, PRIMARY KEY (id));
CREATE TABLE post (id INTEGER NOT NULL, PRIMARY KEY (id));
CREATE TABLE user_picture (
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    mimetype VARCHAR(255) NOT NULL,
    original BOOLEAN NOT NULL,
    created_at {timestamp} NOT NULL,
    user_id INTEGER NOT NULL,
    PRIMARY KEY (width, height, user_id),
    FOREIGN KEY(user_id) REFERENCES {q}user{q} (id)
);
CREATE TABLE post_photo (
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    mimetype VARCHAR(255) NOT NULL,
    original BOOLEAN NOT NULL,
    created_at {timestamp} NOT NULL,
    post_id INTEGER NOT NULL,
    order_index INTEGER NOT NULL,
    PRIMARY KEY (post_id, order_index, width, height),
    FOREIGN KEY(post_id) REFERENCES post (id)
);
INSERT INTO {q}user{q} (id) VALUES (1234567);
INSERT INTO post (id) VALUES (5);
INSERT INTO user_picture VALUES (60, 40, 'image/jpeg', {true}, '2016-06-30 12:34:56', 1234567);
INSERT INTO user_picture VALUES (30, 20, 'image/jpeg', {false}, '2016-07-01 00:00:00', 1234567);
INSERT INTO post_photo VALUES (60, 40, 'image/png', {true}, '2016-06-30 12:34:56', 5, 2);
"""

# Where 1.x kept them.  Its own identifiers of composite keys were those that programs computed.
FILES = {
    "user-picture/567/1234/1234567.60x40.jpe": picture(60, 40, "red", "JPEG"),
    "user-picture/567/1234/1234567.30x20.jpe": picture(30, 20, "red", "JPEG"),
    "post-photo/502/0/502.60x40.png": picture(60, 40, "blue", "PNG"),
}


def models(mixin: type[Image]) -> Any:
    """The models of the program, with ``mixin`` as the mixin of its images."""

    class Base(DeclarativeBase):
        pass

    class Models:
        metadata = Base.metadata

        class User(Base):
            __tablename__ = "user"
            id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
            picture = image_attachment("UserPicture")

        class Post(Base):
            __tablename__ = "post"
            id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
            photos = image_attachment("PostPhoto", uselist=True)

        class UserPicture(Base, mixin):  # type: ignore[misc, valid-type]
            __tablename__ = "user_picture"
            user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)
            user = relationship("User")

        class PostPhoto(Base, mixin):  # type: ignore[misc, valid-type]
            __tablename__ = "post_photo"
            post_id: Mapped[int] = mapped_column(ForeignKey("post.id"), primary_key=True)
            order_index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)

            @property
            def object_id(self) -> int:
                return self.post_id * 100 + self.order_index

    return Models


LEGACY, TODAY = models(LegacyImage), models(Image)


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database that version 1.x has written."""
    url = URL.create("sqlite", database=str(tmp_path / "database"))
    if request.param != "sqlite":
        url = request.getfixturevalue(f"{request.param}_url")
    engine = create_engine(url)
    dialect = engine.dialect.name
    words = {
        "q": "`" if dialect in {"mysql", "mariadb"} else '"',
        "timestamp": TIMESTAMP.get(dialect, "TIMESTAMP WITH TIME ZONE"),
        "true": "true" if dialect == "postgresql" else "1",
        "false": "false" if dialect == "postgresql" else "0",
    }
    with engine.begin() as connection:
        for statement in SCHEMA.format(**words).split(";\n"):
            if statement.strip():
                connection.execute(text(statement))
    yield engine
    with engine.begin() as connection:
        TODAY.metadata.drop_all(connection)
        connection.execute(text("DROP TABLE IF EXISTS alembic_version"))
    engine.dispose()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory that version 1.x has written."""
    root = tmp_path / "images"
    for name, blob in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(blob)
    return root


@pytest.fixture
def store(directory: Path) -> Iterator[Store]:
    store = FileSystemStore(directory, "http://images.example/", fsync=False)
    with store_context(store):
        yield store


def files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


@pytest.fixture
def alembic(engine: Engine, tmp_path: Path) -> Callable[..., None]:
    """Runs a command of Alembic in an environment that has the recipe of the documentation as its revision."""
    scripts = tmp_path / "migrations"
    (scripts / "versions").mkdir(parents=True)
    shutil.copy(RECIPE, scripts / "versions")
    (scripts / "env.py").write_text(
        "from alembic import context\n"
        "context.configure(connection=context.config.attributes['connection'])\n"
        "with context.begin_transaction():\n"
        "    context.run_migrations()\n"
    )
    config = Config()
    config.set_main_option("script_location", str(scripts))
    config.set_main_option("path_separator", "os")

    def run(verb: Callable[..., None], revision: str) -> None:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            verb(config, revision)

    return run


# --- without a change of the tables ----------------------------------------------------------------------------------


def test_the_legacy_mixin_maps_the_tables_as_they_are(engine: Engine) -> None:
    for cls in (LEGACY.UserPicture, LEGACY.PostPhoto):
        mapped = {column.name for column in cls.__table__.columns}
        assert mapped == {column["name"] for column in inspect(engine).get_columns(cls.__tablename__)}
        key = inspect(engine).get_pk_constraint(cls.__tablename__)["constrained_columns"]
        assert set(cls.identity_attributes()) == set(key)


@pytest.fixture(params=["legacy", "upgraded"])
def mapped(request: pytest.FixtureRequest, alembic: Callable[..., None]) -> Any:
    """The models, with the mixin for tables as they are, or with today's after the upgrade."""
    if request.param == "legacy":
        return LEGACY
    alembic(command.upgrade, "head")
    return TODAY


def test_pictures_are_read_and_located_where_they_are(
    engine: Engine, mapped: Any, store: Store, directory: Path
) -> None:
    with Session(engine) as session:
        user = session.get_one(mapped.User, 1234567)
        assert user.picture.size == (60, 40)
        assert user.picture.make_blob() == FILES["user-picture/567/1234/1234567.60x40.jpe"]
        small = user.picture.find_thumbnail(width=30)
        assert small.make_blob() == FILES["user-picture/567/1234/1234567.30x20.jpe"]
        url, name, ts = re.split(r"example/|\?", user.picture.locate())
        assert (url, name) == ("http://images.", "user-picture/567/1234/1234567.60x40.jpe")
        assert ts == "_ts=" + user.picture.original.created_at.strftime("%Y%m%d%H%M%S%f")
        assert ts.startswith("_ts=20160630")
        photo = session.get_one(mapped.Post, 5).photos.get_image_set(order_index=2)
        assert photo.make_blob() == FILES["post-photo/502/0/502.60x40.png"]
        assert (
            photo.find_thumbnail(height=40).locate().startswith("http://images.example/post-photo/502/0/502.60x40.png?")
        )
    assert files(directory) == set(FILES)


def test_thumbnails_are_made_of_them(engine: Engine, mapped: Any, store: Store, directory: Path) -> None:
    with Session(engine) as session:
        user = session.get_one(mapped.User, 1234567)
        assert user.picture.thumbnail(width=30).make_blob() == FILES["user-picture/567/1234/1234567.30x20.jpe"]
        made = user.picture.thumbnail(width=15)
        session.commit()
        assert size_of(made.make_blob()) == (15, 10)
        assert len(files(directory)) == 4
        # the old one is made anew, in its place
        image_set = session.get_one(mapped.User, 1234567).picture
        assert image_set.generate_thumbnail(width=30) is image_set.find_thumbnail(width=30)
        image_set.generate_thumbnail(width=30, regenerate=True)
        session.commit()
        small = session.get_one(mapped.User, 1234567).picture.find_thumbnail(width=30)
        assert small.make_blob() != FILES["user-picture/567/1234/1234567.30x20.jpe"]
    assert len(files(directory)) == 4
    assert ("user-picture/567/1234/1234567.30x20.jpe" in files(directory)) == (mapped is LEGACY)


@pytest.fixture
def turned(directory: Path) -> None:
    """A photograph whose camera was turned: 1.x recorded the 60×40 of its file, while upright it is 40×60."""
    exif = Pillow.Exif()
    exif[0x0112] = 6
    blob = picture(60, 40, "red", "JPEG", exif=exif)
    (directory / "user-picture/567/1234/1234567.60x40.jpe").write_bytes(blob)


@pytest.mark.usefixtures("turned")
def test_thumbnails_of_one_that_lies_on_its_side_are_upright_and_made_once(
    engine: Engine, mapped: Any, store: Store, directory: Path
) -> None:
    for _ in range(2):
        with Session(engine) as session:
            image_set = session.get_one(mapped.User, 1234567).picture
            small, by_height = image_set.thumbnail(width=20), image_set.thumbnail(height=10)
            assert (small.size, by_height.size) == ((20, 30), (7, 10))
            assert size_of(small.make_blob()) == small.size
            # as large as it is upright, and as large as its row says
            assert image_set.thumbnail(width=40, reuse_original=True) is image_set.original
            assert image_set.thumbnail(width=60, reuse_original=True) is image_set.original
            assert (image_set.thumbnail(width=40).size, image_set.thumbnail(width=60).size) == ((40, 60), (60, 90))
            # what 1.x has made
            assert image_set.thumbnail(width=30).make_blob() == FILES["user-picture/567/1234/1234567.30x20.jpe"]
            session.commit()
            made = files(directory)
            assert len(made) == len(FILES) + 4
            assert image_set.count() == 6
    assert files(directory) == made


@pytest.mark.usefixtures("turned")
def test_thumbnails_of_one_that_lies_on_its_side_are_made_by_the_size_that_it_has(
    engine: Engine, mapped: Any, store: Store
) -> None:
    with Session(engine) as session:
        image_set = session.get_one(mapped.User, 1234567).picture
        # by its row, both would be of 24×16
        wide, high = image_set.generate_thumbnails([{"width": 24}, {"height": 16}])
        assert (wide.size, high.size) == ((24, 36), (11, 16))
        # what 1.x has made, and another one instead
        assert image_set.generate_thumbnail(width=30).size == (30, 20)
        assert image_set.generate_thumbnail(width=30, regenerate=True).size == (30, 45)
        upright = image_set.generate_thumbnail(width=90, upscale=False)
        assert (upright.size, upright.original) == ((40, 60), False)
        session.commit()
        assert {image.size for image in image_set} == {(60, 40), (24, 36), (11, 16), (30, 45), (40, 60)}


@pytest.mark.usefixtures("turned")
def test_what_backfill_has_made_is_there_the_next_time(
    engine: Engine, mapped: Any, store: Store, directory: Path
) -> None:
    renditions = [Rendition(width=20), Rendition(height=10), Rendition(width=30), Rendition(width=90, upscale=False)]

    def run(**options: Any) -> tuple[int, int]:
        with Session(engine) as session:
            result = backfill(session, mapped.User.registry, renditions, store, **options)
        assert result.ok
        return result.pictures, result.generated

    # the user's picture lacks two (1.x made one of the width 30), and the post's photo three (1.x made none)
    assert run(reuse_original=True) == (2, 5)
    made = files(directory)
    assert run(reuse_original=True) == (2, 0)
    assert files(directory) == made
    assert run(reuse_original=True, regenerate=True) == (2, 6)
    assert len(files(directory)) == len(made)
    assert run(reuse_original=True) == (2, 0)


@pytest.mark.usefixtures("engine")
def test_backfill_says_where_tables_of_1x_have_no_room(engine: Engine, mapped: Any, store: Store) -> None:
    with Session(engine) as session:
        result = backfill(session, mapped.User.registry, [Rendition(width=90, upscale=False)], store)
    if mapped is TODAY:
        assert (result.ok, result.generated) == (True, 2)
    else:
        assert (result.failed, result.generated) == (2, 0)
        assert all("reuse_original=True" in str(failure) for failure in result.failures)


@pytest.mark.parametrize("size", [(60, 40), (20, 20)])
def test_they_are_replaced(engine: Engine, mapped: Any, store: Store, directory: Path, size: tuple[int, int]) -> None:
    with Session(engine) as session:
        user = session.get_one(mapped.User, 1234567)
        user.picture.from_blob(picture(*size, "lime", "JPEG"))
        session.flush()
        session.rollback()
        assert {name: (directory / name).read_bytes() for name in files(directory)} == FILES

        user.picture.from_blob(picture(*size, "lime", "JPEG"))
        session.commit()
        assert user.picture.make_blob() == picture(*size, "lime", "JPEG")
        assert user.picture.count() == 1
    mine = {name for name in files(directory) if name.startswith("user")}
    assert len(mine) == 1
    assert not mine & set(FILES) or (mapped is LEGACY and size == (60, 40))
    assert "post-photo/502/0/502.60x40.png" in files(directory)


@pytest.mark.parametrize("commits", [True, False])
def test_two_store_objects_for_one_directory_are_one_place(
    engine: Engine, mapped: Any, directory: Path, tmp_path: Path, commits: bool
) -> None:
    """What one of them replaces is what the other one has just written, where blobs have no revision."""
    (tmp_path / "link").symlink_to(directory)
    one, other = FileSystemStore(directory, "/"), FileSystemStore(tmp_path / "link", "/")
    with Session(engine) as session:
        user = session.get_one(mapped.User, 1234567)
        former, new = picture(50, 50, "green"), picture(50, 50, "yellow")
        image = user.picture.from_blob(former, one)  # held, so that it goes on to know its store
        session.commit()
        user.picture.from_blob(new, other)
        session.flush()
        if commits:
            session.commit()
        else:
            session.rollback()
        assert user.picture.make_blob(one) == (new if commits else former)
        assert image in session or commits


def test_they_are_deleted(engine: Engine, mapped: Any, store: Store, directory: Path) -> None:
    with Session(engine) as session:
        session.delete(session.get_one(mapped.User, 1234567))
        session.flush()
        assert files(directory) == set(FILES)
        session.commit()
        assert files(directory) == {"post-photo/502/0/502.60x40.png"}
        session.get_one(mapped.Post, 5).photos.get_image_set(order_index=2).clear()
        session.commit()
        assert session.scalars(select(mapped.PostPhoto)).all() == []
    assert files(directory) == set()


def test_new_ones_are_attached_beside(engine: Engine, mapped: Any, store: Store, directory: Path) -> None:
    with Session(engine) as session:
        session.add(user := mapped.User(id=2))
        user.picture.from_blob(picture(format="JPEG"))
        session.get_one(mapped.Post, 5).photos.get_image_set(order_index=1).from_blob(picture())
        session.commit()
        assert session.get_one(mapped.Post, 5).photos.image_sets[0].make_blob() == picture()
        new = files(directory) - set(FILES)
        expected = {"user-picture/2/0/2.60x40.jpe", "post-photo/501/0/501.60x40.png"}
        assert (new == expected) == (mapped is LEGACY)
        assert len(new) == 2
        assert ("_ts=" in user.picture.locate()) == (mapped is LEGACY)


def test_a_store_written_for_1_0_serves_them(engine: Engine, mapped: Any) -> None:
    store = FourMethodStore()
    store.blobs[ImageKey("user-picture", 1234567, 60, 40, "image/jpeg")] = picture(60, 40, "red", "JPEG")
    store.blobs[ImageKey("user-picture", 1234567, 30, 20, "image/jpeg")] = picture(30, 20, "red", "JPEG")
    with store_context(store), Session(engine) as session:
        user = session.get_one(mapped.User, 1234567)
        assert user.picture.locate() == "http://old.example.com/user-picture/1234567/60x40?_ts=" + (
            user.picture.original.created_at.strftime("%Y%m%d%H%M%S%f")
        )
        user.picture.generate_thumbnail(width=15)
        session.commit()
        assert len(store.blobs) == 3
        # the same size and type: one place, and what was there comes back when this is rolled back
        user.picture.from_blob(picture(60, 40, "blue", "JPEG"))
        session.flush()
        session.rollback()
        assert color_of(user.picture.make_blob())[0] > 200
        assert len(store.blobs) == 3
        user.picture.from_blob(picture(60, 40, "blue", "JPEG"))
        session.commit()
        assert color_of(user.picture.make_blob())[2] > 200
        assert list(store.blobs) == [ImageKey("user-picture", 1234567, 60, 40, "image/jpeg")]
        session.delete(user)
        session.commit()
    assert store.blobs == {}


# --- the Alembic recipe ----------------------------------------------------------------------------------------------


def test_the_upgrade_makes_the_tables_what_the_models_say(engine: Engine, alembic: Callable[..., None]) -> None:
    alembic(command.upgrade, "head")
    with engine.connect() as connection:
        # other tests may have left tables of their own in this database
        ours = {"include_name": lambda name, kind, _: kind != "table" or name in TODAY.metadata.tables}
        context = MigrationContext.configure(connection, opts={"compare_type": True, **ours})
        changes = compare_metadata(context, TODAY.metadata)
    assert [change for change in changes if "alembic_version" not in str(change)] == []
    for table, owner in (("user_picture", {"user_id"}), ("post_photo", {"post_id", "order_index"})):
        key = inspect(engine).get_pk_constraint(table)["constrained_columns"]
        assert set(key) == {"width", "height", "mimetype", "variant", *owner}
        (foreign_key,) = inspect(engine).get_foreign_keys(table)
        assert foreign_key["referred_table"] in {"user", "post"}
    with engine.connect() as connection:
        statement: Select[Any] = select(TODAY.UserPicture.__table__).order_by(TODAY.UserPicture.width)
        small, large = connection.execute(statement).all()
    assert (small.width, small.height, small.mimetype, small.original, small.user_id) == (
        *(30, 20, "image/jpeg", False, 1234567),
    )
    assert large.original
    assert isinstance(large.created_at, datetime)
    assert large.created_at.date().isoformat() == "2016-06-30"
    assert (large.revision, large.byte_size, large.checksum) == (None, None, None)


def test_after_the_upgrade_one_size_can_be_there_in_two_types(
    engine: Engine, alembic: Callable[..., None], store: Store, directory: Path
) -> None:
    with Session(engine) as session:
        # before, one of another type can only take the place of the one of the same size …
        with pytest.raises(VariantConflictError, match="30×20 image/png is taken by another picture"):
            session.get_one(LEGACY.User, 1234567).picture.generate_thumbnail(width=30, format="png")
        session.get_one(LEGACY.User, 1234567).picture.generate_thumbnail(width=30, format="png", regenerate=True)
        session.commit()
        image_set = session.get_one(LEGACY.User, 1234567).picture
        assert sorted((image.width, image.mimetype) for image in image_set) == [(30, "image/png"), (60, "image/jpeg")]
        assert len(files(directory)) == 3
        # … but not that of the original, or of another one that is made at the same time
        for renditions in (
            [{"width": 15}, {"width": 60, "format": "png"}],
            [{"width": 20, "format": "png"}, {"width": 20, "format": "webp"}],
        ):
            with pytest.raises(InvalidValueError, match="UserPicture has one type for each size, since mimetype is"):
                image_set.generate_thumbnails(renditions)
        with pytest.raises(InvalidValueError, match="cannot have the size of its original, got 60 40 image/png"):
            image_set.from_raw_file(io.BytesIO(picture()), original=False)
        session.commit()
        assert len(files(directory)) == 3
    alembic(command.upgrade, "head")
    with Session(engine) as session:
        session.get_one(TODAY.User, 1234567).picture.generate_thumbnail(width=30, format="webp")
        session.commit()
        assert session.get_one(TODAY.User, 1234567).picture.count() == 3
    assert len(files(directory)) == 4


def test_the_upgrade_can_be_undone_until_it_is_used(
    engine: Engine, alembic: Callable[..., None], store: Store, directory: Path
) -> None:
    before = {table: inspect(engine).get_columns(table) for table in ("user_picture", "post_photo")}
    key = inspect(engine).get_pk_constraint("user_picture")["constrained_columns"]
    alembic(command.upgrade, "head")
    alembic(command.downgrade, "base")
    for table, columns in before.items():
        after = inspect(engine).get_columns(table)
        assert {column["name"] for column in after} == {column["name"] for column in columns}
    assert inspect(engine).get_pk_constraint("user_picture")["constrained_columns"] == key
    with Session(engine) as session:
        assert session.get_one(LEGACY.User, 1234567).picture.make_blob()
    alembic(command.upgrade, "head")
    with Session(engine) as session:
        session.get_one(TODAY.User, 1234567).picture.generate_thumbnail(width=15)
        session.commit()
    with pytest.raises(RuntimeError, match="user_picture has 1 pictures that were attached by version 2"):
        alembic(command.downgrade, "base")
    with Session(engine) as session:
        assert session.get_one(TODAY.User, 1234567).picture.count() == 3


def test_the_recipe_is_a_module_that_can_be_imported() -> None:
    spec = importlib.util.spec_from_file_location("alembic_upgrade", RECIPE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.down_revision is None
    assert set(module.TABLES) == {"user_picture", "post_photo"}
    assert {*module.COLUMNS, "variant"} == {column.name for column in TODAY.UserPicture.__table__.columns} - {
        column.name for column in LEGACY.UserPicture.__table__.columns
    }
