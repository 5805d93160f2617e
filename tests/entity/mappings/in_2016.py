"""``Column`` on ``declarative_base()``, as in the manual of 1.0."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ForeignKey, Integer, Unicode
from sqlalchemy.orm import declarative_base, relationship

from sqlalchemy_imageattach.entity import Image, image_attachment

Base: Any = declarative_base()
metadata = Base.metadata


class Owner(Base):
    id = Column(Integer, primary_key=True)
    name = Column(Unicode)
    picture = image_attachment("Picture")
    __tablename__ = "user"


class Picture(Base, Image):
    user_id = Column(Integer, ForeignKey("user.id"), primary_key=True)
    user = relationship("Owner")
    __tablename__ = "user_picture"
