"""The tables of the studio: a member, and the photographs of one."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from sqlalchemy_imageattach.entity import Image, SingleImageSet, image_attachment
from sqlalchemy_imageattach.entity.image import utc_now
from sqlalchemy_imageattach.imaging import ImagePolicy

__all__ = ["Base", "Member", "Photograph", "PhotographImage"]


class Base(DeclarativeBase):
    """The base of the mapped classes."""


class Member(Base):
    """Somebody who has photographs."""

    __tablename__ = "member"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40), unique=True)
    photographs: Mapped[list[Photograph]] = relationship(
        back_populates="member", order_by="Photograph.id.desc()", cascade="all, delete-orphan"
    )


class Photograph(Base):
    """One photograph, with a title."""

    __tablename__ = "photograph"

    id: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(ForeignKey("member.id"))
    title: Mapped[str] = mapped_column(String(80))
    taken_in_at: Mapped[datetime] = mapped_column(default=utc_now)
    member: Mapped[Member] = relationship(back_populates="photographs")
    picture: Mapped[SingleImageSet[PhotographImage]] = image_attachment()


class PhotographImage(Base, Image):
    """The photograph in one size."""

    __tablename__ = "photograph_image"

    photograph_id: Mapped[int] = mapped_column(ForeignKey("photograph.id"), primary_key=True)
    image_policy = ImagePolicy(max_bytes=20 * 2**20)
