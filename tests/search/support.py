"""What the tests of search share: classes, pictures, and an extractor that counts."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from PIL import Image as Pillow
from sqlalchemy import Engine, ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_imageattach.entity import Image, SingleImageSet, image_attachment
from sqlalchemy_imageattach.search import ExtractorInfo, TinyExtractor, embeddings_of, fingerprints_of


class Counting(TinyExtractor):
    """Counts the pictures that it is given."""

    def __init__(self, version: str = "1") -> None:
        self.version, self.count = version, 0

    def describe(self) -> ExtractorInfo:
        return ExtractorInfo("counting", self.version, 48)

    def extract(self, prepared: Sequence[Any]) -> Any:
        self.count += len(prepared)
        return super().extract(prepared)


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "search_user"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(50), default="")
    picture: Mapped[SingleImageSet[Picture]] = image_attachment()


class Picture(Base, Image):
    __tablename__ = "search_picture"
    user_id: Mapped[int] = mapped_column(ForeignKey("search_user.id"), primary_key=True)
    note: Mapped[str] = mapped_column(String(50), default="")


extractor = Counting()
looks = embeddings_of(Picture, extractor)
prints = fingerprints_of(Picture)


def picture(color: Any = "red", size: tuple[int, int] = (60, 40), format: str = "PNG") -> bytes:
    """The bytes of a picture of one colour."""
    file = io.BytesIO()
    Pillow.new("RGB", size, color).save(file, format)
    return file.getvalue()


def user(number: int, color: Any = "red", name: str = "") -> User:
    """One with a picture."""
    made = User(id=number, name=name)
    made.picture.from_blob(picture(color))
    return made


def empty(engine: Engine) -> None:
    with engine.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())
