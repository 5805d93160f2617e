"""Tables first, then ``map_imperatively()``; the columns have other names than the attributes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, DateTime, ForeignKey, Integer, String, Table
from sqlalchemy.orm import registry

from sqlalchemy_imageattach.entity import Image, image_attachment

reg = registry()
metadata = reg.metadata

users = Table("user", metadata, Column("id", Integer, primary_key=True))
pictures = Table(
    "user_picture",
    metadata,
    Column("uid", ForeignKey("user.id"), primary_key=True),
    Column("w", Integer, primary_key=True),
    Column("h", Integer, primary_key=True),
    Column("type", String(255), primary_key=True),
    Column("is_original", Boolean, nullable=False),
    Column("made_at", DateTime(timezone=True), nullable=False),
    Column("token", String(64)),
    Column("byte_size", BigInteger),
    Column("checksum", String(64)),
)


class Owner:
    id: int
    picture: Any


class Picture(Image):
    user_id: int


reg.map_imperatively(Owner, users, properties={"picture": image_attachment(Picture)})
reg.map_imperatively(
    Picture,
    pictures,
    properties={
        "user_id": pictures.c.uid,
        "width": pictures.c.w,
        "height": pictures.c.h,
        "mimetype": pictures.c.type,
        "original": pictures.c.is_original,
        "created_at": pictures.c.made_at,
        "revision": pictures.c.token,
    },
)
