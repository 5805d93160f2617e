"""Columns with names of one's own, a schema, and an ``object_type`` and ``object_id`` that outlive them."""

from __future__ import annotations

from sqlalchemy import Boolean, ForeignKey, Integer, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_imageattach.entity import Image, SingleImageSet, image_attachment


class Base(DeclarativeBase):
    pass


metadata = Base.metadata


class Owner(Base):
    __tablename__ = "person"
    __table_args__ = {"schema": "media"}

    ident: Mapped[int] = mapped_column("id", primary_key=True)
    picture: Mapped[SingleImageSet[Picture]] = image_attachment()


class Picture(Base, Image):
    __tablename__ = "portrait"
    __table_args__ = {"schema": "media"}
    object_type = "user-picture"

    person: Mapped[int] = mapped_column("user_id", ForeignKey("media.person.id"), primary_key=True)
    width = mapped_column("w", Integer, primary_key=True)
    mimetype = mapped_column("type", String(100), primary_key=True)
    original = mapped_column("is_original", Boolean, nullable=False)
    revision = mapped_column("token", String(100))

    @property
    def object_id(self) -> int:
        return 1_000_000 + self.person
