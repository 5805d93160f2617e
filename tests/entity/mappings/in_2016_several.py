"""``uselist=True``, as in the manual of 1.0."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ForeignKey, Integer
from sqlalchemy.orm import declarative_base, relationship

from sqlalchemy_imageattach.entity import Image, image_attachment

CHOICE = {"order_index": 1}
Base: Any = declarative_base()
metadata = Base.metadata


class Owner(Base):
    id = Column(Integer, primary_key=True)
    picture = image_attachment("Picture", uselist=True)
    __tablename__ = "post"


class Picture(Image, Base):
    post_id = Column(Integer, ForeignKey(Owner.id), primary_key=True)
    post = relationship(Owner)
    order_index = Column(Integer, primary_key=True)
    __tablename__ = "post_photo"
