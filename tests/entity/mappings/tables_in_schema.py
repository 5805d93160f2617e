"""Declarative with ``__table__``, in a schema of its own."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Float, ForeignKey, Integer, String, Table
from sqlalchemy.orm import DeclarativeBase

from sqlalchemy_imageattach.entity import Image, image_attachment


class Base(DeclarativeBase):
    pass


metadata = Base.metadata


class Owner(Base):
    __table__ = Table("user", metadata, Column("id", Integer, primary_key=True), schema="media")
    picture = image_attachment("Picture")


class Picture(Base, Image):
    __table__ = Table(
        "user_picture",
        metadata,
        Column("user_id", ForeignKey("media.user.id"), primary_key=True),
        Column("width", Integer, primary_key=True),
        Column("height", Integer, primary_key=True),
        Column("mimetype", String(255), primary_key=True),
        Column("original", Boolean, nullable=False),
        Column("created_at", DateTime(timezone=True), nullable=False),
        Column("revision", String(64)),
        Column("byte_size", BigInteger),
        Column("checksum", String(64)),
        Column("variant", String(32), primary_key=True),
        Column("frames", Integer),
        Column("focal_x", Float),
        Column("focal_y", Float),
        Column("dominant_color", String(9)),
        Column("thumbhash", String(48)),
        Column("made_for", String(64)),
        schema="media",
    )
