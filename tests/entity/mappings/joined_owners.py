"""Owners with joined-table inheritance: the attribute is that of the base class."""

from __future__ import annotations

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_imageattach.entity import Image, SingleImageSet, image_attachment


class Base(DeclarativeBase):
    pass


metadata = Base.metadata


class User(Base):
    __tablename__ = "user"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "user"}

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    picture: Mapped[SingleImageSet[Picture]] = image_attachment()


class Owner(User):
    __tablename__ = "admin"
    __mapper_args__ = {"polymorphic_identity": "admin"}

    id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)


class Picture(Base, Image):
    __tablename__ = "user_picture"

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)
