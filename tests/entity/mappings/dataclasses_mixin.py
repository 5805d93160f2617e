"""Owner and picture are dataclasses, by ``MappedAsDataclass``; that of the picture is equal for all its sizes."""

from __future__ import annotations

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column

from sqlalchemy_imageattach.entity import Image, SingleImageSet, image_attachment


class Base(MappedAsDataclass, DeclarativeBase):
    pass


metadata = Base.metadata


class Owner(Base):
    __tablename__ = "user"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    name: Mapped[str] = mapped_column(default="")
    picture: Mapped[SingleImageSet[Picture]] = image_attachment()


class Picture(Base, Image):
    __tablename__ = "user_picture"

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True, init=False, repr=False)
    caption: Mapped[str] = mapped_column(default="")
