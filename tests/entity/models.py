"""The models that most tests need: an owner of one picture, and an owner of several."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String
from sqlalchemy.ext.asyncio import AsyncAttrs
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from sqlalchemy_imageattach.entity import Image, MultipleImageSet, SingleImageSet, image_attachment

__all__ = ["Base", "Post", "PostPhoto", "User", "UserPicture"]


class Base(AsyncAttrs, DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "user"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50), default="")
    picture: Mapped[SingleImageSet[UserPicture]] = image_attachment()


class UserPicture(Base, Image):
    __tablename__ = "user_picture"

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)
    note: Mapped[str | None] = mapped_column(String(50))
    user: Mapped[User] = relationship()


class Post(Base):
    __tablename__ = "post"

    id: Mapped[int] = mapped_column(primary_key=True)
    photos: Mapped[MultipleImageSet[PostPhoto]] = image_attachment()


class PostPhoto(Base, Image):
    __tablename__ = "post_photo"

    post_id: Mapped[int] = mapped_column(ForeignKey("post.id"), primary_key=True)
    order_index: Mapped[int] = mapped_column(primary_key=True)
    post: Mapped[Post] = relationship()
