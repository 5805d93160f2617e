"""Users with portraits and posts with photographs, for uploads."""

from __future__ import annotations

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_imageattach.entity import Image, MultipleImageSet, SingleImageSet, image_attachment
from sqlalchemy_imageattach.imaging import ImagePolicy

__all__ = ["Base", "Photo", "Picture", "Post", "User"]


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "user"

    id: Mapped[int] = mapped_column(primary_key=True)
    picture: Mapped[SingleImageSet[Picture]] = image_attachment()


class Picture(Base, Image):
    __tablename__ = "picture"

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)
    image_policy = ImagePolicy(max_bytes=200_000)


class Post(Base):
    __tablename__ = "post"

    id: Mapped[int] = mapped_column(primary_key=True)
    photos: Mapped[MultipleImageSet[Photo]] = image_attachment()


class Photo(Base, Image):
    __tablename__ = "photo"

    post_id: Mapped[int] = mapped_column(ForeignKey("post.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
