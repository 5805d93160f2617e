"""Products with a photograph, and with several details."""

from __future__ import annotations

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_imageattach.entity import Image, MultipleImageSet, SingleImageSet, image_attachment
from sqlalchemy_imageattach.imaging import ImagePolicy

__all__ = ["Base", "Detail", "Photo", "Product"]


class Base(DeclarativeBase):
    pass


class Product(Base):
    __tablename__ = "product"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    price: Mapped[int]
    photo: Mapped[SingleImageSet[Photo]] = image_attachment()
    details: Mapped[MultipleImageSet[Detail]] = image_attachment()


class Photo(Base, Image):
    __tablename__ = "photo"

    product_id: Mapped[int] = mapped_column(ForeignKey("product.id"), primary_key=True)
    image_policy = ImagePolicy(max_bytes=100_000)


class Detail(Base, Image):
    __tablename__ = "detail"

    product_id: Mapped[int] = mapped_column(ForeignKey("product.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
