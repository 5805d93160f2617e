"""The models of the guide: a user with one portrait, and a post with several photographs."""

from __future__ import annotations

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_imageattach.entity import Image, MultipleImageSet, SingleImageSet, image_attachment
from sqlalchemy_imageattach.variants import Variant


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "user"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    picture: Mapped[SingleImageSet[UserPicture]] = image_attachment()


class UserPicture(Base, Image):
    __tablename__ = "user_picture"

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)


class Post(Base):
    __tablename__ = "post"

    id: Mapped[int] = mapped_column(primary_key=True)
    photos: Mapped[MultipleImageSet[PostPhoto]] = image_attachment()


class PostPhoto(Base, Image):
    __tablename__ = "post_photo"

    post_id: Mapped[int] = mapped_column(ForeignKey("post.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)


class Product(Base):
    __tablename__ = "product"

    id: Mapped[int] = mapped_column(primary_key=True)
    photo: Mapped[SingleImageSet[ProductPhoto]] = image_attachment()


class ProductPhoto(Base, Image):
    __tablename__ = "product_photo"

    product_id: Mapped[int] = mapped_column(ForeignKey("product.id"), primary_key=True)
    image_variants = {
        "card": Variant(widths=(320, 640, 960), formats=("webp", "jpeg")),
        "avatar": Variant(width=96, height=96, fit="fill", densities=(1, 2)),
        "hero": Variant(widths=(960, 1440, 1920), aspect=(16, 9), make="later"),
    }
