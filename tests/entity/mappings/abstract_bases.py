"""A mixin gives any class a picture, and an abstract class of images what all of them have."""

from __future__ import annotations

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column

from sqlalchemy_imageattach.entity import Image, SingleImageSet, image_attachment
from sqlalchemy_imageattach.imaging import ImagePolicy


class Base(DeclarativeBase):
    pass


metadata = Base.metadata


class AnyPicture(Base, Image):
    __abstract__ = True

    image_policy = ImagePolicy(max_pixels=1_000_000)
    license: Mapped[str | None]


class HasPicture:
    id: Mapped[int] = mapped_column(primary_key=True)

    @declared_attr
    @classmethod
    def picture(cls) -> Mapped[SingleImageSet[Picture]]:
        return image_attachment()


class Owner(HasPicture, Base):
    __tablename__ = "user"


class Picture(AnyPicture):
    __tablename__ = "user_picture"

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)
