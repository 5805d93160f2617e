"""Dataclasses by ``registry.mapped_as_dataclass``."""

from __future__ import annotations

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column, registry

from sqlalchemy_imageattach.entity import Image, MultipleImageSet, image_attachment

CHOICE = {"place": 1}
reg = registry()
metadata = reg.metadata


@reg.mapped_as_dataclass
class Owner:
    __tablename__ = "user"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    picture: Mapped[MultipleImageSet[Picture]] = image_attachment()


@reg.mapped_as_dataclass
class Picture(Image):
    __tablename__ = "user_picture"

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True, init=False)
    place: Mapped[int] = mapped_column(primary_key=True, init=False)
