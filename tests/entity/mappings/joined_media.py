"""Pictures that are one kind of media, whose table has the key; it has another name in theirs."""

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


class Media(Base):
    __tablename__ = "media"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "media"}

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))


class Picture(Media, Image):
    __tablename__ = "portrait"
    __mapper_args__ = {"polymorphic_identity": "portrait"}

    media_id: Mapped[int] = mapped_column(ForeignKey("media.id"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
