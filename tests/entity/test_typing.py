"""What type checkers see: mypy fails on this file when a type is not what it says, and the tests run it.

Each ``type: ignore`` is an error that a type checker has to find: mypy complains about those that it does not need.
"""

from __future__ import annotations

import io
from typing import IO, assert_type

import pytest
from sqlalchemy import ForeignKey, String, select
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, Query, Session, mapped_column, relationship

from sqlalchemy_imageattach.context import get_current_store, store_context
from sqlalchemy_imageattach.entity import Image, ImageSubset, MultipleImageSet, SingleImageSet, image_attachment
from sqlalchemy_imageattach.errors import InvalidTypeError
from sqlalchemy_imageattach.imaging.variant import Variant
from sqlalchemy_imageattach.store import Store

from .support import CountingStore, database, picture


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "user"

    id: Mapped[int] = mapped_column(primary_key=True)
    picture: Mapped[SingleImageSet[UserPicture]] = image_attachment()
    photos: Mapped[MultipleImageSet[UserPhoto]] = image_attachment()


class UserPicture(Base, Image):
    __tablename__ = "user_picture"

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)
    user: Mapped[User] = relationship()
    caption: Mapped[str | None] = mapped_column(String(100))


class UserPhoto(Base, Image):
    __tablename__ = "user_photo"

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True)


class Data(MappedAsDataclass, DeclarativeBase):
    pass


class Member(Data):
    __tablename__ = "member"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    name: Mapped[str]
    portrait: Mapped[SingleImageSet[Portrait]] = image_attachment(init=False)


class Portrait(Data, Image):
    __tablename__ = "portrait"

    member_id: Mapped[int] = mapped_column(ForeignKey("member.id"), primary_key=True, init=False)


def test_types_of_one_picture(context: CountingStore) -> None:
    with database(Base.metadata) as engine, Session(engine) as session:
        user = User()
        session.add(user)
        assert_type(user.picture, SingleImageSet[UserPicture])
        assert_type(user.picture.from_file(io.BytesIO(picture())), UserPicture)
        assert_type(user.picture.from_blob(picture()), UserPicture)
        assert_type(user.picture.from_raw_file(io.BytesIO(picture())), UserPicture)
        session.commit()
        assert_type(user.picture.original, UserPicture | None)
        assert_type(user.picture.require_original(), UserPicture)
        assert_type(user.picture.require_original().caption, str | None)
        assert_type(user.picture.generate_thumbnail(width=10), UserPicture)
        assert_type(user.picture.thumbnail(width=10), UserPicture)
        assert_type(user.picture.find_thumbnail(width=10), UserPicture)
        assert_type(user.picture.generate_thumbnails([{"width": 5}]), list[UserPicture])
        assert_type([image for image in user.picture], list[UserPicture])  # noqa: C416 - it is about iteration
        assert_type(user.picture[0], UserPicture)
        assert_type(user.picture.count(), int)
        assert_type(user.picture.query, Query[UserPicture])
        assert_type(user.picture.locate(), str)
        assert_type(user.picture.make_blob(), bytes)
        assert_type(user.picture.size, tuple[int, int])
        with user.picture.open_file() as file:
            assert_type(file, IO[bytes])
        assert_type(user.picture.image_class, type[UserPicture])


def test_types_of_several_pictures(context: CountingStore) -> None:
    user = User()
    assert_type(user.photos, MultipleImageSet[UserPhoto])
    photo = user.photos.get_image_set(place=1)
    assert_type(photo, ImageSubset[UserPhoto])
    assert_type(photo.from_blob(picture()), UserPhoto)
    assert_type(photo.original, UserPhoto | None)
    for each in user.photos.image_sets:
        assert_type(each, ImageSubset[UserPhoto])


def test_types_of_an_image(context: CountingStore) -> None:
    with database(Base.metadata) as engine, Session(engine) as session:
        user = User()
        session.add(user)
        image = user.picture.from_blob(picture())
        session.commit()
        assert_type(image.width, int)
        assert_type(image.mimetype, str)
        assert_type(image.original, bool)
        assert_type(image.revision, str | None)
        assert_type(image.size, tuple[int, int])
        assert_type(image.object_type, str)
        assert_type(image.object_id, int)
        assert_type(image.user, User)
        assert_type(session.scalars(select(UserPicture).where(UserPicture.width > 10)).one(), UserPicture)
        assert session.scalars(select(UserPicture).where(UserPicture.size == (60, 40))).one() is image


def test_types_of_dataclasses(context: CountingStore) -> None:
    member = Member(name="Ada")
    assert_type(member.portrait, SingleImageSet[Portrait])
    assert_type(member.portrait.from_blob(picture()), Portrait)
    with pytest.raises(TypeError):
        Member()  # type: ignore[call-arg]


def test_types_of_contexts() -> None:
    with store_context(CountingStore()) as store:
        assert_type(store, Store)
        assert_type(get_current_store(), Store)


@pytest.mark.asyncio
async def test_types_of_the_awaitable_twins(context: CountingStore) -> None:
    user = User()
    assert_type(await user.picture.afrom_blob(picture()), UserPicture)
    assert_type(await user.picture.afrom_file(io.BytesIO(picture())), UserPicture)
    assert_type(await user.picture.athumbnail(width=10), UserPicture)
    assert_type(await user.picture.agenerate_thumbnails([{"width": 5}]), list[UserPicture])
    assert_type(await user.picture.amake_blob(), bytes)
    assert_type(await user.picture.require_original().amake_blob(), bytes)
    with await user.picture.aopen_file() as file:
        assert_type(file, IO[bytes])


def test_mistakes_that_a_type_checker_finds(context: CountingStore) -> None:
    user = User()
    with pytest.raises(InvalidTypeError):
        user.picture.from_blob("text")  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError):
        user.picture.from_blob(picture(), store="s3")  # type: ignore[arg-type]
    user.picture.from_blob(picture())
    with pytest.raises(InvalidTypeError):
        user.picture.generate_thumbnail(width="10")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        user.picture.generate_thumbnail(widht=10)  # type: ignore[call-arg]
    with pytest.raises(InvalidTypeError), store_context("s3"):  # type: ignore[arg-type]
        raise AssertionError
    with pytest.raises(InvalidTypeError, match="widht"):
        user.picture.generate_thumbnails([{"widht": 1}])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="widht"):
        Variant(widht=1)  # type: ignore[call-arg]
