"""Wrong arguments: a typed error that says what was expected, what came and what to do; nothing is stored or lost."""

from __future__ import annotations

import io
import os
from contextvars import Context
from pathlib import Path
from typing import IO, Any

import pytest
from sqlalchemy import Engine, ForeignKey, Integer
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from sqlalchemy_imageattach.context import current_store, push_store_context, set_default_store, store_context
from sqlalchemy_imageattach.entity import Image, SingleImageSet, image_attachment
from sqlalchemy_imageattach.errors import (
    ContextError,
    ImageAttachError,
    ImageIdentityError,
    InvalidTypeError,
    InvalidValueError,
    NoFileError,
    NoOriginalError,
    StoreError,
    UnreadableImageError,
)
from sqlalchemy_imageattach.store import Store
from tests.onex import FourMethodStore

from .models import Base, Post, User, UserPicture
from .support import CountingStore, database, picture


@pytest.fixture
def user(session: Session) -> User:
    user = User()
    session.add(user)
    user.picture.from_blob(picture())
    session.commit()
    return user


def closed() -> io.BytesIO:
    file = io.BytesIO(picture())
    file.close()
    return file


class Awaitable:
    async def read(self, size: int = -1) -> bytes:
        return b""


class OfText:
    def read(self, size: int = -1) -> str:
        return "text"


class OfNothing:
    def read(self, size: int = -1) -> None:
        return None


FILES: list[Any] = [
    (None, InvalidTypeError, "expected a binary file .* got NoneType"),
    (5, InvalidTypeError, "expected a binary file .* got int"),
    ("portrait.png", InvalidTypeError, r"got a path \('portrait\.png'\); open it in binary mode: open\(path, 'rb'\)"),
    (Path("portrait.png"), InvalidTypeError, r"got a path .*open\(path, 'rb'\)"),
    (picture(), InvalidTypeError, r"got \d+ bytes \(bytes\); use from_blob\(\)"),
    (io.StringIO("text"), InvalidTypeError, r"binary mode, got StringIO, opened in text mode; open it with"),
    (closed(), InvalidValueError, r"expected an open file, got BytesIO, which is closed; attach the picture before"),
    (io.BytesIO, InvalidTypeError, "got the class BytesIO"),
    (Awaitable(), InvalidTypeError, r"whose read\(\) is async; use from_blob\(await file\.read\(\)\)"),
    (OfText(), InvalidTypeError, r"to return bytes, got str; open it in binary mode"),
    (OfNothing(), InvalidTypeError, r"to return bytes, got NoneType; it seems to be in non-blocking mode"),
    (io.BytesIO(), UnreadableImageError, "expected an image, got an empty file"),
    (io.BytesIO(b"Dear Sir"), UnreadableImageError, "expected an image, got bytes of no known image type"),
]


@pytest.mark.parametrize(("file", "error", "message"), FILES)
def test_what_is_no_binary_file_is_refused(
    session: Session, user: User, store: CountingStore, file: Any, error: type[Exception], message: str
) -> None:
    for attach in (user.picture.from_file, user.picture.from_raw_file):
        with pytest.raises(error, match=message) as caught:
            attach(file)
        assert isinstance(caught.value, ImageAttachError)
    session.commit()
    assert user.picture.make_blob() == picture()
    session.close()
    assert len(store) == store.calls["put"] == 1


def test_a_real_file_in_text_mode_or_for_writing_is_refused(user: User, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(picture())
    with path.open() as file, pytest.raises(InvalidTypeError, match="opened in text mode"):
        user.picture.from_file(file)
    with path.open("ab") as writer, pytest.raises(InvalidValueError, match="opened for writing only"):
        user.picture.from_file(writer)
    reader, writer_fd = os.pipe()
    os.close(writer_fd)
    with os.fdopen(reader, "rb") as pipe, pytest.raises(UnreadableImageError, match="empty file"):
        user.picture.from_file(pipe)


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"size": 5}, "size: expected a pair of width and height in pixels, or None, got 5"),
        ({"size": "60x40"}, "size: expected a pair .* got '60x40'"),
        ({"size": (60, 40, 3)}, "size: expected a pair"),
        ({"size": (60.0, 40)}, "size: expected a pair"),
        ({"size": (True, 40)}, "size: expected a pair"),
        ({"mimetype": 5}, r"mimetype: expected a str such as 'image/png', or None, got int \(5\)"),
        ({"mimetype": b"image/png"}, "mimetype: expected a str .* got bytes"),
    ],
)
def test_expectations_that_make_no_sense_are_refused_before_anything_is_read(
    user: User, expected: Any, message: str
) -> None:
    class Unread(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise AssertionError

    with pytest.raises(InvalidTypeError, match=message):
        user.picture.from_raw_file(Unread(), **expected)
    assert user.picture.make_blob() == picture()


@pytest.mark.parametrize("blob", [None, 5, "text", io.BytesIO(picture()), [1, 2]])
def test_what_are_no_bytes_is_refused(user: User, blob: Any) -> None:
    with pytest.raises(InvalidTypeError, match=r"expected bytes, got \w+; for a file there is from_file\(\)"):
        user.picture.from_blob(blob)
    assert user.picture.make_blob() == picture()


NO_STORES = [5, "s3", CountingStore, object(), {"image_store": None}]


@pytest.mark.parametrize("store_", NO_STORES)
@pytest.mark.parametrize(
    "operation",
    [
        lambda user, store: user.picture.from_file(io.BytesIO(picture()), store=store),
        lambda user, store: user.picture.from_blob(picture(), store=store),
        lambda user, store: user.picture.from_raw_file(io.BytesIO(picture()), store=store),
        lambda user, store: user.picture.generate_thumbnail(width=10, store=store),
        lambda user, store: user.picture.generate_thumbnails([{"width": 10}], store=store),
        lambda user, store: user.picture.thumbnail(width=10, store=store),
        lambda user, store: user.picture.locate(store=store),
        lambda user, store: user.picture.open_file(store=store),
        lambda user, store: user.picture.make_blob(store=store),
        lambda user, store: user.picture.clear(store=store),
        lambda user, store: user.picture[0].locate(store=store),
        lambda user, store: user.picture[0].open_file(store=store),
        lambda user, store: user.picture[0].make_blob(store=store),
        lambda user, store: store_context(store).__enter__(),
        lambda user, store: push_store_context(store),
        lambda user, store: set_default_store(store),
    ],
)
def test_what_is_no_store_is_refused(session: Session, user: User, operation: Any, store_: Any) -> None:
    with pytest.raises(InvalidTypeError, match=r"expected a store \(an instance of a subclass of .*\.Store\), got "):
        operation(user, store_)
    session.commit()
    assert user.picture.make_blob() == picture()


def test_what_is_no_store_in_the_sessions_info_is_refused(session: Session, user: User) -> None:
    session.info["image_store"] = "s3"
    with pytest.raises(InvalidTypeError, match=r"expected a store .* got str \('s3'\)"):
        Context().run(user.picture.from_blob, picture())


def test_without_any_store_the_error_names_the_ways(engine: Engine, user: User, store: CountingStore) -> None:
    session = Session(engine)
    user = session.get_one(User, user.id)
    operations: list[Any] = [
        lambda: user.picture.from_blob(picture()),
        lambda: user.picture.from_file(io.BytesIO(picture())),
        lambda: user.picture.generate_thumbnail(width=10),
        lambda: user.picture.locate(),
        lambda: user.picture.make_blob(),
        lambda: user.picture.open_file(store=current_store),
        lambda: current_store.locate(user.picture.require_original()),
    ]
    for operation in operations:
        with pytest.raises(ContextError) as caught:
            Context().run(operation)
        message = str(caught.value)
        for way in ("store=", "store_context(", "session", '"image_store"', "set_default_store("):
            assert way in message
        assert isinstance(caught.value, LookupError)
    session.commit()
    assert user.picture.make_blob() == picture()


@pytest.mark.parametrize("image", [None, 5, User, User(), "image"])
def test_what_is_no_image_is_refused_by_stores(store: CountingStore, image: Any) -> None:
    operations: list[Any] = [
        lambda: store.store(image, io.BytesIO(picture())),
        lambda: store.open(image),
        lambda: store.delete(image),
        lambda: store.locate(image),
    ]
    for operation in operations:
        with pytest.raises(InvalidTypeError, match=r"expected an image \(an instance of a subclass of Image\), got"):
            operation()
    assert not store.blobs


@pytest.mark.parametrize(
    ("size", "error", "message"),
    [
        (5, InvalidValueError, "size: expected a pair of width and height in pixels, got 5"),
        ((1, 2, 3), InvalidValueError, "size: expected a pair"),
        (("1", 2), InvalidTypeError, r"size: expected integers \(pixels\), got \('1', 2\)"),
        ((1.5, 2), InvalidTypeError, "size: expected integers"),
        ((True, 2), InvalidTypeError, "size: expected integers"),
        ((0, 2), InvalidValueError, "size: expected at least 1 pixel on each side"),
    ],
)
def test_what_is_no_size_cannot_be_set(size: Any, error: type[Exception], message: str) -> None:
    image = UserPicture(width=3, height=4)
    with pytest.raises(error, match=message):
        image.size = size
    assert image.size == (3, 4)


def test_a_stored_image_cannot_be_given_another_size_or_type(
    session: Session, user: User, store: CountingStore
) -> None:
    for name, value in (("size", (10, 10)), ("mimetype", "image/gif"), ("revision", "forged")):
        setattr(user.picture.require_original(), name, value)
        with pytest.raises(ImageIdentityError, match="expected .*, got .*; attach the changed picture as a new one"):
            session.flush()
        session.rollback()
    assert user.picture.make_blob() == picture()
    assert len(store) == 1


def test_an_image_without_a_file_cannot_be_stored(session: Session, store: CountingStore) -> None:
    session.add(User(id=1, picture=[UserPicture(size=(1, 1), mimetype="image/png", original=True)]))
    with pytest.raises(NoFileError, match="a row may only be stored together with its blob"):
        session.flush()
    assert not store.blobs


@pytest.mark.parametrize("name", ["locate", "open_file", "make_blob", "generate_thumbnail"])
def test_a_set_without_a_picture_says_so(session: Session, name: str) -> None:
    user, post = User(), Post()
    arguments = {"width": 5} if name == "generate_thumbnail" else {}
    for image_set, attribute in (
        (user.picture, "User.picture"),
        (post.photos.get_image_set(order_index=1), "Post.photos"),
    ):
        with pytest.raises(NoOriginalError, match=rf"{attribute} has no picture yet: attach one by from_file\(\)"):
            getattr(image_set, name)(**arguments)
        for size in ("width", "height", "size", "mimetype"):
            with pytest.raises(NoOriginalError):
                getattr(image_set, size)


def test_a_store_that_implements_nothing_says_what_is_missing(user: User) -> None:
    class Lazy(Store):
        pass

    for operation, name in ((user.picture.locate, "get_url"), (user.picture.make_blob, "get_file")):
        with pytest.raises(NotImplementedError, match=rf"Lazy has to implement {name}\(\)"):
            operation(Lazy())


# --- declarations ----------------------------------------------------------------------------------------------------


def declare(target: str = "Picture", **options: Any) -> tuple[type[DeclarativeBase], ...]:
    class Base(DeclarativeBase):
        pass

    class Owner(Base):
        __tablename__ = "owner"
        id: Mapped[int] = mapped_column(primary_key=True)
        picture = image_attachment(target, **options)

    class Picture(Base, Image):
        __tablename__ = "picture"
        owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), primary_key=True)

    class Plain(Base):
        __tablename__ = "plain"
        id: Mapped[int] = mapped_column(primary_key=True)
        owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"))

    return Base, Owner, Picture, Plain  # all of them, since the registry keeps none alive


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "Plain"}, r"Owner\.picture: expected a class with the Image mixin, got Plain"),
        ({"uselist": True}, r"Owner\.picture: for several pictures of one owner, Picture needs a primary key column"),
        ({"collection_class": list}, r"Owner\.picture: expected SingleImageSet or MultipleImageSet .*, got .*list"),
        ({"collection_class": lambda: SingleImageSet()}, r"expected SingleImageSet or MultipleImageSet"),
    ],
)
def test_a_mistaken_declaration_is_found_when_mappers_are_configured(options: Any, message: str) -> None:
    base, *classes = declare(**options)
    with pytest.raises(InvalidTypeError, match=message):
        base.registry.configure()
    base.registry.dispose()
    assert len(classes) == 3


@pytest.mark.parametrize("annotation", ["Mapped[Portrait]", "Mapped[Portrait | None]", "Mapped[SingleImageSet]"])
def test_an_annotation_of_no_set_is_found_when_mappers_are_configured(annotation: str) -> None:
    class Base(DeclarativeBase):
        pass

    class Owner(Base):
        __tablename__ = "owner"
        __annotations__ = {"picture": annotation}
        id = mapped_column(Integer, primary_key=True)
        picture = image_attachment("Portrait")

    class Portrait(Base, Image):
        __tablename__ = "portrait"
        owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), primary_key=True)

    message = r"Owner\.picture: .* annotate it as Mapped\[SingleImageSet\['Portrait'\]\]"
    with pytest.raises(InvalidTypeError, match=message):
        Base.registry.configure()
    Base.registry.dispose()


def test_a_key_that_gives_no_identifier_says_what_to_override() -> None:
    class Base(DeclarativeBase):
        pass

    class Picture(Base, Image):
        __tablename__ = "picture"
        key: Mapped[float] = mapped_column(primary_key=True)
        position = mapped_column(Integer, primary_key=True)

    image = Picture(key=0.5, position=1)
    with pytest.raises(InvalidTypeError, match=r"from a primary key that contains 0\.5: .*override object_id"):
        _ = image.object_id
    for key, shown in ((None, "None"), (True, "True")):
        image = Picture(key=key, position=1)
        with pytest.raises(InvalidTypeError, match=rf"contains {shown}: flush the image first if it is None"):
            _ = image.object_id


def test_a_store_that_raises_what_dictionaries_do_is_told_what_to_raise() -> None:
    class Careless(FourMethodStore):
        def get_file(self, object_type: str, object_id: int, width: int, height: int, mimetype: str) -> IO[bytes]:
            raise KeyError(object_id)

    with database(Base.metadata) as engine, Session(engine, info={"image_store": Careless()}) as session:
        user = User()
        user.picture.from_blob(picture())
        session.add(user)
        with pytest.raises(StoreError, match=r"raised KeyError .* a store says so by an OSError"):
            session.commit()
        session.rollback()
        assert not session.query(UserPicture).count()
