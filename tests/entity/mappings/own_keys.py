"""Pictures with a key that the database generates, one for each size."""

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


class Picture(Base, Image):
    __tablename__ = "user_picture"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    width: Mapped[int] = mapped_column()
    height: Mapped[int] = mapped_column()
    mimetype: Mapped[str] = mapped_column(String(255))
