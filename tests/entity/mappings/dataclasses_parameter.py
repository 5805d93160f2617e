"""Dataclasses whose image set is a parameter of the constructor."""

from __future__ import annotations

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column, relationship

from sqlalchemy_imageattach.entity import Image, SingleImageSet, image_attachment


class Base(MappedAsDataclass, DeclarativeBase):
    pass


metadata = Base.metadata


class Owner(Base):
    __tablename__ = "user"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    picture: Mapped[SingleImageSet[Picture]] = image_attachment(
        default_factory=SingleImageSet, repr=False, back_populates="user"
    )


class Picture(Base, Image):
    __tablename__ = "user_picture"

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True, init=False)
    user: Mapped[Owner | None] = relationship(default=None, back_populates="picture")
