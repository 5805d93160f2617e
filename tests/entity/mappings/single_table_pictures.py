"""Pictures with single-table inheritance: one table for two kinds of them."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_imageattach.entity import Image, SingleImageSet, image_attachment


class Base(DeclarativeBase):
    pass


metadata = Base.metadata


class Owner(Base):
    __tablename__ = "user"

    id: Mapped[int] = mapped_column(primary_key=True)
    picture: Mapped[SingleImageSet[Picture]] = image_attachment()
    cover: Mapped[SingleImageSet[Cover]] = image_attachment()


class AnyPicture(Base, Image):
    __tablename__ = "picture"
    __mapper_args__ = {"polymorphic_on": "kind"}

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20), primary_key=True)


class Picture(AnyPicture):
    __mapper_args__ = {"polymorphic_identity": "portrait"}


class Cover(AnyPicture):
    __mapper_args__ = {"polymorphic_identity": "cover"}
