"""Owners with keys of a string and a date-like integer."""

from __future__ import annotations

from sqlalchemy import ForeignKeyConstraint, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_imageattach.entity import Image, MultipleImageSet, image_attachment

CHOICE = {"label": "front / “Vorderseite”"}


class Base(DeclarativeBase):
    pass


metadata = Base.metadata


class Owner(Base):
    __tablename__ = "issue"

    title: Mapped[str] = mapped_column(String(40), primary_key=True, default="Le Monde")
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, default=-7)
    picture: Mapped[MultipleImageSet[Picture]] = image_attachment()


class Picture(Base, Image):
    __tablename__ = "issue_page"
    __table_args__ = (ForeignKeyConstraint(["title", "number"], ["issue.title", "issue.number"]),)

    title: Mapped[str] = mapped_column(String(40), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(String(40), primary_key=True)
