# Annotations that are evaluated at once: with "from __future__ import annotations" this would be another test.
# ruff: noqa: I002
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from sqlalchemy_imageattach.entity import Image, MultipleImageSet, image_attachment

CHOICE = {"place": 3}


class Base(DeclarativeBase):
    pass


metadata = Base.metadata


class Owner(Base):
    __tablename__ = "post"

    id: Mapped[int] = mapped_column(primary_key=True)
    picture: Mapped[MultipleImageSet["Picture"]] = image_attachment()


class Picture(Base, Image):
    __tablename__ = "post_photo"

    post_id: Mapped[int] = mapped_column(ForeignKey("post.id"), primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True)
    post: Mapped["Owner"] = relationship()
