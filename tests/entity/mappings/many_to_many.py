"""Pictures that do not refer to their owner: a table of its own does."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Integer, String, Table
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_imageattach.entity import Image, MultipleImageSet, SingleImageSet, image_attachment


class Base(DeclarativeBase):
    pass


metadata = Base.metadata

links = Table(
    "person_picture",
    metadata,
    Column("person_id", ForeignKey("person.id"), primary_key=True),
    Column("picture_id", ForeignKey("picture.id"), primary_key=True),
)


class Owner(Base):
    __tablename__ = "person"

    id: Mapped[int] = mapped_column(primary_key=True)
    picture: Mapped[SingleImageSet[Picture]] = image_attachment(secondary=links, single_parent=True)
    pictures: Mapped[MultipleImageSet[Picture]] = image_attachment(secondary=links, viewonly=True)


class Picture(Base, Image):
    __tablename__ = "picture"

    id: Mapped[int] = mapped_column(primary_key=True)
    width = mapped_column(Integer, nullable=False)
    height = mapped_column(Integer, nullable=False)
    mimetype = mapped_column(String(255), nullable=False)
