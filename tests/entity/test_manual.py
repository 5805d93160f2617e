"""A program as the manual of 1.0 teaches to write it, section by section, on today's SQLAlchemy.

The suite runs with warnings as errors, so none of this is deprecated either.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Engine, ForeignKey, Integer, String, Unicode, UnicodeText
from sqlalchemy.exc import NoResultFound, SADeprecationWarning
from sqlalchemy.orm import Session, declarative_base, relationship

from sqlalchemy_imageattach import context, entity
from sqlalchemy_imageattach.context import (
    ContextError,
    current_store,
    get_current_store,
    pop_store_context,
    push_store_context,
    store_context,
)
from sqlalchemy_imageattach.entity import (
    BaseImageSet,
    Image,
    ImageSubset,
    MultipleImageSet,
    SingleImageSet,
    image_attachment,
)
from tests.onex import FourMethodStore

from .support import CountingStore, database, picture, size_of

# --- 2.1 Declaring image entities ------------------------------------------------------------------------------------

Base: Any = declarative_base()


class User(Base):
    id = Column(Integer, primary_key=True)
    name = Column(Unicode(50), nullable=False)
    picture = image_attachment("UserPicture")
    front_cover = image_attachment("UserFrontCover")
    __tablename__ = "user"


class UserPicture(Base, Image):
    user_id = Column(Integer, ForeignKey("user.id"), primary_key=True)
    user = relationship("User")
    __tablename__ = "user_picture"


class UserFrontCover(Base, Image):
    user_id = Column(Integer, ForeignKey("user.id"), primary_key=True)
    user = relationship("User")
    __tablename__ = "user_front_cover"
    object_type = "cover"


class Book(Base):
    isbn = Column(String(13), primary_key=True)
    cover = image_attachment("BookCover")
    __tablename__ = "book"


class BookCover(Base, Image):
    isbn = Column(String(13), ForeignKey("book.isbn"), primary_key=True)
    __tablename__ = "book_cover"

    @property
    def object_id(self) -> int:
        return int(hashlib.sha1(self.isbn.encode()).hexdigest(), 16)


class Post(Base):
    id = Column(Integer, primary_key=True)
    content = Column(UnicodeText, nullable=False, default="")
    photos = image_attachment("PostPhoto", uselist=True)
    __tablename__ = "post"


class PostPhoto(Base, Image):
    post_id = Column(Integer, ForeignKey(Post.id), primary_key=True)
    post = relationship(Post)
    order_index = Column(Integer, primary_key=True)
    __tablename__ = "post_photo"

    @property
    def object_id(self) -> int:
        key = f"{self.post_id},{self.order_index}"
        return int(hashlib.sha1(key.encode()).hexdigest(), 16)


@pytest.fixture(params=[CountingStore, FourMethodStore], ids=["store with revisions", "store of 1.0"])
def store(request: pytest.FixtureRequest) -> Any:
    return request.param()


@pytest.fixture
def engine() -> Any:
    with database(Base.metadata) as engine:
        yield engine


@pytest.fixture
def session(engine: Engine) -> Any:
    with Session(engine) as session:
        yield session


@pytest.fixture
def user(session: Session, store: Any) -> User:
    user = User(name="Ada")
    with store_context(store):
        user.picture.from_blob(picture(60, 40))
        session.add(user)
        session.commit()
    return user


def test_section_2_1_names_of_the_manual(session: Session, store: Any, user: User) -> None:
    image = user.picture.original
    assert image.object_type == "user-picture"
    assert image.object_id == user.id
    book = Book(isbn="9780131103627")
    book.cover.from_blob(picture(), store=store)
    session.add(book)
    session.commit()
    assert book.cover.original.object_id == int(hashlib.sha1(b"9780131103627").hexdigest(), 16)
    user.front_cover.from_blob(picture(), store=store)
    session.commit()
    assert user.front_cover.original.object_type == "cover"


def test_section_2_3_1_and_2_context_and_file(session: Session, store: Any, tmp_path: Path) -> None:
    path = tmp_path / "image_to_attach.jpg"
    path.write_bytes(picture(format="JPEG"))
    user = User(name="Grace")
    session.add(user)
    with store_context(store):
        with path.open("rb") as file:
            user.picture.from_file(file)
        session.commit()
        assert user.picture.make_blob() == path.read_bytes()
    with path.open("rb") as file, pytest.raises(ContextError):
        user.picture.from_file(file)


def test_section_2_3_2_an_error_rolls_all_back(session: Session, store: Any, user: User) -> None:
    def set_picture(fail: bool) -> None:
        try:
            with store_context(store):
                user.picture.from_file(io.BytesIO(picture(20, 20)))
                session.flush()
                if fail:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            session.rollback()
            raise
        with store_context(store):
            session.commit()

    with pytest.raises(ZeroDivisionError):
        set_picture(fail=True)
    with store_context(store):
        assert size_of(user.picture.make_blob()) == (60, 40)
    set_picture(fail=False)
    with store_context(store):
        assert size_of(user.picture.make_blob()) == (20, 20)
    assert len(store.blobs) == 1


def test_section_2_3_4_urls(store: Any, user: User) -> None:
    with store_context(store):
        url = user.picture.locate()
        assert "user-picture" in url
        # a URL of a store without revisions changes with the picture by its query
        assert ("_ts=" in url) == isinstance(store, FourMethodStore)
        assert (
            user.picture.__html__()
            == f'<img src="{url.replace("&", "&amp;")}" width="{user.picture.width}" height="{user.picture.height}">'
        )


def test_sections_2_3_5_and_6_files_and_bytes(store: Any, user: User) -> None:
    copy = io.BytesIO()
    with store_context(store):
        with user.picture.open_file() as file:
            shutil.copyfileobj(file, copy)
        assert copy.getvalue() == user.picture.make_blob() == picture()
        with user.picture.original.open_file(use_seek=True) as file:
            assert file.tell() == 0
            assert file.read() == picture()
            file.seek(1)
            assert file.read(3) == b"PNG"


def test_section_2_3_7_thumbnails(session: Session, store: Any, user: User) -> None:
    with store_context(store):
        width_15 = user.picture.generate_thumbnail(width=15)
        height_30 = user.picture.generate_thumbnail(height=30)
        half = user.picture.generate_thumbnail(ratio=0.5)
        assert [image.size for image in (width_15, height_30, half)] == [(15, 10), (45, 30), (30, 20)]
        urls = {image.locate() for image in (width_15, height_30, half)}
        assert len(urls) == 3
        session.commit()
        assert {
            user.picture.find_thumbnail(width=15).locate(),
            user.picture.find_thumbnail(height=30).locate(),
            user.picture.find_thumbnail(30).locate(),
        } == urls
        with pytest.raises(NoResultFound):
            user.picture.find_thumbnail(width=999)

        def find_or_create(image_set: Any, width: int | None = None, height: int | None = None) -> Any:
            assert width is not None or height is not None
            try:
                return image_set.find_thumbnail(width=width, height=height)
            except NoResultFound:
                return image_set.generate_thumbnail(width=width, height=height)

        made = find_or_create(user.picture, width=6)
        assert find_or_create(user.picture, width=6) is made


def test_section_2_3_8_every_operation_takes_a_store(session: Session, store: Any) -> None:
    user = User(name="Edsger")
    session.add(user)
    user.picture.from_file(io.BytesIO(picture(20, 20)), store=store)
    user.picture.from_blob(picture(), store=store)
    session.commit()
    assert user.picture.locate(store=store)
    with user.picture.open_file(store=store) as file:
        assert file.read() == user.picture.make_blob(store=store)
    made = user.picture.generate_thumbnail(width=30, store=store)
    assert user.picture.find_thumbnail(width=30, store=store) is made
    assert made.locate(store=store)
    assert made.make_blob(store=store)
    session.commit()
    assert len(store.blobs) == 2


def test_section_2_3_9_implicit_contexts(session: Session, store: Any, user: User) -> None:
    push_store_context(store)
    try:
        assert user.picture.locate()
        assert get_current_store() is store
    finally:
        assert pop_store_context() is store
    with pytest.raises(ContextError):
        get_current_store()
    assert user.picture.locate(), "the store that it was attached with is known"


def test_section_2_4_multiple_image_sets(session: Session, store: Any) -> None:
    with store_context(store):
        post = Post()
        session.add(post)
        for index in (2, 1):
            photo = post.photos.get_image_set(order_index=index)
            photo.from_blob(picture(60 * index, 40 * index))
            photo.generate_thumbnail(width=30)
        session.commit()
        first_photo = session.get_one(Post, post.id).photos.get_image_set(order_index=1)
        assert first_photo.size == (60, 40)
        assert first_photo.locate()
        assert first_photo.find_thumbnail(width=30).locate()
        new_photo = post.photos.get_image_set(order_index=9)
        assert not new_photo
        with io.BytesIO(picture(30, 30)) as file:
            image = new_photo.from_file(file)
        assert image.order_index == 9
        session.commit()
        assert [image_set.original.order_index for image_set in post.photos.image_sets] == [1, 2, 9]
        assert all(isinstance(image_set, ImageSubset) for image_set in post.photos.image_sets)
        (without,) = (image_set for image_set in post.photos.image_sets if len(image_set) == 1)
        assert without == new_photo
        assert len(store.blobs) == 5
        session.delete(post)
        session.commit()
    assert not store.blobs


def test_section_3_1_the_current_store_is_handed_down(store: Any, user: User) -> None:
    image = user.picture.original

    def inner() -> str:
        return current_store.locate(image)

    def outer(store: Any) -> str:
        return str(store.locate(image))

    with store_context(store):
        assert inner() == outer(store) == outer(get_current_store()) == outer(current_store)
        other = CountingStore()
        with store_context(other):
            assert get_current_store() is other
        assert get_current_store() is store


def test_section_3_2_two_pictures_of_one_owner_within_begin(engine: Engine, store: Any) -> None:
    with store_context(store), Session(engine) as session:
        user = User(name="Barbara")
        with io.BytesIO(picture(20, 20)) as file:
            user.picture.from_blob(file.read())
        with io.BytesIO(picture(60, 40)) as file:
            user.front_cover.from_file(file)
        with session.begin():
            session.add(user)
        with session.begin():
            user.picture.generate_thumbnail(ratio=0.5)
            user.picture.generate_thumbnail(height=5)
            user.front_cover.generate_thumbnail(width=30)
        assert (user.picture.count(), user.front_cover.count()) == (3, 2)
        assert UserPicture.size is not None
        assert session.query(UserPicture).filter(UserPicture.width < 20).count() == 2
        assert session.query(UserPicture).filter_by(size=(20, 20)).one().original
        assert user.picture.filter(UserPicture.original.is_(True)).one() is user.picture.original
    assert len(store.blobs) == 5


def test_queries_of_the_old_kind_warn_of_nothing_but_themselves(engine: Engine, store: Any) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        from sqlalchemy.ext.declarative import declarative_base as old_declarative_base

        old_base: Any = old_declarative_base()

        class Owner(old_base):
            id = Column(Integer, primary_key=True)
            picture = image_attachment("Picture")
            __tablename__ = "owner"

        class Picture(old_base, Image):
            owner_id = Column(Integer, ForeignKey("owner.id"), primary_key=True)
            owner = relationship("Owner")
            __tablename__ = "picture"

        with database(old_base.metadata) as database_, Session(database_) as session, store_context(store):
            session.add(Owner(id=1))
            owners: Any = session.query(Owner)
            owners.get(1).picture.from_blob(picture())
            session.commit()
            assert owners.get(1).picture.query.count() == 1
    assert all(issubclass(warning.category, SADeprecationWarning | DeprecationWarning) for warning in caught)
    names = {str(warning.message).split(" ")[1].strip("`") for warning in caught}
    assert names == {"declarative_base()", "Query.get()"}


# --- names and signatures --------------------------------------------------------------------------------------------


def test_every_documented_name_of_entity_and_context_is_there() -> None:
    for name in (
        *("VECTOR_TYPES", "Image", "ImageSet", "ImageSubset", "MultipleImageSet", "SingleImageSet"),
        *("image_attachment", "BaseImageSet", "BaseImageQuery"),
    ):
        assert hasattr(entity, name)
        assert name in entity.__all__
    for name in (
        *("ContextError", "LocalProxyStore", "current_store", "get_current_context_id", "get_current_store"),
        *("pop_store_context", "push_store_context", "store_context"),
    ):
        assert hasattr(context, name)
        assert name in context.__all__
    assert issubclass(ContextError, Exception)


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (Image.locate, ["store"]),
        (Image.make_blob, ["store"]),
        (Image.open_file, ["store", "use_seek"]),
        (BaseImageSet.locate, ["store"]),
        (BaseImageSet.make_blob, ["store"]),
        (BaseImageSet.open_file, ["store", "use_seek"]),
        (BaseImageSet.from_file, ["file", "store", "extra_args", "extra_kwargs"]),
        (BaseImageSet.from_blob, ["blob", "store", "extra_args", "extra_kwargs"]),
        (
            BaseImageSet.from_raw_file,
            ["raw_file", "store", "size", "mimetype", "original", "extra_args", "extra_kwargs"],
        ),
        (BaseImageSet.generate_thumbnail, ["ratio", "width", "height", "filter", "store"]),
        (BaseImageSet.find_thumbnail, ["width", "height"]),
        (BaseImageSet.require_original, []),
        (store_context, ["store"]),
        (push_store_context, ["store"]),
        (pop_store_context, []),
        (context.LocalProxyStore, ["get_current_object", "repr_string"]),
    ],
    ids=lambda value: getattr(value, "__qualname__", None),
)
def test_parameters_come_in_the_order_of_the_manual(function: Any, parameters: list[str]) -> None:
    positional = [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.name != "self"
    ]
    assert positional == parameters


def test_what_is_a_subtype_of_what() -> None:
    assert issubclass(SingleImageSet, BaseImageSet)
    assert issubclass(ImageSubset, BaseImageSet)
    assert issubclass(SingleImageSet, entity.BaseImageQuery)
    assert issubclass(MultipleImageSet, entity.BaseImageQuery)
    assert not issubclass(MultipleImageSet, BaseImageSet)
    assert isinstance(entity.VECTOR_TYPES, frozenset)
    for name in ("size", "identity_map", "object_type", "object_id"):
        assert hasattr(Image, name)
