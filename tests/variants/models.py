"""Products with photographs, of which variants are declared."""

from __future__ import annotations

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_imageattach.entity import Image, SingleImageSet, image_attachment
from sqlalchemy_imageattach.variants import Variant

__all__ = ["Base", "Product", "ProductPhoto"]


class Base(DeclarativeBase):
    pass


class Product(Base):
    __tablename__ = "product"

    id: Mapped[int] = mapped_column(primary_key=True)
    photo: Mapped[SingleImageSet[ProductPhoto]] = image_attachment()


class ProductPhoto(Base, Image):
    __tablename__ = "product_photo"

    product_id: Mapped[int] = mapped_column(ForeignKey("product.id"), primary_key=True)
    image_variants = {
        "card": Variant(widths=(32, 64, 96), formats=("webp", "jpeg")),
        "avatar": Variant(width=16, height=16, fit="fill", densities=(1, 2)),
        "hero": Variant(widths=(48, 80), aspect=(16, 9), make="later"),
        "print": Variant(width=100, make="on demand"),
    }
