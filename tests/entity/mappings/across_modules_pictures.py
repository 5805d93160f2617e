"""The other half of :mod:`across_modules`."""

from __future__ import annotations

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column, relationship

from sqlalchemy_imageattach.entity import Image

from .across_modules import Base, Owner

__all__ = ["Owner", "Picture", "metadata"]

metadata = Base.metadata


class Picture(Base, Image):
    __tablename__ = "user_picture"

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)
    user: Mapped[Owner] = relationship(back_populates="picture")
