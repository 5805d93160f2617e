"""``backref``, and a collection class of one's own."""

from __future__ import annotations

from typing import TypeVar

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_imageattach.entity import Image, SingleImageSet, image_attachment

ImageT = TypeVar("ImageT", bound=Image)


class Base(DeclarativeBase):
    pass


metadata = Base.metadata


class Portraits(SingleImageSet[ImageT]):
    """Knows the sizes that this program uses."""

    def make_sizes(self) -> list[ImageT]:
        return self.generate_thumbnails([{"width": 10}, {"width": 20}])


class Owner(Base):
    __tablename__ = "user"

    id: Mapped[int] = mapped_column(primary_key=True)
    picture: Mapped[Portraits[Picture]] = image_attachment(backref="user")


class Picture(Base, Image):
    __tablename__ = "user_picture"

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)
