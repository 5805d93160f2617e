"""The owner is declared in a module that does not import the one of the pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_imageattach.entity import SingleImageSet, image_attachment

if TYPE_CHECKING:
    from .across_modules_pictures import Picture


class Base(DeclarativeBase):
    pass


metadata = Base.metadata


class Owner(Base):
    __tablename__ = "user"

    id: Mapped[int] = mapped_column(primary_key=True)
    picture: Mapped[SingleImageSet[Picture]] = image_attachment(back_populates="user")
